//! What an expression sees, gathered from the rows.
//!
//! For: filling in what references ask for. Not for: evaluating.
//! Invariant: only what is referenced is read, so the cost follows the expression, not the run.

use std::sync::Arc;

use consort_types::{Result, TaskId};
use consort_workflow::{BlockId, Environment, Reference, StatusFlags, StepValue, Template};
use serde_json::{Value, json};

use super::place::{Place, parent_of, scope_of};
use crate::{
    cache::Document,
    fold::Fold,
    keys::ScopeKey,
    rows::{Run, RunStatus, ScopeKind, Step, StepState},
};

impl Fold<'_> {
    /// What `references` name, as seen from `task`.
    pub(crate) fn environment(&mut self, place: &Place, task: TaskId, references: &[Reference]) -> Result<Environment> {
        let mut environment = Environment::default();
        for reference in references {
            match reference {
                Reference::Input => {
                    environment.input = self.document(Document::Input(task.run), &place.run.input)?;
                }
                Reference::Run => environment.run = run_value(task, &place.run),
                Reference::Item => environment.item = self.item(task)?,
                Reference::Index => {
                    environment.index = self.nearest(task, ScopeKind::Items)?.map(|(_, i)| u64::from(i));
                }
                Reference::Loop => environment.loop_ = self.loop_value(task)?,
                Reference::Output => {}
                Reference::Step { up, index, name } => {
                    let scope = self.block_scope(task, *up)?;
                    let at = TaskId { run: task.run, scope, index: *index as u32 };
                    environment.steps.insert(Arc::clone(name), self.step_value(at)?);
                }
            }
        }
        Ok(environment)
    }

    /// Evaluates a template as seen from `task`.
    pub(crate) fn evaluate(&mut self, place: &Place, task: TaskId, template: &Template) -> Result<Value> {
        let environment = self.environment(place, task, &template.references())?;
        let value = template.evaluate(&environment);
        self.charge_cost(environment.meter.cost());
        value
    }

    /// Writes the value of a template as JSON.
    pub(crate) fn write_json(&mut self, template: &Template, environment: &Environment) -> Result<Vec<u8>> {
        let bytes = template.evaluate_json(environment);
        self.charge_cost(environment.meter.cost());
        let bytes = bytes?;
        self.charge_bytes(bytes.len());
        Ok(bytes)
    }

    /// The scope of the block that is `up` blocks above the instance's own.
    fn block_scope(&mut self, task: TaskId, up: u32) -> Result<u32> {
        let (mut at, mut left) = (task, up);
        loop {
            let scope = self.look_scope(scope_of(at))?;
            if matches!(scope.kind, ScopeKind::Steps { .. }) {
                if left == 0 {
                    return Ok(at.scope);
                }
                left -= 1;
            }
            at = parent_of(at, &scope).ok_or_else(|| crate::fold::missing("block above", &task))?;
        }
    }

    /// The nearest scope of a kind above the instance, and the position in it.
    fn nearest(&mut self, task: TaskId, kind: ScopeKind) -> Result<Option<(u32, u32)>> {
        let mut at = Some(task);
        while let Some(task) = at {
            let scope = self.look_scope(scope_of(task))?;
            if scope.kind == kind {
                return Ok(Some((task.scope, task.index)));
            }
            at = parent_of(task, &scope);
        }
        Ok(None)
    }

    fn item(&mut self, task: TaskId) -> Result<Option<Arc<Value>>> {
        let Some((scope, index)) = self.nearest(task, ScopeKind::Items)? else { return Ok(None) };
        let items = self.items(ScopeKey { run: task.run, scope })?;
        Ok(items.get(index as usize).cloned().map(Arc::new))
    }

    fn loop_value(&mut self, task: TaskId) -> Result<Option<Arc<Value>>> {
        let Some((scope, index)) = self.nearest(task, ScopeKind::Iterations)? else { return Ok(None) };
        let previous = match index.checked_sub(1) {
            Some(index) => (*self.step_value(TaskId { run: task.run, scope, index })?.output).clone(),
            None => Value::Null,
        };
        Ok(Some(Arc::new(json!({ "index": index, "previous": previous }))))
    }

    pub(crate) fn step_value(&mut self, task: TaskId) -> Result<StepValue> {
        let step = self.machine.tables.steps.look(&task)?.unwrap_or_default();
        let output = match &step.output {
            Some(payload) => self.document(Document::Output(task), payload)?,
            None => Arc::new(Value::Null),
        };
        let error = step.error.as_ref().map(|e| Arc::new(json!({ "code": e.code.to_string(), "message": e.message })));
        Ok(StepValue { output, status: step.state.as_str(), error, attempts: step.attempt })
    }

    /// What the status functions answer for a step of a block, now that all it needs has ended.
    pub(crate) fn status_of(&mut self, place: &Place, task: TaskId) -> Result<StatusFlags> {
        let steps = &place.definition.block(BlockId(place.block)).steps;
        let (mut success, mut failure) = (true, false);
        for need in &place.step().needs {
            let at = TaskId { index: *need as u32, ..task };
            let row = self.machine.tables.steps.look(&at)?.unwrap_or_default();
            let bad = is_bad(&row, steps[*need].continue_on_error);
            success &= !bad;
            failure |= bad && row.state != StepState::Cancelled;
        }
        let cancelled = place.run.status == RunStatus::Cancelling;
        Ok(StatusFlags { success: success && !cancelled, failure, cancelled })
    }
}

/// Whether a step's end stands in the way of what needs it.
pub(crate) fn is_bad(step: &Step, continue_on_error: bool) -> bool {
    match step.state {
        StepState::Failed => !continue_on_error,
        StepState::Cancelled => true,
        StepState::Skipped => step.tainted,
        _ => false,
    }
}

fn run_value(task: TaskId, run: &Run) -> Arc<Value> {
    Arc::new(json!({
        "id": task.run.to_string(),
        "workflow": run.workflow,
        "started_at": run.created.to_string(),
    }))
}
