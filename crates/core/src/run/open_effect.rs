//! An end that comes while a `write` attempt is running, or its outcome is unknown.
//!
//! For: cancellations, time-outs and deadlines of a step whose effect may be under way: its report is awaited within a
//! grace, then it is a question to a person, and what it has done can be compensated. Not for: what is not running, or
//! repeats without harm (see `cancel` and `stop`, which end it at once).
//! Invariant: no effect is forgotten because a run, or the step above, has ended.

use consort_types::{Code, EffectClass, Error, Result, RunId, Span, StepInstanceId, limits};

use crate::{
    context::{ApplyContext, Outcome, PendingWork},
    effect::{AttemptEnd, Effect},
    run::{
        keys::{ScopeKey, TimerKind},
        rows::step::{AwaitedEnd, Step, StepState},
    },
};

/// Whether the step may be having its effect, or have had it, without a report.
fn is_open_effect(step: &Step) -> bool {
    step.effect == Some(EffectClass::Write) && matches!(step.state, StepState::Taken | StepState::Unknown)
}

/// Whether a step that is to end with an error does so later, because its effect may be under way.
pub(crate) fn ends_later(ctx: &mut ApplyContext<'_>, task: StepInstanceId, step: &Step, error: &Error) -> bool {
    let later = is_open_effect(step);
    if later {
        await_report(ctx, task, step.clone(), AwaitedEnd { error: error.clone(), detached: false });
    }
    later
}

/// The deadline of a step has passed.
pub(crate) fn deadline_passed(ctx: &mut ApplyContext<'_>, task: StepInstanceId, mut step: Step) {
    let error = Error::new(Code::DeadlinePassed, "the step did not end within its deadline")
        .hint("raise `deadline`, or make the step smaller");
    step.deadline_at = None;
    if is_open_effect(&step) {
        return await_report(ctx, task, step, AwaitedEnd { error, detached: false });
    }
    if matches!(step.state, StepState::Ready | StepState::Taken) {
        ctx.effect(Effect::AttemptEnded { task, token: step.token, end: AttemptEnd::Expired });
    }
    ctx.put_step(task, step);
    ctx.enqueue(PendingWork::Finish(task, Outcome::Failed(error)));
}

/// A step that is stopped because the one above it ends. `true` where its effect may be under way: it stays, and its
/// run ends after it.
pub(crate) fn outlives_its_parent(
    ctx: &mut ApplyContext<'_>,
    task: StepInstanceId,
    step: &Step,
    error: &Error,
) -> Result<bool> {
    if is_detached(step) {
        return Ok(true);
    }
    if !is_open_effect(step) {
        return Ok(false);
    }
    let mut run = ctx.state.run(task.run)?;
    run.detached += 1;
    ctx.put_run(task.run, run);
    let end = step.ends_as.clone().map_or_else(|| error.clone(), |end| end.error);
    let step = Step { ends_as: None, ..step.clone() };
    await_report(ctx, task, step, AwaitedEnd { error: end, detached: true });
    Ok(true)
}

/// Whether the instance above a step has ended, and only its run waits for it.
pub(crate) fn is_detached(step: &Step) -> bool {
    step.ends_as.as_ref().is_some_and(|end| end.detached)
}

/// A step that has outlived the one above it has ended: its run may only have waited for that.
pub(crate) fn detached_ended(ctx: &mut ApplyContext<'_>, id: RunId) -> Result<()> {
    let mut run = ctx.state.run(id)?;
    assert!(run.detached > 0, "run {id} waits for fewer steps than have outlived the one above them");
    run.detached -= 1;
    let last = run.drained && run.awaits_nothing();
    ctx.put_run(id, run);
    if last {
        ctx.enqueue(PendingWork::Close(ScopeKey { run: id, scope: 0 }));
    }
    Ok(())
}

/// The attempt of a step that is to end is over without its outcome: it ends now. `false` where it is not to end.
pub(crate) fn ends_now(ctx: &mut ApplyContext<'_>, task: StepInstanceId, step: &Step) -> bool {
    let Some(end) = &step.ends_as else { return false };
    ctx.enqueue(PendingWork::Finish(task, Outcome::of_error(end.error.clone())));
    true
}

/// The end of an attempt is awaited, within a grace; its step then ends with the error, unless it has completed.
fn await_report(ctx: &mut ApplyContext<'_>, task: StepInstanceId, mut step: Step, end: AwaitedEnd) {
    if step.state == StepState::Taken {
        let due = ctx.now.after(Span::from_secs(limits::WRITE_GRACE_SECONDS));
        if step.timeout_at.is_none_or(|at| at > due) {
            ctx.disarm(step.timeout_at.take(), task, TimerKind::Timeout);
            step.timeout_at = Some(due);
            ctx.arm(due, task, TimerKind::Timeout, 0);
        }
        step.error = Some(end.error.clone());
    }
    step.ends_as.get_or_insert(end);
    ctx.put_step(task, step);
}
