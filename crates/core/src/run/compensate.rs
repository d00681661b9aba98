//! Compensation: completed steps are undone in reverse order when their run fails or is cancelled.
//!
//! For: choosing what to undo, and in which order. Not for: how (the author names a capability).
//! Invariant: a run ends only after its compensations have; each is tried once per completed step.

use consort_types::{Result, RunId, Seq, TaskId, limits};
use serde_json::json;

use super::{Layer, Place, Role, step::LIGHT_PER_UNIT};
use crate::{
    fold::{Fold, Work},
    keys::ScopeKey,
    rows::{Event, Items, RunStatus, Scope, ScopeKind},
};

impl Fold<'_> {
    /// Undoes what was done, newest first; then the run ends as it is to end.
    pub(crate) fn compensate(&mut self, id: RunId) -> Result<()> {
        let mut run = self.run(id)?;
        let definition = self.definition(&run)?;
        let any = definition.blocks.iter().flat_map(|block| &block.steps).any(|step| step.compensate.is_some());
        let list = if any { self.completed(id)? } else { Vec::new() };
        if list.is_empty() {
            return self.finish_run(id);
        }
        self.charge(list.len() / LIGHT_PER_UNIT);
        run.status = RunStatus::Compensating;
        // What was done is undone, whatever the limit on steps says.
        run.steps_made = run.steps_made.saturating_add(list.len() as u32);
        self.put_run(id, run);
        let key = self.new_scope(id, None, ScopeKind::Compensations, list.len() as u32)?;
        let pairs: Vec<_> = list.iter().map(|task| json!([task.scope, task.index])).collect();
        let list = self.keep("list of compensations", serde_json::to_vec(&pairs).unwrap_or_default())?;
        self.machine.tables.items.insert_new(key, Items { list });
        self.journal(id, None, Event::CompensationBegan);
        self.work(Work::Advance(key));
        Ok(())
    }

    /// Completed step instances with a compensation, newest first.
    fn completed(&mut self, id: RunId) -> Result<Vec<TaskId>> {
        let mut found: Vec<(Seq, TaskId)> = Vec::new();
        let mut from = TaskId { run: id, scope: 0, index: 0 };
        let past = TaskId { run: id, scope: u32::MAX, index: u32::MAX };
        loop {
            let page = self.machine.tables.steps.range(&from, &past, limits::PAGE_ITEMS_MAX)?;
            let Some((last, _)) = page.last() else { break };
            self.charge(page.len() / LIGHT_PER_UNIT);
            from = TaskId { index: last.index.saturating_add(1), ..*last };
            let done = page.iter().filter_map(|(task, step)| step.completed_seq.map(|seq| (seq, *task)));
            found.extend(done);
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        Ok(found.into_iter().map(|(_, task)| task).collect())
    }

    pub(crate) fn advance_compensations(&mut self, key: ScopeKey, mut scope: Scope) -> Result<()> {
        if scope.kind != ScopeKind::Compensations || scope.started > scope.ended {
            return Ok(());
        }
        if scope.started < scope.total {
            self.start_instance(key, scope.started);
            scope.started += 1;
            self.put_scope(key, scope);
            return Ok(());
        }
        scope.closed = true;
        let (failed, total) = (scope.failed, scope.total);
        self.put_scope(key, scope);
        if failed > 0 {
            let mut run = self.run(key.run)?;
            if let Some(error) = &mut run.error {
                error.hint =
                    Some(format!("{failed} of {total} compensations failed; see `consort runs show {}`", key.run));
            }
            self.put_run(key.run, run);
        }
        self.finish_run(key.run)
    }

    fn finish_run(&mut self, id: RunId) -> Result<()> {
        let run = self.run(id)?;
        self.end_run(id, run.ending.unwrap_or(RunStatus::Failed), None, run.error)
    }
}

/// Whether an instance that has completed is one to undo later.
pub(crate) fn is_compensable(place: &Place) -> bool {
    let step = place.step();
    // The innermost layer did the work; the layers around it only collect.
    let innermost = match place.role {
        Role::Body(Layer::Step) => step.for_each.is_none() && step.repeat.is_none(),
        Role::Body(Layer::Item) => step.repeat.is_none(),
        Role::Body(Layer::Iteration) => true,
        _ => false,
    };
    innermost && step.compensate.is_some()
}
