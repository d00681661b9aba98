//! What every kind of step instance has in common: opened, and made final.
//!
//! For: the changes of an instance's row that several rules share. Not for: the notification of an end (see `finish`).
//! Invariant: an instance ends once; its row is final from then on (law 7).

use consort_types::{Payload, Result, StepInstanceId};
use consort_workflow::Action;

use crate::{
    bus::waiting,
    context::{ApplyContext, Outcome, PendingWork},
    effect::Effect,
    run::{
        keys::TimerKind,
        locate::{InstanceKind, Layer, StepRef},
        locked,
        rows::{
            history::HistoryEvent,
            step::{Step, StepState},
        },
    },
    task::{pin, question},
};

/// The instance is active through what it opened.
pub(crate) fn open(
    ctx: &mut ApplyContext<'_>,
    step_ref: &StepRef,
    task: StepInstanceId,
    mut step: Step,
    child: Option<u32>,
) {
    step.child = child;
    step.began = Some(ctx.now);
    ctx.set_state(task, &mut step, StepState::Open);
    let call = matches!(step_ref.step().action, Action::Call { .. });
    if !call && let Some(span) = step_ref.step().timeout {
        step.timeout_at = Some(ctx.now.after(span));
        ctx.arm(ctx.now.after(span), task, TimerKind::Timeout, 0);
    }
    ctx.record_history(task.run, Some(task), HistoryEvent::StepBegan);
    ctx.put_step(task, step);
}

/// What the instance does was done in this record: it has begun, and completes.
pub(crate) fn end_at_once(ctx: &mut ApplyContext<'_>, task: StepInstanceId, mut step: Step, output: Payload) {
    step.began = step.began.or(Some(ctx.now));
    if step.state != StepState::Waiting {
        ctx.set_state(task, &mut step, StepState::Waiting);
    }
    ctx.record_history(task.run, Some(task), HistoryEvent::StepBegan);
    ctx.put_step(task, step);
    ctx.enqueue(PendingWork::Finish(task, Outcome::Completed(output)));
}

/// Makes the end of an instance final, without notifying its scope.
pub(crate) fn set_terminal(
    ctx: &mut ApplyContext<'_>,
    step_ref: &StepRef,
    task: StepInstanceId,
    mut step: Step,
    outcome: Outcome,
) -> Result<Step> {
    withdraw(ctx, task, &mut step)?;
    pin::ended(ctx, task, &step)?;
    step.ended = Some(ctx.now);
    let (state, event) = match outcome {
        Outcome::Completed(output) => {
            step.output = Some(output);
            step.error = None;
            (StepState::Completed, HistoryEvent::StepCompleted { attempt: step.attempt })
        }
        Outcome::Failed(error) => {
            step.error = Some(error.clone());
            (StepState::Failed, HistoryEvent::StepFailed { error })
        }
        Outcome::Skipped { error, tainted } => {
            step.error.clone_from(&error);
            step.tainted = tainted;
            (StepState::Skipped, HistoryEvent::StepSkipped { error })
        }
        Outcome::Cancelled(error) => {
            step.error = Some(error.clone());
            (StepState::Cancelled, HistoryEvent::StepCancelled { error })
        }
    };
    ctx.set_state(task, &mut step, state);
    if state == StepState::Completed && is_compensable(step_ref) {
        step.completed_seq = Some(ctx.seq);
    }
    ctx.record_history(task.run, Some(task), event);
    ctx.put_step(task, step.clone());
    locked::release(ctx, step_ref, task, &step)?;
    Ok(step)
}

/// Revokes what waits on the instance's behalf: timers, assignments, approvals, a place among those that wait for events.
pub(crate) fn withdraw(ctx: &mut ApplyContext<'_>, task: StepInstanceId, step: &mut Step) -> Result<()> {
    ctx.disarm(step.timeout_at.take(), task, TimerKind::Timeout);
    ctx.disarm(step.deadline_at.take(), task, TimerKind::Deadline);
    let waking = if step.state == StepState::Backoff { TimerKind::Backoff } else { TimerKind::Wake };
    ctx.disarm(step.wake_at.take(), task, waking);
    if step.state == StepState::Waiting {
        waiting::leave(ctx, task)?;
    }
    if matches!(step.state, StepState::Approval | StepState::Unknown | StepState::GaveUp) {
        question::withdraw(ctx, task)?;
    }
    pin::leave_diverged(ctx, task, step)?;
    if matches!(step.state, StepState::Ready | StepState::Taken | StepState::Parked | StepState::Unknown) {
        ctx.state.inputs.take(&(task, step.token));
        ctx.effect(Effect::Gone { task, token: step.token, stop: Some("ended") });
    }
    Ok(())
}

/// Whether an instance that has completed is one to undo later.
pub(crate) fn is_compensable(step_ref: &StepRef) -> bool {
    let step = step_ref.step();
    // The innermost layer did the work; the layers around it only collect.
    let innermost = match step_ref.kind {
        InstanceKind::Body(Layer::Step) => step.for_each.is_none() && step.repeat.is_none() && step.auction.is_none(),
        InstanceKind::Body(Layer::Item) => step.repeat.is_none() && step.auction.is_none(),
        InstanceKind::Body(Layer::Iteration) => step.auction.is_none(),
        InstanceKind::Body(Layer::Award) => true,
        _ => false,
    };
    innermost && step.compensate.is_some()
}
