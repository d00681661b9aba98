//! Closing: a block or another scope has nothing more to do, and its opener or its run ends.
//!
//! For: blocks, and the end of a run that follows from its own block. Not for: when fan-outs and loops are over.
//! Invariant: a scope closes once, when everything in it has ended and nothing more will start.

use consort_types::{Code, Error, Payload, Result, StepInstanceId};
use consort_workflow::BlockId;

use crate::{
    context::{ApplyContext, Outcome, PendingWork},
    encode::encode,
    fatal::split_fatal,
    run::{
        compensate, consensus, environment,
        keys::{ScopeKey, root_task},
        lifecycle,
        locate::{locate, parent_of},
        rows::{run::RunStatus, step::ScopeKind},
        scope,
    },
};

/// A block has nothing more to do.
pub(crate) fn close_block(ctx: &mut ApplyContext<'_>, key: ScopeKey) -> Result<()> {
    let mut scope = ctx.state.scope(key)?;
    let ScopeKind::Steps { block } = scope.kind else { return Ok(()) };
    let opener = parent_of(StepInstanceId { run: key.run, scope: key.scope, index: 0 }, &scope);
    let Some(opener) = opener else {
        scope.closed = true;
        ctx.put_scope(key, scope);
        return root_closed(ctx, key);
    };
    let outcome = match scope.error {
        Some(error) => Outcome::of_error(error),
        None => Outcome::of_output(consensus::output(ctx, key, opener, BlockId(block)))?,
    };
    close(ctx, key, opener, outcome)
}

/// Closes a scope and ends the instance that opened it.
pub(crate) fn close(ctx: &mut ApplyContext<'_>, key: ScopeKey, opener: StepInstanceId, outcome: Outcome) -> Result<()> {
    let mut scope = ctx.state.scope(key)?;
    assert!(!scope.closed, "scope {}.{} closes once", key.run, key.scope);
    scope.closed = true;
    ctx.put_scope(key, scope);
    ctx.enqueue(PendingWork::Finish(opener, outcome));
    Ok(())
}

/// The workflow's own block has closed. A run that a step had started may still be stopping or compensating,
/// though its step has ended: nothing outlives its run (law 7), so this one ends after it.
pub(crate) fn root_closed(ctx: &mut ApplyContext<'_>, key: ScopeKey) -> Result<()> {
    let scope = ctx.state.scope(key)?;
    let mut run = ctx.state.run(key.run)?;
    run.drained = !run.awaits_nothing();
    // The last steps may have ended by themselves before their cancellation came to them.
    if lifecycle::end_cancelling(ctx, key.run, &mut run) || run.drained {
        ctx.put_run(key.run, run.clone());
    }
    if run.drained {
        return Ok(());
    }
    let error = match (run.status, scope.failed) {
        (RunStatus::Running, 0) => match split_fatal(run_output(ctx, key))? {
            Ok(output) => return lifecycle::end_run(ctx, key.run, RunStatus::Completed, Some(output), None),
            Err(error) => error,
        },
        (RunStatus::Cancelling, _) => {
            let fallback = || Error::new(Code::Cancelled, "the run was cancelled");
            run.error.clone().unwrap_or_else(fallback)
        }
        _ => scope.error.unwrap_or_else(|| Error::new(Code::UpstreamFailed, "a step failed")),
    };
    let ending = if run.status == RunStatus::Cancelling { RunStatus::Cancelled } else { RunStatus::Failed };
    run.ending = Some(ending);
    run.error = Some(error);
    ctx.put_run(key.run, run);
    compensate::compensate(ctx, key.run)
}

fn run_output(ctx: &mut ApplyContext<'_>, key: ScopeKey) -> Result<Payload> {
    let at = root_task(key.run);
    let step_ref = locate(ctx.state, at)?;
    match &step_ref.definition.output {
        Some(template) => {
            let value = environment::evaluate(ctx.state, &step_ref, at, template)?;
            ctx.store_payload("run's output", encode(&value))
        }
        None => scope::block_output(ctx, key, BlockId::ROOT),
    }
}
