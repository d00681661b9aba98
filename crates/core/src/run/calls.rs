//! What a step starts elsewhere: child runs, and the calls and questions of a task.
//!
//! For: linking them to the instance that waits for them. Not for: running them.
//! Invariant: the id of a child run follows from its parent, so a replay makes the same run.

use consort_types::{BlobHash, Code, Error, Result, RunId, TaskId, limits};
use consort_workflow::Action;

use super::{NewRun, Place, step::in_expression};
use crate::{
    fold::{Fold, Outcome, Work},
    keys::{ScopeKey, TimerKind},
    rows::{ScopeKind, Step, StepState},
};

impl Fold<'_> {
    pub(crate) fn begin_child_run(
        &mut self,
        place: &Place,
        task: TaskId,
        mut step: Step,
        name: &str,
        version: Option<&str>,
    ) -> Result<()> {
        let depth = place.run.depth + 1;
        if depth > limits::RUN_DEPTH_MAX {
            let message = format!("the child run would be {depth} runs deep, the limit is {}", limits::RUN_DEPTH_MAX);
            return Err(Error::new(Code::LimitReached, message).hint("does the workflow call itself without an end?"));
        }
        if self.is_long() {
            // Runs that start runs that start runs are too much for one record: the next tick goes on.
            step.wake_at = Some(self.now);
            self.arm(self.now, task, TimerKind::Wake, 0);
            self.open(place, task, step, None);
            return Ok(());
        }
        self.start_child_run(place, task, step, name, version)
    }

    /// A step that was to start a child run, and was left to a later record, does it now.
    pub(crate) fn begin_child_late(&mut self, task: TaskId) -> Result<()> {
        let (place, step) = (self.place(task)?, self.known_step(task)?);
        let Action::Workflow { name, version } = &place.step().action else { return Ok(()) };
        let begun = self.start_child_run(&place, task, step, name, version.as_deref());
        if let Err(error) = super::soft(begun)? {
            self.work(Work::Finish(task, Outcome::Failed(error)));
        }
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
        self.check_runs_active()?;
        let hash = self.resolve_workflow(&place.run.namespace, name, version)?;
        let definition = self.machine.definition(hash)?;
        let given = self.evaluate(place, task, &place.step().with).map_err(|error| in_expression("with", error))?;
        let mut cost = 0;
        let accepted = definition.input.accept_counted(&given, &mut cost);
        self.spend(cost);
        let input = accepted?;
        let input = self.keep("input", serde_json::to_vec(&input).unwrap_or_default())?;
        let id = self.child_id(task);
        step.child_run = Some(id);
        if step.state == StepState::Open {
            self.put_step(task, step);
        } else {
            self.open(place, task, step, None);
        }
        let mut above = self.run(task.run)?;
        above.children += 1;
        self.put_run(task.run, above);
        self.create_run(NewRun {
            id,
            namespace: place.run.namespace.clone(),
            hash,
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
        });
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
        self.start_instance(ScopeKey { run: caller.run, scope }, index);
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
