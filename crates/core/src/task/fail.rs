//! `TaskFail`: an attempt failed by its own report. The retry policy decides what follows.
//!
//! For: reported failures and timeouts. Not for: lost attempts (see `lost`).
//! Invariant: back-off depends only on the policy and on (run, step, attempt), never on chance.

use consort_types::{Code, Error, Result, Span, StepInstanceId, Time, Token, WorkerInstance, bounds::check_error};
use minicbor::{Decode, Encode};

use crate::{
    context::{ApplyContext, Outcome, PendingWork},
    effect::{AttemptEnd, Effect},
    run::{
        keys::TimerKind,
        locate::locate,
        open_effect,
        rows::{
            history::HistoryEvent,
            step::{AwaitedEnd, Step, StepState},
        },
    },
    task::{
        attempt::{self, Current, check_instance, check_taken, check_version},
        back_off::{RetryDecision, next_try},
        diverged, task_spec,
        unknown_outcome::{self, leaves_doubt},
    },
};

/// Records the failure of an attempt.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct TaskFail {
    /// The task.
    #[n(0)]
    pub task: StepInstanceId,
    /// The attempt's token.
    #[n(1)]
    pub token: Token,
    /// What went wrong.
    #[n(2)]
    pub error: Error,
    /// Whether another attempt may help.
    #[n(3)]
    pub retryable: bool,
    /// When to try again, where the agent knows.
    #[n(4)]
    pub retry_after: Option<Span>,
    /// The holder and the time of the assignment, where that has no record of its own.
    #[n(5)]
    pub taken: Option<(WorkerInstance, Time)>,
    /// The instance that reports.
    #[n(6)]
    pub by: WorkerInstance,
    /// The version of the agent that the instance serves; `None` in logs of before.
    #[n(7)]
    pub version: Option<String>,
}

impl TaskFail {
    pub(crate) fn check(&self) -> Result<()> {
        check_error(&self.error)?;
        check_instance(&self.by)?;
        check_version(self.version.as_deref())?;
        check_taken(self.taken.as_ref())
    }

    /// An attempt failed by its own report.
    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let again = match self.retry_after {
            _ if !self.retryable => RetryDecision::Never,
            Some(span) => RetryDecision::After(span),
            None => RetryDecision::ByPolicy,
        };
        let Self { task, token, ref error, retryable, ref taken, ref by, ref version, .. } = *self;
        let repeated =
            ctx.state.step(task)?.is_some_and(|step| step.token == token && step.state == StepState::Backoff);
        if repeated {
            return Ok(());
        }
        let Current::Live(mut step) = attempt::reported(ctx.state, task, token, by)? else { return Ok(()) };
        attempt::note_taken(ctx, &mut step, taken.as_ref());
        attempt::note_version(&mut step, version.as_ref());
        let end = AttemptEnd::Failed { code: error.code, retryable };
        ctx.effect(Effect::AttemptEnded { task, token, end });
        if error.code == Code::JournalDiverged && step.entries > 0 && step.ends_as.is_none() {
            unknown_outcome::leave_unknown(ctx, task, &mut step)?;
            return diverged::suspend(ctx, task, *step, error.clone());
        }
        attempt_failed(ctx, task, *step, error.clone(), again)
    }
}

/// The attempt is over without an outcome: back off, or fail the step.
fn attempt_failed(
    ctx: &mut ApplyContext<'_>,
    task: StepInstanceId,
    mut step: Step,
    error: Error,
    again: RetryDecision,
) -> Result<()> {
    unknown_outcome::leave_unknown(ctx, task, &mut step)?;
    step.failures += 1;
    if open_effect::ends_now(ctx, task, &step) {
        ctx.put_step(task, step);
        return Ok(());
    }
    let step_ref = locate(ctx.state, task)?;
    let policy = task_spec::retry_of(ctx.state, &step_ref)?;
    let Some(due) = next_try(&policy, ctx.now, task, &step, &error, again) else {
        ctx.put_step(task, step);
        ctx.enqueue(PendingWork::Finish(task, Outcome::Failed(error)));
        return Ok(());
    };
    attempt::leave_instance(ctx, task, &mut step);
    step.wake_at = Some(due);
    step.error = Some(error.clone());
    ctx.arm(due, task, TimerKind::Backoff, 0);
    ctx.set_state(task, &mut step, StepState::Backoff);
    let event = HistoryEvent::AttemptFailed { attempt: step.attempt, error, retry_at: Some(due) };
    ctx.record_history(task.run, Some(task), event);
    ctx.put_step(task, step);
    Ok(())
}

/// An attempt did not end within its timeout. What a `write` attempt did is then unknown.
pub(crate) fn attempt_timed_out(ctx: &mut ApplyContext<'_>, task: StepInstanceId, mut step: Step) -> Result<()> {
    step.timeout_at = None;
    let step_ref = locate(ctx.state, task)?;
    let span = task_spec::timeout_of(ctx.state, &step_ref)?.unwrap_or_default();
    let error = match &step.ends_as {
        Some(AwaitedEnd { error, .. }) => {
            let message =
                format!("attempt {} did not report before the grace was over: {}", step.attempt, error.message);
            Error::new(Code::TimedOut, message)
        }
        None => {
            Error::new(Code::TimedOut, format!("attempt {} did not end within its timeout of {span}", step.attempt))
                .hint("raise `timeout`, or make the step smaller")
        }
    };
    let (token, doubt) = (step.token, leaves_doubt(&step));
    let end = if doubt { AttemptEnd::Unknown } else { AttemptEnd::Expired };
    ctx.effect(Effect::AttemptEnded { task, token, end });
    if doubt {
        return unknown_outcome::outcome_unknown(ctx, task, step, error, false);
    }
    attempt_failed(ctx, task, step, error, RetryDecision::ByPolicy)
}
