//! `SignalRun`: a signal arrives at a run from outside. It is delivered to its first waiter, or kept.
//!
//! For: matching signals with the steps and journal entries that wait for them. Not for: beginning to wait (see `wait`).
//! Invariant: a signal is read by exactly one waiter, first come, first served.

use consort_types::{Code, Error, Name, Payload, Result, RunId, Seq, StepInstanceId, limits};
use minicbor::{Decode, Encode};

use crate::{
    context::{ApplyContext, Outcome, PendingWork},
    run::{
        keys::SignalKey,
        lifecycle::refuse_ended,
        rows::{
            history::HistoryEvent,
            signal::{Signal, Waiter},
            step::StepState,
        },
    },
    state::State,
    task::{answer, keys::EntryKey, rows::TaskEntry},
};

/// Sends a signal to a run.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct SignalRun {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The run.
    #[n(1)]
    pub run: RunId,
    /// The signal's name.
    #[n(2)]
    pub name: String,
    /// Its payload.
    #[n(3)]
    pub payload: Payload,
}

impl SignalRun {
    /// As [`Command::check`].
    pub fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        Name::check("signal", &self.name)
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let run = ctx.state.run_in(&self.namespace, self.run)?;
        refuse_ended(self.run, &run)?;
        if run.signals_waiting >= limits::SIGNALS_WAITING_MAX {
            let message = format!(
                "run `{}` has {} signals waiting, the limit is {}",
                self.run,
                run.signals_waiting,
                limits::SIGNALS_WAITING_MAX
            );
            return Err(Error::new(Code::LimitReached, message).hint("wait until the run has read some of them"));
        }
        signal(ctx, self.run, &self.name, &self.payload)
    }
}

/// A signal arrives: it goes to the first that waits for it, or is kept.
fn signal(ctx: &mut ApplyContext<'_>, id: RunId, name: &str, payload: &Payload) -> Result<()> {
    let event = HistoryEvent::SignalReceived { name: name.to_owned(), payload: payload.clone() };
    ctx.retain(payload)?;
    ctx.record_history(id, None, event);
    let (from, to) = signal_range(id, name);
    while let Some((key, waiter)) = ctx.state.tables.waiters.range(&from, &to, 1)?.pop() {
        ctx.state.tables.waiters.delete(&key);
        if is_waiting(ctx.state, &waiter)? {
            return deliver(ctx, &waiter, payload.clone());
        }
    }
    let mut run = ctx.state.run(id)?;
    run.signals_waiting += 1;
    ctx.put_run(id, run);
    ctx.retain(payload)?;
    let key = SignalKey { run: id, name: name.to_owned(), seq: ctx.seq, n: 0 };
    ctx.state.tables.signals.insert_new(key, Signal { payload: payload.clone() });
    Ok(())
}

/// A step, or an entry of its task's journal, waits for a signal: the oldest kept one, or the next.
pub(crate) fn await_signal(
    ctx: &mut ApplyContext<'_>,
    task: StepInstanceId,
    entry: Option<u32>,
    name: &str,
) -> Result<()> {
    let (from, to) = signal_range(task.run, name);
    let waiter = Waiter { task, entry };
    if let Some((key, signal)) = ctx.state.tables.signals.range(&from, &to, 1)?.pop() {
        ctx.state.tables.signals.delete(&key);
        let mut run = ctx.state.run(task.run)?;
        run.signals_waiting -= 1;
        ctx.put_run(task.run, run);
        ctx.release(&signal.payload)?;
        return deliver(ctx, &waiter, signal.payload);
    }
    let n = ctx.next_ordinal();
    let key = SignalKey { run: task.run, name: name.to_owned(), seq: ctx.seq, n };
    ctx.state.tables.waiters.insert_new(key, waiter);
    Ok(())
}

fn is_waiting(state: &mut State, waiter: &Waiter) -> Result<bool> {
    let Some(step) = state.step(waiter.task)? else { return Ok(false) };
    match waiter.entry {
        None => Ok(step.state == StepState::Waiting),
        Some(entry) => {
            let row = state.tables.entries.get(&EntryKey { task: waiter.task, entry })?;
            Ok(!step.state.is_terminal() && row.as_ref().is_some_and(|row: &TaskEntry| !row.is_answered()))
        }
    }
}

fn deliver(ctx: &mut ApplyContext<'_>, waiter: &Waiter, payload: Payload) -> Result<()> {
    if let Some(entry) = waiter.entry {
        answer::answer(ctx, waiter.task, entry, Ok(payload))
    } else {
        ctx.retain(&payload)?;
        ctx.enqueue(PendingWork::Finish(waiter.task, Outcome::Completed(payload)));
        Ok(())
    }
}

fn signal_range(run: RunId, name: &str) -> (SignalKey, SignalKey) {
    let key = |seq| SignalKey { run, name: name.to_owned(), seq: Seq(seq), n: 0 };
    (key(0), key(u64::MAX))
}
