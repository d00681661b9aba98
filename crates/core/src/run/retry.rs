//! Failed attempts: another one by the retry policy, or the end of the step.
//!
//! For: reported failures and timeouts. Not for: lost attempts (`unknown`).
//! Invariant: back-off depends only on the policy and on (run, step, attempt), never on chance.

use consort_types::{BlobHash, Code, Error, Result, Span, TaskId, limits};
use consort_workflow::Retry;

use super::{task::Current, unknown::leaves_doubt};
use crate::{
    command::TaskFail,
    effect::{AttemptEnd, Effect},
    fold::{Fold, Outcome, Work},
    keys::TimerKind,
    rows::{Event, Step, StepState},
};

/// Whether, and when, another attempt may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    Never,
    ByPolicy,
    After(Span),
}

impl Fold<'_> {
    /// An attempt failed by its own report.
    pub(crate) fn task_fail(&mut self, report: &TaskFail, again: Again) -> Result<()> {
        let TaskFail { task, token, ref error, retryable, ref taken, ref by, .. } = *report;
        let repeated = self.step(task)?.is_some_and(|step| step.token == token && step.state == StepState::Backoff);
        if repeated {
            return Ok(());
        }
        let Current::Live(mut step) = self.reported(task, token, by)? else { return Ok(()) };
        self.note_taken(&mut step, taken.as_ref());
        let end = AttemptEnd::Failed { code: error.code, retryable };
        self.effect(Effect::AttemptEnded { task, token, end });
        self.attempt_failed(task, *step, error.clone(), again)
    }

    /// The attempt is over without an outcome: back off, or fail the step.
    pub(crate) fn attempt_failed(&mut self, task: TaskId, mut step: Step, error: Error, again: Again) -> Result<()> {
        self.leave_unknown(task, &mut step)?;
        step.failures += 1;
        let place = self.place(task)?;
        let policy = self.retry_of(&place)?;
        let pause = match again {
            Again::After(span) if step.failures < policy.attempts => {
                span.min(Span::from_secs(limits::RETRY_AFTER_SECONDS_MAX))
            }
            Again::ByPolicy if step.failures < policy.attempts => backoff(&policy, task, step.failures),
            _ => {
                self.put_step(task, step);
                self.work(Work::Finish(task, Outcome::Failed(error)));
                return Ok(());
            }
        };
        let due = self.now.after(pause);
        self.leave_instance(task, &mut step);
        step.wake_at = Some(due);
        step.error = Some(error.clone());
        self.arm(due, task, TimerKind::Backoff, 0);
        self.set_state(task, &mut step, StepState::Backoff);
        let event = Event::AttemptFailed { attempt: step.attempt, error, retry_at: Some(due) };
        self.journal(task.run, Some(task), event);
        self.put_step(task, step);
        Ok(())
    }

    /// The attempt is taken away from whoever holds it.
    pub(crate) fn leave_instance(&mut self, task: TaskId, step: &mut Step) {
        self.disarm(step.timeout_at.take(), task, TimerKind::Timeout);
        self.machine.inputs.take(&(task, step.token));
        self.effect(Effect::Gone { task, token: step.token, stop: Some("the attempt is over") });
    }

    /// An attempt did not end within its timeout. What a `write` attempt did is then unknown.
    pub(crate) fn attempt_timed_out(&mut self, task: TaskId, mut step: Step) -> Result<()> {
        step.timeout_at = None;
        let place = self.place(task)?;
        let span = self.timeout_of(&place)?.unwrap_or_default();
        let error =
            Error::new(Code::TimedOut, format!("attempt {} did not end within its timeout of {span}", step.attempt))
                .hint("raise `timeout`, or make the step smaller");
        let (token, doubt) = (step.token, leaves_doubt(&step));
        let end = if doubt { AttemptEnd::Unknown } else { AttemptEnd::Expired };
        self.effect(Effect::AttemptEnded { task, token, end });
        if doubt {
            return self.outcome_unknown(task, step, error);
        }
        self.attempt_failed(task, step, error, Again::ByPolicy)
    }
}

/// The pause after the `failures`-th failure, spread by a quarter to either side.
fn backoff(policy: &Retry, task: TaskId, failures: u32) -> Span {
    let mut pause = policy.initial.0;
    for _ in 1..failures {
        if pause >= policy.max.0 {
            break;
        }
        pause = pause.saturating_mul(u64::from(policy.factor_milli)) / 1000;
    }
    let pause = pause.min(policy.max.0);
    let hash = BlobHash::of(format!("{task}#{failures}").as_bytes()).0;
    let spread = 768 + (u64::from(hash[0]) << 1);
    Span((u128::from(pause) * u128::from(spread) / 1024).try_into().unwrap_or(u64::MAX))
}
