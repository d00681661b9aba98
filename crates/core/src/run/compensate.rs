//! Compensation: completed steps are undone in reverse order when their run fails or is cancelled.
//!
//! For: choosing what to undo, and in which order. Not for: how (the author names a capability).
//! Invariant: a run ends only after its compensations have; each is tried once per completed step.

use consort_types::{Result, RunId, Seq, StepInstanceId, limits};
use serde_json::json;

use crate::{
    context::{ApplyContext, LIGHT_PER_UNIT, PendingWork},
    encode::encode,
    run::{
        keys::ScopeKey,
        lifecycle,
        rows::{
            history::HistoryEvent,
            run::RunStatus,
            step::{Items, Scope, ScopeKind},
        },
        scope,
    },
};

/// Undoes what was done, newest first; then the run ends as it is to end.
pub(crate) fn compensate(ctx: &mut ApplyContext<'_>, id: RunId) -> Result<()> {
    let hash = ctx.state.run(id)?.hash;
    let definition = ctx.state.definition(hash)?;
    let any = definition.blocks.iter().flat_map(|block| &block.steps).any(|step| step.compensate.is_some());
    let list = if any { completed(ctx, id)? } else { Vec::new() };
    if list.is_empty() {
        return finish_run(ctx, id);
    }
    ctx.charge(list.len() / LIGHT_PER_UNIT);
    let key = scope::new_scope(ctx, id, None, ScopeKind::Compensations, list.len() as u32)?;
    let mut run = ctx.state.run(id)?;
    run.set_status(RunStatus::Compensating);
    // Compensation is not subject to the limit on steps.
    run.steps_made = run.steps_made.saturating_add(list.len() as u32);
    run.compensations = Some(key.scope);
    ctx.put_run(id, run);
    let pairs: Vec<_> = list.iter().map(|task| json!([task.scope, task.index])).collect();
    let list = ctx.store_payload("list of compensations", encode(&pairs))?;
    ctx.state.tables.items.insert_new(key, Items { list });
    ctx.record_history(id, None, HistoryEvent::CompensationBegan);
    ctx.enqueue(PendingWork::Advance(key));
    Ok(())
}

/// Completed step instances with a compensation, newest first.
fn completed(ctx: &mut ApplyContext<'_>, id: RunId) -> Result<Vec<StepInstanceId>> {
    let mut found: Vec<(Seq, StepInstanceId)> = Vec::new();
    let mut from = StepInstanceId { run: id, scope: 0, index: 0 };
    let past = StepInstanceId { run: id, scope: u32::MAX, index: u32::MAX };
    loop {
        let page = ctx.state.tables.steps.range(&from, &past, limits::PAGE_ITEMS_MAX)?;
        let Some((last, _)) = page.last() else { break };
        ctx.charge(page.len() / LIGHT_PER_UNIT);
        from = StepInstanceId { index: last.index.saturating_add(1), ..*last };
        let done = page.iter().filter_map(|(task, step)| step.completed_seq.map(|seq| (seq, *task)));
        found.extend(done);
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found.into_iter().map(|(_, task)| task).collect())
}

pub(crate) fn advance_compensations(ctx: &mut ApplyContext<'_>, key: ScopeKey, mut scope: Scope) -> Result<()> {
    if scope.kind != ScopeKind::Compensations || scope.started > scope.ended {
        return Ok(());
    }
    if scope.started < scope.total {
        scope::start_instance(ctx, key, scope.started);
        scope.started += 1;
        ctx.put_scope(key, scope);
        return Ok(());
    }
    scope.closed = true;
    let (failed, total) = (scope.failed, scope.total);
    ctx.put_scope(key, scope);
    if failed > 0 {
        let mut run = ctx.state.run(key.run)?;
        if let Some(error) = &mut run.error {
            error.hint = Some(format!("{failed} of {total} compensations failed; see `consort runs show {}`", key.run));
        }
        ctx.put_run(key.run, run);
    }
    finish_run(ctx, key.run)
}

fn finish_run(ctx: &mut ApplyContext<'_>, id: RunId) -> Result<()> {
    let run = ctx.state.run(id)?;
    lifecycle::end_run(ctx, id, run.ending.unwrap_or(RunStatus::Failed), None, run.error)
}
