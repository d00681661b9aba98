//! `DeleteRun`: remove an ended run and the runs below it, rows and blobs, a bounded number in each record.
//!
//! For: the command, and retention. Not for: deciding when (an operator or a namespace's retention does).
//! Invariant: a deleted run is out of sight at once; its rows go in records that are bounded, whatever its size.

use consort_types::{Code, Error, Name, Result, RunId, Seq, StepInstanceId, limits};
use minicbor::{Decode, Encode};

use crate::{
    context::ApplyContext,
    key::NamedKey,
    quota::namespace,
    registry::uses,
    run::{
        beside,
        keys::{HistoryKey, ListKey, ScopeKey, TimerKind, root_task},
        rows::{
            history::HistoryEvent,
            run::{Run, RunStatus},
        },
    },
    task::keys::EntryKey,
};

/// Deletes an ended run.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct DeleteRun {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The run.
    #[n(1)]
    pub run: RunId,
}

impl DeleteRun {
    pub(crate) fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let run = ctx.state.run_in(&self.namespace, self.run)?;
        if !run.status.is_terminal() {
            let message =
                format!("run `{}` is {}, and only an ended run can be deleted", self.run, run.status.as_str());
            let hint = if run.status == RunStatus::Compensating {
                "its compensations must end first: `consort inbox` shows those that wait for you, and `consort runs cancel \
                 --force` puts those that wait for an instance there too"
            } else {
                "cancel it first: `consort runs cancel`"
            };
            return Err(Error::new(Code::RunActive, message).hint(hint));
        }
        if let Some(parent) = run.parent
            && ctx.state.run(parent.run).is_ok()
        {
            let message = format!("run `{}` belongs to run `{}`", self.run, parent.run);
            return Err(Error::new(Code::RunActive, message).hint("delete the run above it; this one goes with it"));
        }
        delete_run(ctx, self.run, run)
    }
}

/// Hides the run and begins to remove its rows.
pub(crate) fn delete_run(ctx: &mut ApplyContext<'_>, id: RunId, mut run: Run) -> Result<()> {
    namespace::count(ctx, &run.namespace, |counts| {
        counts.runs -= 1;
        counts.bytes -= run.document_bytes();
    })?;
    ctx.state.tables.listing.delete(&ListKey::of(&run.namespace, id));
    if let Some(key) = &run.idempotency_key {
        let key = NamedKey::of(&run.namespace, key);
        ctx.state.tables.idempotency.delete(&key);
    }
    run.set_status(RunStatus::Deleted);
    ctx.put_run(id, run);
    ctx.arm(ctx.now, root_task(id), TimerKind::Reap, 0);
    Ok(())
}

/// Removes at most this many rows of a kind, and returns how many it has removed.
type Reap = fn(&mut ApplyContext<'_>, RunId, usize) -> Result<usize>;

/// Removes some of a deleted run's rows; another timer removes the rest.
pub(crate) fn reap(ctx: &mut ApplyContext<'_>, id: RunId) -> Result<()> {
    let mut left = limits::DELETE_ROWS_PER_TICK_MAX;
    let passes: [Reap; 5] = [reap_steps, reap_scopes, reap_entries, reap_history, beside::reap];
    for pass in passes {
        left -= pass(ctx, id, left)?.min(left);
    }
    if left == 0 {
        ctx.arm(ctx.now, root_task(id), TimerKind::Reap, 0);
        return Ok(());
    }
    if let Some(run) = ctx.state.tables.runs.get(&id)? {
        ctx.release(&run.input)?;
        if let Some(output) = &run.output {
            ctx.release(output)?;
        }
        uses::run_removed(ctx, &run)?;
        ctx.state.tables.runs.delete(&id);
    }
    Ok(())
}

fn reap_steps(ctx: &mut ApplyContext<'_>, id: RunId, limit: usize) -> Result<usize> {
    let past = StepInstanceId { run: id, scope: u32::MAX, index: u32::MAX };
    let rows = ctx.state.tables.steps.range(&root_task(id), &past, limit)?;
    for (task, step) in &rows {
        ctx.state.tables.steps.delete(task);
        if let Some(output) = &step.output {
            ctx.release(output)?;
        }
        if let Some(reads) = ctx.state.tables.step_reads.get(task)? {
            ctx.state.tables.step_reads.delete(task);
            ctx.release(&reads.document)?;
        }
        if let Some(child) = step.child_run
            && let Some(run) = ctx.state.tables.runs.get(&child)?
            && run.status != RunStatus::Deleted
        {
            delete_run(ctx, child, run)?;
        }
    }
    Ok(rows.len())
}

fn reap_scopes(ctx: &mut ApplyContext<'_>, id: RunId, limit: usize) -> Result<usize> {
    let key = |scope| ScopeKey { run: id, scope };
    let rows = ctx.state.tables.scopes.range(&key(0), &key(u32::MAX), limit)?;
    for (key, _) in &rows {
        ctx.state.tables.scopes.delete(key);
        ctx.state.tables.auctions.delete(key);
        if let Some(items) = ctx.state.tables.items.get(key)? {
            ctx.state.tables.items.delete(key);
            ctx.release(&items.list)?;
        }
    }
    Ok(rows.len())
}

fn reap_entries(ctx: &mut ApplyContext<'_>, id: RunId, limit: usize) -> Result<usize> {
    let from = EntryKey { task: root_task(id), entry: 0 };
    let past = EntryKey { task: StepInstanceId { run: id, scope: u32::MAX, index: u32::MAX }, entry: u32::MAX };
    let rows = ctx.state.tables.entries.range(&from, &past, limit)?;
    for (key, row) in &rows {
        ctx.state.tables.entries.delete(key);
        for document in row.documents() {
            ctx.release(document)?;
        }
    }
    Ok(rows.len())
}

fn reap_history(ctx: &mut ApplyContext<'_>, id: RunId, limit: usize) -> Result<usize> {
    let key = |seq| HistoryKey { run: id, seq: Seq(seq), n: 0 };
    let rows = ctx.state.tables.history.range(&key(0), &key(u64::MAX), limit)?;
    for (key, entry) in &rows {
        ctx.state.tables.history.delete(key);
        if let HistoryEvent::SignalReceived { payload, .. } = &entry.event {
            ctx.release(payload)?;
        }
    }
    Ok(rows.len())
}
