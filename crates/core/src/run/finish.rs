//! The end of a step instance, and the notification of its parent.
//!
//! For: ends by report, timeout, cancellation or the end of what is below. Not for: what an instance leaves below it
//! (see `stop`).
//! Invariant: the first end of an instance counts; its scope, and the steps that need it, are notified once.

use consort_types::{Result, StepInstanceId};

use crate::{
    context::{ApplyContext, LIGHT_PER_UNIT, Outcome, PendingWork},
    run::{
        close, give_up, instance,
        keys::scope_of,
        locate::{InstanceKind, StepRef, locate, parent_of},
        open_effect,
        rows::step::{ScopeKind, Step, StepState},
        stop,
    },
    task::{calls, unknown_outcome},
};

/// Ends everything whose end is decided.
pub(crate) fn drain_ends(ctx: &mut ApplyContext<'_>) -> Result<()> {
    while let Some((task, outcome)) = ctx.next_end() {
        finish(ctx, task, outcome)?;
    }
    Ok(())
}

/// The instance ends: its row is final from here on.
pub(crate) fn finish(ctx: &mut ApplyContext<'_>, task: StepInstanceId, outcome: Outcome) -> Result<()> {
    let Some(step) = ctx.state.step(task)? else { return Ok(()) };
    if step.state.is_terminal() || step.ending {
        // The first end counts; the output of this one is dropped.
        return if let Outcome::Completed(output) = &outcome { ctx.release(output) } else { Ok(()) };
    }
    if !stop::stop_below(ctx, task, &step, &outcome)? {
        return Ok(());
    }
    let step_ref = locate(ctx.state, task)?;
    if let (InstanceKind::Compensation(_), Outcome::Failed(error)) = (step_ref.kind, &outcome)
        && step.state != StepState::GaveUp
    {
        return give_up::give_up(ctx, task, step, error.clone());
    }
    let step = instance::set_terminal(ctx, &step_ref, task, step, outcome)?;
    notify_parent(ctx, &step_ref, task, &step)
}

fn notify_parent(ctx: &mut ApplyContext<'_>, step_ref: &StepRef, task: StepInstanceId, step: &Step) -> Result<()> {
    let key = scope_of(task);
    if open_effect::is_detached(step) {
        return open_effect::detached_ended(ctx, task.run);
    }
    let mut scope = ctx.state.scope(key)?;
    if scope.closed {
        return Ok(());
    }
    let forgiven = matches!(step_ref.kind, InstanceKind::Body(_)) && step_ref.step().continue_on_error;
    scope.ended += 1;
    if step.state == StepState::Cancelled || (step.state == StepState::Failed && !forgiven) {
        scope.failed += 1;
        scope.error = scope.error.take().or_else(|| step.error.clone());
    }
    let (kind, complete, parent) = (scope.kind, scope.ended == scope.total, parent_of(task, &scope));
    ctx.put_scope(key, scope);
    match (kind, parent) {
        (ScopeKind::Steps { .. }, _) => {
            release_dependents(ctx, step_ref, task)?;
            if complete {
                close::close_block(ctx, key)?;
            }
        }
        (ScopeKind::Calls, Some(caller)) => calls::call_ended(ctx, caller, task.index, step)?,
        (ScopeKind::Reconcile, Some(asker)) => unknown_outcome::reconciled(ctx, asker, step)?,
        _ => ctx.enqueue(PendingWork::Advance(key)),
    }
    Ok(())
}

fn release_dependents(ctx: &mut ApplyContext<'_>, step_ref: &StepRef, task: StepInstanceId) -> Result<()> {
    ctx.charge(step_ref.step().dependents.len() / LIGHT_PER_UNIT);
    for dependent in &step_ref.step().dependents {
        let at = StepInstanceId { index: *dependent as u32, ..task };
        let mut row = ctx.state.known_step(at)?;
        if row.state != StepState::Pending {
            continue;
        }
        assert!(row.waiting > 0, "step {at} was released more often than it has needs");
        row.waiting -= 1;
        if row.waiting == 0 {
            ctx.enqueue(PendingWork::Consider(at));
        }
        ctx.put_step(at, row);
    }
    Ok(())
}
