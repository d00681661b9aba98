//! Compensations that give up: a person decides about them.
//!
//! For: compensations that failed for good, and those that an operator no longer waits for. Not for: how often one is
//! tried (its policy says so), or the decision (see `unknown_outcome`).
//! Invariant: no run ends with an effect that was to be undone and was not, unless a person has said so.

use consort_types::{Code, Error, Result, RunId, StepInstanceId, limits, text::truncate};

use crate::{
    context::ApplyContext,
    run::{
        instance,
        locate::{self, InstanceKind},
        rows::{
            history::HistoryEvent,
            step::{Step, StepState},
        },
    },
    task::{question, rows::Ask},
};

/// The compensation is not tried again by itself: it waits for a decision.
pub(crate) fn give_up(ctx: &mut ApplyContext<'_>, task: StepInstanceId, mut step: Step, error: Error) -> Result<()> {
    instance::withdraw(ctx, task, &mut step)?;
    let path = locate::path(ctx.state, task)?;
    let mut title = format!("`{path}` has given up, and what it was to undo may stand: {}", error.message);
    truncate(&mut title, limits::ERROR_MESSAGE_BYTES_MAX);
    question::put(ctx, task, Ask::GaveUp, title, None)?;
    step.ending = false;
    step.instance = None;
    step.effect = None;
    step.error = Some(error.clone());
    ctx.set_state(task, &mut step, StepState::GaveUp);
    ctx.record_history(task.run, Some(task), HistoryEvent::StepGaveUp { error });
    ctx.put_step(task, step);
    Ok(())
}

/// An operator no longer waits for the compensations of a run that no instance has taken: each waits for a decision.
/// Those that an instance has taken are left to it.
///
/// # Errors
/// Where no compensation waits for an instance or for its next attempt.
pub(crate) fn give_up_waiting(ctx: &mut ApplyContext<'_>, id: RunId, reason: &str) -> Result<()> {
    let first = StepInstanceId { run: id, scope: 0, index: 0 };
    let past = StepInstanceId { run: id, scope: u32::MAX, index: u32::MAX };
    let page = ctx.state.tables.live.range(&first, &past, ctx.page())?;
    let mut waiting = Vec::new();
    for (task, _) in page {
        let step = ctx.state.known_step(task)?;
        let waits = matches!(step.state, StepState::Ready | StepState::Backoff);
        let undoes = matches!(locate::locate(ctx.state, task)?.kind, InstanceKind::Compensation(_));
        if waits && undoes {
            waiting.push((task, step));
        }
    }
    if waiting.is_empty() {
        let message = format!("run `{id}` is compensating, and none of its compensations waits for an instance");
        return Err(Error::new(Code::StepState, message)
            .hint("`consort inbox` shows those that wait for you, `consort runs show` those that instances work on"));
    }
    for (task, step) in waiting {
        let last = step.error.as_ref().map(|error| format!("; its last error: {}", error.message)).unwrap_or_default();
        let error = Error::new(Code::Cancelled, format!("it was taken back by an operator: {reason}{last}"));
        give_up(ctx, task, step, error)?;
    }
    Ok(())
}
