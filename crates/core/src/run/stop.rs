//! What an instance has opened is stopped when it ends early.
//!
//! For: timeouts, deadlines and reports that end an instance while steps or runs below it are live. Not for:
//! cancelling a run (see `cancel`): there every instance ends by itself, so that clean-up runs.
//! Invariant: an instance ends after everything below it; where nothing below it is live, which two counts of its scope
//! show, that costs nothing.

use consort_types::{Code, Error, Result, RunId, StepInstanceId};

use crate::{
    context::{ApplyContext, Outcome},
    run::{
        child_runs, defer, instance,
        keys::{LaterKey, LaterRank, ScopeKey},
        locate::locate,
        open_effect,
        rows::{
            run::Later,
            step::{Scope, ScopeKind, Step, StepState},
        },
    },
};

/// The scopes that an instance has opened and that may still be active.
fn below(run: RunId, step: &Step) -> impl Iterator<Item = ScopeKey> + use<> {
    [step.child, step.asking].into_iter().flatten().map(move |scope| ScopeKey { run, scope })
}

/// Whether every instance that was started in a scope has ended.
fn is_settled(scope: &Scope) -> bool {
    let started = match scope.kind {
        ScopeKind::Steps { .. } | ScopeKind::Reconcile => scope.total,
        _ => scope.started,
    };
    scope.ended >= started
}

/// Stops everything below an instance that ends. `false` where that is too much for this record: the rest is left
/// to the next ones, and the instance ends after it.
pub(crate) fn stop_below(
    ctx: &mut ApplyContext<'_>,
    task: StepInstanceId,
    step: &Step,
    outcome: &Outcome,
) -> Result<bool> {
    if let Some(child) = step.child_run
        && ctx.state.tables.runs.get_shared(&child)?.is_some_and(|run| !run.status.is_terminal())
    {
        child_runs::cancel_later(ctx, child, NOT_NEEDED, true);
    }
    let mut open = Vec::new();
    note_open(ctx, task.run, step, &mut open)?;
    if stop_scopes(ctx, &mut open)? {
        return Ok(true);
    }
    leave_stopping(ctx, task.run, &open)?;
    let mut step = ctx.state.known_step(task)?;
    instance::withdraw(ctx, task, &mut step)?;
    if step.state != StepState::Open {
        ctx.set_state(task, &mut step, StepState::Open);
    }
    step.ending = true;
    ctx.put_step(task, step);
    let (output, error) = match outcome {
        Outcome::Completed(output) => (Some(output.clone()), None),
        Outcome::Failed(error) | Outcome::Cancelled(error) => (None, Some(error.clone())),
        Outcome::Skipped { error, .. } => (None, error.clone()),
    };
    let key = LaterKey { run: task.run, rank: LaterRank::Finish, scope: task.scope, index: task.index };
    defer::put(ctx, key, Later::Finish { output, error })?;
    Ok(false)
}

/// Adds the scopes below an instance in which something is live.
fn note_open(ctx: &mut ApplyContext<'_>, run: RunId, step: &Step, open: &mut Vec<(ScopeKey, u32)>) -> Result<()> {
    for key in below(run, step) {
        if !is_settled(&*ctx.state.shared_scope(key)?) {
            open.push((key, 0));
        }
    }
    Ok(())
}

/// Ends what is live in the scopes, and below, without telling the scopes in between: they go with it. `false`
/// where this record is long; what is left to stop is then still in the list.
fn stop_scopes(ctx: &mut ApplyContext<'_>, open: &mut Vec<(ScopeKey, u32)>) -> Result<bool> {
    while let Some((key, from)) = open.last().copied() {
        if ctx.is_long() {
            return Ok(false);
        }
        open.pop();
        let mut scope = ctx.state.scope(key)?;
        scope.closed = true;
        ctx.put_scope(key, scope);
        let first = StepInstanceId { run: key.run, scope: key.scope, index: from };
        let past = StepInstanceId { scope: key.scope + 1, index: 0, ..first };
        let limit = ctx.page();
        let page = ctx.state.tables.live.range(&first, &past, limit)?;
        if let Some((last, _)) = page.last().filter(|_| page.len() == limit) {
            open.push((key, last.index.saturating_add(1)));
        }
        for (at, _) in page {
            ctx.charge(1);
            stop_instance(ctx, at, open)?;
        }
    }
    Ok(true)
}

fn stop_instance(ctx: &mut ApplyContext<'_>, task: StepInstanceId, open: &mut Vec<(ScopeKey, u32)>) -> Result<()> {
    let step = ctx.state.known_step(task)?;
    if let Some(child) = step.child_run {
        child_runs::cancel_later(ctx, child, NOT_NEEDED, true);
    }
    let error = Error::new(Code::Cancelled, NOT_NEEDED);
    if open_effect::outlives_its_parent(ctx, task, &step, &error)? {
        // Its reconciler continues: without its answer the outcome would stay unknown, and no person would be asked.
        return note_open(ctx, task.run, &Step { asking: None, ..step }, open);
    }
    note_open(ctx, task.run, &step, open)?;
    let step_ref = locate(ctx.state, task)?;
    instance::set_terminal(ctx, &step_ref, task, step, Outcome::Cancelled(error))?;
    Ok(())
}

/// Leaves scopes to be stopped in a later record; until then nothing in their run starts.
fn leave_stopping(ctx: &mut ApplyContext<'_>, id: RunId, open: &[(ScopeKey, u32)]) -> Result<()> {
    let mut run = ctx.state.run(id)?;
    run.stopping += open.len() as u32;
    ctx.put_run(id, run);
    for (key, from) in open {
        let key = LaterKey { run: id, rank: LaterRank::Stop, scope: key.scope, index: *from };
        defer::put(ctx, key, Later::Stop)?;
    }
    Ok(())
}

/// Resumes a scope that was left.
pub(crate) fn stop_on(ctx: &mut ApplyContext<'_>, key: LaterKey) -> Result<()> {
    let mut run = ctx.state.run(key.run)?;
    run.stopping -= 1;
    ctx.put_run(key.run, run);
    stop_or_leave(ctx, key.run, vec![(ScopeKey { run: key.run, scope: key.scope }, key.index)])
}

fn stop_or_leave(ctx: &mut ApplyContext<'_>, id: RunId, mut open: Vec<(ScopeKey, u32)>) -> Result<()> {
    if stop_scopes(ctx, &mut open)? { Ok(()) } else { leave_stopping(ctx, id, &open) }
}

/// Stops the call that queries the outcome of a lost attempt, and what it has started.
pub(crate) fn stop_reconciler(ctx: &mut ApplyContext<'_>, task: StepInstanceId, scope: u32) -> Result<()> {
    stop_or_leave(ctx, task.run, vec![(ScopeKey { run: task.run, scope }, 0)])
}

/// Why what is below an instance is cancelled.
const NOT_NEEDED: &str = "the step above has ended, or needs it no longer";
