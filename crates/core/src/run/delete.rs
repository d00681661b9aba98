//! Deletion of ended runs: rows and blobs, a bounded number in each record.
//!
//! For: `DeleteRun` and retention. Not for: deciding when (a person or a namespace's retention does).
//! Invariant: a deleted run is out of sight at once; its rows go in records that are bounded, whatever its size.

use consort_types::{Result, RunId, Seq, TaskId, limits, worker::JournalRequest};

use super::life::root_task;
use crate::{
    fold::Fold,
    keys::{EntryKey, JournalKey, ListKey, NamedKey, ScopeKey, TimerKind},
    rows::{Event, Run, RunStatus},
};

impl Fold<'_> {
    /// Hides the run and begins to remove its rows.
    pub(crate) fn delete_run(&mut self, id: RunId, mut run: Run) {
        self.machine.tables.listing.delete(&ListKey::of(&run.namespace, id));
        if let Some(key) = &run.idempotency_key {
            let key = NamedKey { namespace: run.namespace.clone(), name: key.clone(), number: 0 };
            self.machine.tables.started.delete(&key);
        }
        run.status = RunStatus::Deleted;
        self.put_run(id, run);
        self.arm(self.now, root_task(id), TimerKind::Reap, 0);
    }

    /// Removes some of a deleted run's rows; another timer removes the rest.
    pub(crate) fn reap(&mut self, id: RunId) -> Result<()> {
        let mut left = limits::DELETE_ROWS_PER_TICK_MAX;
        let passes = [Self::reap_steps, Self::reap_scopes, Self::reap_entries, Self::reap_journal];
        for pass in passes {
            left -= pass(self, id, left)?.min(left);
        }
        if left == 0 {
            self.arm(self.now, root_task(id), TimerKind::Reap, 0);
            return Ok(());
        }
        if let Some(run) = self.machine.tables.runs.get(&id)? {
            self.release(&run.input)?;
            if let Some(output) = &run.output {
                self.release(output)?;
            }
            self.machine.tables.runs.delete(&id);
        }
        Ok(())
    }

    fn reap_steps(&mut self, id: RunId, limit: usize) -> Result<usize> {
        let past = TaskId { run: id, scope: u32::MAX, index: u32::MAX };
        let rows = self.machine.tables.steps.range(&root_task(id), &past, limit)?;
        for (task, step) in &rows {
            self.machine.tables.steps.delete(task);
            if let Some(output) = &step.output {
                self.release(output)?;
            }
            if let Some(child) = step.child_run
                && let Some(run) = self.machine.tables.runs.get(&child)?
                && run.status != RunStatus::Deleted
            {
                self.delete_run(child, run);
            }
        }
        Ok(rows.len())
    }

    fn reap_scopes(&mut self, id: RunId, limit: usize) -> Result<usize> {
        let key = |scope| ScopeKey { run: id, scope };
        let rows = self.machine.tables.scopes.range(&key(0), &key(u32::MAX), limit)?;
        for (key, _) in &rows {
            self.machine.tables.scopes.delete(key);
            if let Some(items) = self.machine.tables.items.get(key)? {
                self.machine.tables.items.delete(key);
                self.release(&items.list)?;
            }
        }
        Ok(rows.len())
    }

    fn reap_entries(&mut self, id: RunId, limit: usize) -> Result<usize> {
        let from = EntryKey { task: root_task(id), entry: 0 };
        let past = EntryKey { task: TaskId { run: id, scope: u32::MAX, index: u32::MAX }, entry: u32::MAX };
        let rows = self.machine.tables.entries.range(&from, &past, limit)?;
        for (key, row) in &rows {
            self.machine.tables.entries.delete(key);
            if let Some(output) = &row.output {
                self.release(output)?;
            }
            if let JournalRequest::Call { input: asked, .. } | JournalRequest::Approval { detail: asked, .. } =
                &row.request
            {
                self.release(asked)?;
            }
        }
        Ok(rows.len())
    }

    fn reap_journal(&mut self, id: RunId, limit: usize) -> Result<usize> {
        let key = |seq| JournalKey { run: id, seq: Seq(seq), n: 0 };
        let rows = self.machine.tables.journal.range(&key(0), &key(u64::MAX), limit)?;
        for (key, entry) in &rows {
            self.machine.tables.journal.delete(key);
            if let Event::SignalReceived { payload, .. } = &entry.event {
                self.release(payload)?;
            }
        }
        Ok(rows.len())
    }
}
