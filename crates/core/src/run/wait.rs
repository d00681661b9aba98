//! `wait` steps: for a time, or for a signal.
//!
//! For: beginning a wait, and its end by time. Not for: back-off (see `task::fail`), or matching signals (see `signal`).
//! Invariant: a wait that has ended has no timer left.

use consort_types::{Code, Error, Result, Span, StepInstanceId};
use consort_workflow::{Wait, span_of, time_of};
use serde_json::Value;

use crate::{
    context::{ApplyContext, Outcome, PendingWork},
    encode::encode,
    run::{
        environment::{self, in_expression},
        iterate,
        keys::{ScopeKey, TimerKind},
        locate::StepRef,
        rows::{
            history::HistoryEvent,
            step::{Step, StepState},
        },
        signal,
    },
};

pub(crate) fn begin_wait(
    ctx: &mut ApplyContext<'_>,
    step_ref: &StepRef,
    task: StepInstanceId,
    mut step: Step,
    wait: &Wait,
) -> Result<()> {
    let wake = match wait {
        Wait::For(template) => {
            let value = environment::evaluate(ctx.state, step_ref, task, template)
                .map_err(|error| in_expression("wait", error))?;
            Some(ctx.now.after(span_of(&value)?))
        }
        Wait::Until(template) => {
            let value = environment::evaluate(ctx.state, step_ref, task, template)
                .map_err(|error| in_expression("wait", error))?;
            Some(time_of(&value)?.max(ctx.now))
        }
        Wait::Signal { .. } => None,
    };
    step.began = Some(ctx.now);
    step.wake_at = wake;
    if let Some(due) = wake {
        ctx.arm(due, task, TimerKind::Wake, 0);
    }
    let own = if let Wait::Signal { timeout, .. } = wait { *timeout } else { None };
    limit_wait(ctx, step_ref, task, &mut step, own);
    ctx.set_state(task, &mut step, StepState::Waiting);
    ctx.record_history(task.run, Some(task), HistoryEvent::StepBegan);
    ctx.put_step(task, step);
    match wait {
        Wait::Signal { name, .. } => signal::await_signal(ctx, task, None, name),
        _ => Ok(()),
    }
}

pub(crate) fn limit_wait(
    ctx: &mut ApplyContext<'_>,
    step_ref: &StepRef,
    task: StepInstanceId,
    step: &mut Step,
    own: Option<Span>,
) {
    let shortest = [own, step_ref.step().timeout].into_iter().flatten().min();
    if let Some(span) = shortest {
        let due = ctx.now.after(span);
        step.timeout_at = Some(due);
        ctx.arm(due, task, TimerKind::Timeout, 0);
    }
}

/// A `wait` or a pause between iterations is over.
pub(crate) fn woken(ctx: &mut ApplyContext<'_>, task: StepInstanceId, mut step: Step) -> Result<()> {
    step.wake_at = None;
    let child = step.child;
    let state = step.state;
    ctx.put_step(task, step);
    match (state, child) {
        (StepState::Waiting, _) => {
            let output = ctx.store_payload("wait", encode(&Value::Null))?;
            ctx.enqueue(PendingWork::Finish(task, Outcome::Completed(output)));
            Ok(())
        }
        (StepState::Open, Some(scope)) => iterate::next_iteration(ctx, ScopeKey { run: task.run, scope }, task),
        _ => Ok(()),
    }
}

/// A step that waits, or that has opened others, did not end within its timeout.
pub(crate) fn wait_timed_out(ctx: &mut ApplyContext<'_>, task: StepInstanceId) {
    let error = Error::new(Code::TimedOut, "the step did not end within its timeout");
    ctx.enqueue(PendingWork::Finish(task, Outcome::Failed(error)));
}
