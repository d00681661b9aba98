//! The attempts of a worker instance, from their assignment to their outcome.
//!
//! For: doing what a task says, with a journal where it has one, or misbehaving with it. Not for: the connection (see
//! the parent).
//! Invariant: an attempt behaves in one way from its beginning to its end, or well from the end of faults on.

use consort_types::{
    Code, Error, Payload, StepInstanceId, Token,
    worker::{FromWorker, JournalEntry, TaskOffer},
};
use serde_json::{Value, json};

use super::Worker;
use crate::{
    answers::{Answer, Batch, Next, answer, bid, document, is_write, next},
    clock::SECOND,
    context::Context,
    event::Event,
    plan::{Checked, Violation},
    roster::NAMESPACES,
};

/// How an attempt behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behaviour {
    Good,
    /// Reports a failure that may be repeated, before it has done anything.
    Fails,
    /// Reports nothing, while the instance lives.
    Silent,
    /// The instance dies before it reports.
    Dies,
    /// Its code differs from the journal, as far as there is one.
    Diverges,
    /// Reports, and then reports something else.
    Lies,
}

/// An attempt that an instance works on.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) offer: TaskOffer,
    pub(super) behaviour: Behaviour,
    /// The effect has happened.
    acted: bool,
    /// Entries that the engine has confirmed.
    confirmed: usize,
    /// The journal, as far as it was sent.
    journal: Vec<JournalEntry>,
}

/// The entries to send again after a reconnect, as messages may have been lost.
pub(super) fn unanswered(attempt: &Attempt) -> Vec<FromWorker> {
    let (task, token) = (attempt.offer.task, attempt.offer.token);
    let entries = attempt.journal.iter().zip(0..);
    let open = entries.filter(|(entry, index)| entry.result.is_none() || *index >= attempt.confirmed);
    open.map(|(entry, index)| FromWorker::Record { task, token, index: index as u32, entry: entry.clone() }).collect()
}

impl Worker {
    /// Takes a task.
    pub(crate) fn take(&mut self, ctx: &mut Context, offer: TaskOffer) -> Checked {
        let namespace = NAMESPACES[self.identity.namespace];
        let input = document(&offer.input);
        let of = input.get("ns").or_else(|| input.get("input").and_then(|input| input.get("ns")));
        if of.and_then(|of| of.as_str()).is_some_and(|of| of != namespace) {
            let what = format!("an instance of namespace `{namespace}` got task {} with {input}", offer.task);
            return Err(Violation::of(12, what));
        }
        let (task, token) = (offer.task, offer.token);
        if is_write(&offer.capability) {
            let again = input.get("again").is_some();
            ctx.service.open(task, &offer.idempotency_key, again);
        }
        let behaviour = self.draw_behaviour(ctx, task, !offer.journal.is_empty());
        let journal = offer.journal.clone();
        let attempt = Attempt { offer, behaviour, acted: false, confirmed: journal.len(), journal };
        self.attempts.insert(task, attempt);
        let pause = self.effort(ctx);
        self.work_later(ctx, pause, task, token);
        Ok(())
    }

    /// The `write` tasks that it holds.
    pub(crate) fn writes(&self) -> impl Iterator<Item = &TaskOffer> {
        self.attempts.values().map(|attempt| &attempt.offer).filter(|offer| is_write(&offer.capability))
    }

    fn draw_behaviour(&self, ctx: &mut Context, task: StepInstanceId, has_journal: bool) -> Behaviour {
        if ctx.is_quiescent() {
            return Behaviour::Good;
        }
        if self.silent {
            return Behaviour::Silent;
        }
        if !ctx.random.chance(ctx.faults.bad_attempts) {
            return Behaviour::Good;
        }
        match ctx.random.below(8) {
            0..=2 if ctx.faults.may_fail(task) => Behaviour::Fails,
            3 => Behaviour::Silent,
            4 | 5 => Behaviour::Dies,
            6 if has_journal => Behaviour::Diverges,
            _ => Behaviour::Lies,
        }
    }

    fn effort(&self, ctx: &mut Context) -> u64 {
        ctx.random.span(1_000, 3 * SECOND) * self.slowness
    }

    fn work_later(&self, ctx: &mut Context, pause: u64, task: StepInstanceId, token: Token) {
        ctx.at(pause, Event::Work { instance: self.id, task, token });
    }

    /// A task is cancelled.
    pub(super) fn cancelled(&mut self, ctx: &mut Context, task: StepInstanceId, token: Token) {
        let Some(attempt) = self.attempts.get(&task).filter(|attempt| attempt.offer.token == token) else { return };
        let zombie = attempt.behaviour == Behaviour::Lies;
        self.attempts.remove(&task);
        if zombie && !ctx.is_quiescent() {
            ctx.figures.fault("answers after the end");
            let report = FromWorker::Complete { task, token, output: Payload::from_value(&json!({ "lie": "late" })) };
            let pause = ctx.random.span(SECOND, 60 * SECOND);
            ctx.at(pause, Event::Zombie { instance: self.id, report });
        }
    }

    /// The engine confirms an entry of a journal.
    pub(super) fn recorded(&mut self, ctx: &mut Context, task: StepInstanceId, index: u32, entry: JournalEntry) {
        let Some(attempt) = self.attempts.get_mut(&task) else { return };
        let at = index as usize;
        if let Some(own) = attempt.journal.get_mut(at) {
            if own.result.is_none() || at >= attempt.confirmed {
                own.result = entry.result;
            }
            attempt.confirmed = attempt.confirmed.max(at + 1);
        }
        let token = attempt.offer.token;
        let pause = self.effort(ctx) / 50 + 1;
        self.work_later(ctx, pause, task, token);
    }

    /// Reports on a task that was cancelled all the same.
    pub(crate) fn zombie(&mut self, ctx: &mut Context, report: FromWorker) -> Checked {
        // Where it is the owner still, its report would count.
        if let Some((task, token)) = report.attempt()
            && !ctx.fold.is_live(task, token)
        {
            self.send(ctx, report);
        }
        Ok(())
    }

    /// Continues with a task.
    pub(crate) fn work(&mut self, ctx: &mut Context, task: StepInstanceId, token: Token) -> Checked {
        let Some(attempt) = self.attempts.get(&task).filter(|attempt| attempt.offer.token == token) else {
            return Ok(());
        };
        if self.silent || attempt.behaviour == Behaviour::Silent {
            return Ok(());
        }
        if attempt.behaviour == Behaviour::Fails {
            self.fail(ctx, task, token, Error::new(Code::AgentFailed, "not this time"), true);
            return Ok(());
        }
        if attempt.behaviour == Behaviour::Diverges {
            ctx.figures.fault("diverged code");
            let error = Error::new(Code::JournalDiverged, "entry 0 is recorded otherwise");
            self.fail(ctx, task, token, error, false);
            return Ok(());
        }
        let (capability, input) = (attempt.offer.capability.as_str(), document(&attempt.offer.input));
        let answer = match capability {
            "check" => settle(ctx, &input),
            "job.bid" | "deal.bid" => bid(self.identity.agent, &input),
            _ => answer(capability, &input),
        };
        match answer {
            Answer::Fails(error) => self.fail(ctx, task, token, error, false),
            Answer::Done(output) => self.carry_out(ctx, task, token, &output),
            Answer::Journal(program) => self.follow(ctx, task, &program),
        }
        Ok(())
    }

    fn carry_out(&mut self, ctx: &mut Context, task: StepInstanceId, token: Token, output: &Value) {
        let Some(attempt) = self.attempts.get_mut(&task) else { return };
        let first = !std::mem::replace(&mut attempt.acted, true);
        let (behaviour, writes) = (attempt.behaviour, is_write(&attempt.offer.capability));
        if first && writes {
            if behaviour == Behaviour::Dies && ctx.random.chance(500) {
                self.die(ctx);
            } else if ctx.service.happen(task, token, output) {
                let pause = self.effort(ctx);
                self.work_later(ctx, pause, task, token);
            } else {
                // Turned away: it was decided that this attempt did not happen.
                self.attempts.remove(&task);
            }
            return;
        }
        if behaviour == Behaviour::Dies {
            return self.die(ctx);
        }
        self.attempts.remove(&task);
        let before = self.session;
        self.send(ctx, FromWorker::Complete { task, token, output: Payload::from_value(output) });
        // Only where the truth is sure to arrive first, if anything does.
        if behaviour == Behaviour::Lies && before.is_some() && self.session == before {
            ctx.figures.fault("second answers");
            let lie = Payload::from_value(&json!({ "lie": ctx.random.below(1_000) }));
            self.send(ctx, FromWorker::Complete { task, token, output: lie });
        }
    }

    fn fail(&mut self, ctx: &mut Context, task: StepInstanceId, token: Token, error: Error, retryable: bool) {
        if retryable {
            ctx.figures.fault("failed attempts");
        }
        self.attempts.remove(&task);
        self.send(ctx, FromWorker::Fail { task, token, error, retryable, retry_after: None });
    }

    /// Continues with code that has a journal.
    fn follow(&mut self, ctx: &mut Context, task: StepInstanceId, program: &[Batch]) {
        let Some(attempt) = self.attempts.get_mut(&task) else { return };
        let (token, confirmed) = (attempt.offer.token, attempt.confirmed == attempt.journal.len());
        match next(program, &attempt.journal) {
            Next::Record(index, entry) => {
                attempt.journal.push(entry.clone());
                let behaviour = attempt.behaviour;
                self.send(ctx, FromWorker::Record { task, token, index, entry });
                if behaviour == Behaviour::Dies && ctx.random.chance(300) {
                    return self.die(ctx);
                }
                let pause = ctx.random.span(10, 50_000);
                self.work_later(ctx, pause, task, token);
            }
            Next::Wait(waiting) => {
                if confirmed && ctx.random.chance(600) {
                    self.attempts.remove(&task);
                    self.send(ctx, FromWorker::Park { task, token, waiting });
                }
            }
            Next::Done(output) if confirmed => self.carry_out(ctx, task, token, &output),
            Next::Done(_) => {}
        }
    }
}

/// The outcome of a lost attempt, as the service knows it.
fn settle(ctx: &mut Context, input: &Value) -> Answer {
    let task = input.get("task").and_then(Value::as_str).and_then(|task| task.parse::<StepInstanceId>().ok());
    Answer::Done(match task.and_then(|task| ctx.settle_effect(task)) {
        Some(output) => json!({ "decision": "done", "output": output }),
        None => json!("retry"),
    })
}
