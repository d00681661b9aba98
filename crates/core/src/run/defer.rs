//! What is too much for one record is left to a later one.
//!
//! For: leaving work as rows, with a timer that is due at once. Not for: taking it up again (see `resume`).
//! Invariant: what is left can be repeated, or finds in the rows that it is no longer needed; while steps of a run are
//! being stopped, nothing else of it starts.

use consort_types::{Result, RunId};

use crate::{
    context::{ApplyContext, PendingWork},
    run::{
        keys::{LaterKey, LaterRank, TimerKind, root_task},
        rows::run::Later,
    },
    state::State,
};

/// Whether the work waits: for the next record, or until the steps of its run have been stopped.
pub(crate) fn must_wait(ctx: &mut ApplyContext<'_>, work: &PendingWork) -> Result<bool> {
    let run = match work {
        PendingWork::Consider(task) | PendingWork::Begin(task) => task.run,
        PendingWork::Advance(key) => key.run,
        PendingWork::Resume(_) => return Ok(ctx.is_long()),
        _ => return Ok(false),
    };
    if ctx.is_long() {
        return Ok(true);
    }
    is_stopping(ctx.state, run)
}

/// Whether steps of the run, or of a run above it, are being stopped: then nothing starts in it. (Runs below one
/// that is being cancelled would multiply faster than the cancellation comes to them.)
pub(crate) fn is_stopping(state: &mut State, id: RunId) -> Result<bool> {
    let mut at = Some(id);
    while let Some(id) = at {
        let Some(run) = state.tables.runs.get_shared(&id)? else { return Ok(false) };
        if run.is_stopping() {
            return Ok(true);
        }
        at = run.parent.map(|parent| parent.run);
    }
    Ok(false)
}

/// Leaves work to a later record.
pub(crate) fn defer(ctx: &mut ApplyContext<'_>, work: &PendingWork) -> Result<()> {
    let (task, later) = match work {
        PendingWork::Consider(task) => (*task, Later::Consider),
        PendingWork::Begin(task) => (*task, Later::Begin),
        PendingWork::Advance(key) => {
            let key = LaterKey { run: key.run, rank: LaterRank::Scope, scope: key.scope, index: 0 };
            return put(ctx, key, Later::Advance);
        }
        PendingWork::Resume(run) => return arm_continuation(ctx, *run),
        _ => return Ok(()),
    };
    let key = LaterKey { run: task.run, rank: LaterRank::Instance, scope: task.scope, index: task.index };
    put(ctx, key, later)
}

pub(crate) fn put(ctx: &mut ApplyContext<'_>, key: LaterKey, later: Later) -> Result<()> {
    ctx.state.tables.later.put(key, later);
    arm_continuation(ctx, key.run)
}

/// Arms the timer, due at once, that resumes what the run has left; one is enough.
pub(crate) fn arm_continuation(ctx: &mut ApplyContext<'_>, id: RunId) -> Result<()> {
    let armed = ctx.state.tables.runs.get(&id)?.filter(|run| !run.continues);
    if let Some(mut run) = armed {
        run.continues = true;
        ctx.arm(ctx.now, root_task(id), TimerKind::Continue, 0);
        ctx.put_run(id, run);
    }
    Ok(())
}
