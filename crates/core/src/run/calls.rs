//! What a step starts elsewhere: child runs, and the calls and questions of a task.
//!
//! For: linking them to the instance that waits for them. Not for: running them.
//! Invariant: the id of a child run follows from its parent, so a replay makes the same run.

use consort_types::{BlobHash, Code, Error, Result, RunId, TaskId, limits};
use consort_workflow::Action;

use super::{NewRun, Place, step::in_expression};
use crate::{
    fold::Fold,
    keys::ScopeKey,
    rows::{Run, ScopeKind, Step, StepState},
};

impl Fold<'_> {
    pub(crate) fn begin_child_run(
        &mut self,
        place: &Place,
        task: TaskId,
        step: Step,
        name: &str,
        version: Option<&str>,
    ) -> Result<()> {
        let depth = place.run.depth + 1;
        if depth > limits::RUN_DEPTH_MAX {
            let message = format!("the child run would be {depth} runs deep, the limit is {}", limits::RUN_DEPTH_MAX);
            return Err(Error::new(Code::LimitReached, message).hint("does the workflow call itself without an end?"));
        }
        self.start_child_run(place, task, step, name, version)
    }

    /// How many more runs may be started below the run at the top; at least 1, which then says why there are no more.
    pub(crate) fn descendants_left(&mut self, id: RunId, place: &Place) -> Result<u32> {
        let Action::Workflow { .. } = place.step().action else { return Ok(u32::MAX) };
        let (_, top) = self.top_of(id, place)?;
        Ok(self.machine.descendants_max.saturating_sub(top.descendants).max(1))
    }

    /// The run at the top of the tree. It is there as long as a run below it goes on.
    fn top_of(&mut self, id: RunId, place: &Place) -> Result<(RunId, Run)> {
        let id = place.run.root.unwrap_or(id);
        Ok((id, self.run(id)?))
    }

    /// Counts one more run below the run at the top.
    fn count_descendant(&mut self, id: RunId, place: &Place) -> Result<()> {
        let (id, mut top) = self.top_of(id, place)?;
        let max = self.machine.descendants_max;
        if top.descendants >= max {
            let message = format!("{} runs were started below run `{id}`, the limit is {max}", top.descendants);
            let hint =
                "does the workflow call itself without an end? else start runs of their own for parts of the work";
            return Err(Error::new(Code::LimitReached, message).hint(hint));
        }
        top.descendants += 1;
        self.put_run(id, top);
        Ok(())
    }

    fn start_child_run(
        &mut self,
        place: &Place,
        task: TaskId,
        mut step: Step,
        name: &str,
        version: Option<&str>,
    ) -> Result<()> {
        self.check_runs_active(&place.run.namespace)?;
        let hash = self.resolve_workflow(&place.run.namespace, name, version)?;
        let definition = self.machine.definition(hash)?;
        let given = self.evaluate(place, task, &place.step().with).map_err(|error| in_expression("with", error))?;
        let input = definition.accept_input(&given)?;
        let input = self.keep("input", serde_json::to_vec(&input).unwrap_or_default())?;
        self.count_descendant(task.run, place)?;
        let id = self.child_id(task);
        step.child_run = Some(id);
        self.open(place, task, step, None);
        let mut above = self.run(task.run)?;
        above.children += 1;
        self.put_run(task.run, above);
        self.create_run(NewRun {
            id,
            namespace: place.run.namespace.clone(),
            definition,
            input,
            parent: Some(task),
            depth: place.run.depth + 1,
            paused: place.run.paused,
            origin: None,
            labels: place.run.labels.clone(),
            priority: place.run.priority,
            idempotency_key: None,
            timeout: None,
            traceparent: Some(super::trace::of_child(&place.run, task.run)),
            root: Some(place.run.root.unwrap_or(task.run)),
        })?;
        self.open_root(id)
    }

    /// The time of the record in front, so that ids sort by time; then a hash of where it comes from.
    fn child_id(&self, task: TaskId) -> RunId {
        let hash = BlobHash::of(format!("{task}@{}", self.seq).as_bytes()).0;
        let millis = (self.now.0 / 1000).to_be_bytes();
        let mut id = [0; 16];
        id[..6].copy_from_slice(&millis[2..]);
        id[6..].copy_from_slice(&hash[..10]);
        RunId(id)
    }

    /// A task calls another capability, or asks a person: entry `index` of its journal becomes an instance of its own.
    pub(crate) fn begin_call(&mut self, caller: TaskId, index: u32) -> Result<()> {
        if let Err(error) = super::soft(self.count_instances(caller.run, 1))? {
            return self.answer(caller, index, Err(error));
        }
        let mut step = self.known_step(caller)?;
        let scope = if let Some(scope) = step.child {
            scope
        } else {
            // Positions are those of journal entries, so the scope has no end of its own.
            let key = self.new_scope(caller.run, Some(caller), ScopeKind::Calls, u32::MAX)?;
            step.child = Some(key.scope);
            self.put_step(caller, step);
            key.scope
        };
        let key = ScopeKey { run: caller.run, scope };
        let mut row = self.scope(key)?;
        row.started += 1;
        self.put_scope(key, row);
        self.start_instance(key, index);
        Ok(())
    }

    /// A call has ended: its outcome answers the journal entry.
    pub(crate) fn call_ended(&mut self, caller: TaskId, index: u32, call: &Step) -> Result<()> {
        let result = match (call.state, &call.output, &call.error) {
            (StepState::Completed, Some(output), _) => Ok(output.clone()),
            (_, _, Some(error)) => Err(error.clone()),
            _ => Err(Error::new(Code::AgentFailed, "the call ended without an outcome")),
        };
        self.answer(caller, index, result)
    }
}
