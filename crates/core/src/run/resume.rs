//! Work that an earlier record has left is resumed.
//!
//! For: the order in which a run's deferred work is done: stops before starts. Not for: leaving work (see `defer`).
//! Invariant: a record resumes as much as one record may do; the rest is left again.

use consort_types::{Error, Payload, Result, RunId, StepInstanceId};

use crate::{
    context::{ApplyContext, Outcome, PendingWork},
    run::{
        cancel, defer,
        keys::{LaterKey, LaterRank, ScopeKey},
        lifecycle, pause,
        rows::run::Later,
        stop,
    },
    state::missing,
};

/// The timer has fired.
pub(crate) fn continue_run(ctx: &mut ApplyContext<'_>, id: RunId) -> Result<()> {
    if let Some(mut run) = ctx.state.tables.runs.get(&id)? {
        run.continues = false;
        ctx.put_run(id, run);
    }
    ctx.enqueue(PendingWork::Resume(id));
    Ok(())
}

/// Resumes what the run has left, as much as one record may do: what is to stop before what is to start.
pub(crate) fn resume(ctx: &mut ApplyContext<'_>, id: RunId) -> Result<()> {
    let run = ctx.state.tables.runs.get(&id)?;
    let Some(run) = run.filter(|run| !run.status.is_terminal()) else { return drop_left(ctx, id) };
    if let Some(walk) = run.cancelling {
        return cancel::cancel_live(ctx, id, walk.from, &walk.reason);
    }
    if let Some(from) = run.pausing {
        pause::pause_children(ctx, id, from)?;
    }
    if run.stopping == 0 && defer::is_stopping(ctx.state, id)? {
        return defer::arm_continuation(ctx, id);
    }
    resume_page(ctx, id, run.stopping > 0)
}

/// Takes up a page of what was left; while there is something to stop, only that.
fn resume_page(ctx: &mut ApplyContext<'_>, id: RunId, stopping: bool) -> Result<()> {
    let (from, mut past) = (LaterKey::first(id), LaterKey::last(id));
    if stopping {
        past = LaterKey { rank: LaterRank::Finish, ..from };
    }
    let limit = ctx.page();
    let page = ctx.state.tables.later.range(&from, &past, limit)?;
    if stopping && page.is_empty() {
        return Err(missing("what is to stop of run", &id));
    }
    let more = page.len() == limit || stopping;
    for (key, later) in page {
        ctx.state.tables.later.delete(&key);
        let task = key.task();
        match later {
            Later::Stop => stop::stop_on(ctx, key)?,
            Later::Finish { output, error } => finish_late(ctx, task, output, error)?,
            Later::Consider => ctx.enqueue(PendingWork::Consider(task)),
            Later::Begin => ctx.enqueue(PendingWork::Begin(task)),
            Later::Advance => ctx.enqueue(PendingWork::Advance(ScopeKey { run: id, scope: key.scope })),
        }
    }
    if more {
        ctx.enqueue(PendingWork::Resume(id));
    }
    Ok(())
}

/// Deferred work of an ended run is no longer needed.
fn drop_left(ctx: &mut ApplyContext<'_>, id: RunId) -> Result<()> {
    let limit = ctx.page();
    let page = ctx.state.tables.later.range(&LaterKey::first(id), &LaterKey::last(id), limit)?;
    ctx.charge(page.len());
    for (key, _) in &page {
        ctx.state.tables.later.delete(key);
    }
    lifecycle::drop_waiters(ctx, id)?;
    if page.len() == limit {
        ctx.enqueue(PendingWork::Resume(id));
    }
    Ok(())
}

/// An instance whose end was decided ends, now that nothing below it is live.
fn finish_late(
    ctx: &mut ApplyContext<'_>,
    task: StepInstanceId,
    output: Option<Payload>,
    error: Option<Error>,
) -> Result<()> {
    if let Some(mut step) = ctx.state.step(task)?.filter(|step| !step.state.is_terminal()) {
        step.ending = false;
        ctx.put_step(task, step);
    }
    let outcome = match (output, error) {
        (Some(output), _) => Outcome::Completed(output),
        (None, Some(error)) => Outcome::of_error(error),
        (None, None) => Outcome::Skipped { error: None, tainted: false },
    };
    ctx.enqueue(PendingWork::Finish(task, outcome));
    Ok(())
}
