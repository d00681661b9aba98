//! Clients of a few keys, whose history an independent checker judges.
//!
//! For: reads and writes of single keys and of several together, by compare-and-set and without, over every crash. Not for:
//! merging policies (see `sharer`).
//! Invariant: a request whose answer never came has an unknown outcome; no other client writes these keys.

use consort_core::{
    Command,
    command::{OperationResult, Transact, Transacted},
};
use consort_linearizability::{
    Call, History,
    keys::{Held, KEYS, KeyOperation, Keys},
};
use consort_types::{
    Payload, Seq,
    state::{Action, Check, Condition, Operation, Transaction, WriteOutcome, Writer},
};

use crate::{
    clock::SECOND,
    context::Context,
    event::Event,
    plan::{Checked, InjectedBug, Violation},
    requests::Purpose,
    roster::NAMESPACES,
};

const SPACE: &str = "registers";
/// Operations of one simulation, and of these without an outcome: the work of the checker doubles with each of them.
const OPERATIONS: usize = 80;
const UNKNOWN: usize = 6;

/// The clients.
#[derive(Debug, Default)]
pub(crate) struct Registers {
    history: History<KeyOperation>,
    /// Operations without an answer, by their numbers.
    open: Vec<Option<(Call, KeyOperation)>>,
    /// What was read of each key last.
    seen: [(Held, Seq); KEYS],
}

impl Registers {
    pub(crate) fn step(&mut self, ctx: &mut Context) -> Checked {
        if ctx.is_quiescent() || self.open.len() >= OPERATIONS {
            return Ok(());
        }
        let pause = ctx.random.span(SECOND / 50, 6 * SECOND);
        ctx.at(pause, Event::Access);
        self.withdraw_lost_reads(ctx);
        if ctx.host.partition.is_none() || self.open.iter().flatten().count() >= UNKNOWN {
            return Ok(());
        }
        let (operation, transaction) = self.draw(ctx);
        let command = Transact { namespace: NAMESPACES[0].to_owned(), transaction, by: Writer::client(None) };
        let purpose = Purpose::Access { number: self.open.len() };
        self.open.push(Some((self.history.call(operation.clone()), operation)));
        ctx.request(Command::Transact(command), purpose);
        Ok(())
    }

    /// A read whose process has died has changed nothing, and gets no answer.
    fn withdraw_lost_reads(&mut self, ctx: &Context) {
        for (number, open) in self.open.iter_mut().enumerate() {
            let lost = open
                .take_if(|(_, operation)| is_read(operation) && !ctx.requests.is_pending(&Purpose::Access { number }));
            if let Some((call, _)) = lost {
                self.history.withdraw(call);
            }
        }
    }

    fn draw(&self, ctx: &mut Context) -> (KeyOperation, Transaction) {
        let key = ctx.random.below(KEYS as u64) as usize;
        let (saw, new) = (self.seen[key], self.open.len() as u64 + 1);
        let set = || (KeyOperation::Set { key, value: Some(new) }, Transaction::single(put(key, new, None)));
        match ctx.random.below(10) {
            0 => (KeyOperation::Get { key, value: None }, Transaction::single(of(key, Action::Get))),
            1..=3 => {
                let then = (0..KEYS).map(|key| of(key, Action::Get)).collect();
                (KeyOperation::Snapshot([None; KEYS]), Transaction { then, ..Transaction::default() })
            }
            4 => {
                let removed = of(key, Action::Delete { saw: None });
                (KeyOperation::Set { key, value: None }, Transaction::single(removed))
            }
            5 => set(),
            6 | 7 => {
                let swap = KeyOperation::Swap { key, saw: saw.0, value: Some(new), done: None };
                (swap, Transaction::single(put(key, new, Some(saw.1))))
            }
            _ => saw.0.map_or_else(set, |value| shift(key, (value, saw.1), new)),
        }
    }

    /// The outcome of an operation.
    pub(crate) fn answered(&mut self, ctx: &mut Context, number: usize, answer: &Transacted) -> Checked {
        let Some((call, operation)) = self.open[number].take() else { return Ok(()) };
        let Transacted { succeeded, results, .. } = answer;
        let known = match operation {
            KeyOperation::Get { key, .. } => {
                self.seen[key] = read(&results[0])?;
                KeyOperation::Get { key, value: self.seen[key].0 }
            }
            KeyOperation::Snapshot(_) => {
                let before = self.seen;
                for (key, result) in results.iter().enumerate() {
                    self.seen[key] = read(result)?;
                }
                if ctx.has_bug(InjectedBug::OldAnswer) && ctx.random.chance(300) {
                    self.seen = before;
                }
                KeyOperation::Snapshot(self.seen.map(|(value, _)| value))
            }
            set @ KeyOperation::Set { .. } => set,
            KeyOperation::Swap { key, saw, value, .. } => {
                let done = results[0].outcome != WriteOutcome::Rejected;
                KeyOperation::Swap { key, saw, value, done: Some(done) }
            }
            KeyOperation::Move { from, to, saw, value, .. } => {
                KeyOperation::Move { from, to, saw, value, done: Some(*succeeded) }
            }
        };
        self.history.answered(call, known);
        Ok(())
    }

    /// One order explains all answers.
    pub(crate) fn finish(&mut self) -> Checked {
        for (call, operation) in self.open.iter_mut().filter_map(Option::take) {
            if is_read(&operation) {
                self.history.withdraw(call);
            }
        }
        if self.history.is_linearizable::<Keys>() {
            return Ok(());
        }
        Err(Violation::of(9, format!("no order of reads and writes explains their answers: {:?}", self.history)))
    }
}

fn is_read(operation: &KeyOperation) -> bool {
    matches!(operation, KeyOperation::Get { .. } | KeyOperation::Snapshot(_))
}

/// What a read has found.
fn read(result: &OperationResult) -> Result<(Held, Seq), Violation> {
    let bytes = result.value.as_ref().and_then(Payload::bytes);
    let value: Option<u64> = bytes.and_then(|bytes| serde_json::from_slice(bytes).ok());
    if value.is_some() == (result.version > Seq::ZERO) {
        Ok((value, result.version))
    } else {
        Err(Violation::of(9, format!("a read of key `{}` is answered with {result:?}", result.key)))
    }
}

fn of(key: usize, action: Action) -> Operation {
    Operation { space: SPACE.to_owned(), key: format!("k{key}"), action }
}

fn put(key: usize, value: u64, saw: Option<Seq>) -> Operation {
    let value = Payload::inline(value.to_string().into_bytes());
    of(key, Action::Put { value, saw, ttl: None, stamp: None, base: None })
}

/// One key is removed and another one written, where the first is as it was read.
fn shift(from: usize, (saw, version): (u64, Seq), value: u64) -> (KeyOperation, Transaction) {
    let to = (from + 1) % KEYS;
    let condition = Condition { space: SPACE.to_owned(), key: format!("k{from}"), check: Check::Version(version) };
    let then = vec![of(from, Action::Delete { saw: None }), put(to, value, None)];
    let transaction = Transaction { conditions: vec![condition], then, ..Transaction::default() };
    (KeyOperation::Move { from, to, saw, value, done: None }, transaction)
}
