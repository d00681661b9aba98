//! What an expression sees, gathered from the rows.
//!
//! For: the values behind references, and evaluating with them. Not for: the language (the crate `workflow` has it).
//! Invariant: only what is referenced is read, so the cost follows the expression, not the run.

use std::sync::Arc;

use consort_types::{Error, Result, StepInstanceId};
use consort_workflow::{BlockId, Environment, Reference, StatusFlags, StepValue, Template};
use serde_json::{Value, json};

use crate::{
    run::{
        around,
        keys::{ScopeKey, scope_of},
        locate::{self, StepRef, parent_of},
        rows::{
            run::{Run, RunStatus},
            step::{ScopeKind, Step, StepState},
        },
    },
    state::{Document, State, missing},
};

/// What `references` name, as seen from `task`.
pub(crate) fn environment(
    state: &mut State,
    step_ref: &StepRef,
    task: StepInstanceId,
    references: &[Reference],
) -> Result<Environment> {
    let mut environment = Environment::default();
    for reference in references {
        match reference {
            Reference::Input => {
                environment.input = state.document(Document::Input(task.run), &step_ref.run.input)?;
            }
            Reference::Run => environment.run = run_value(task, &step_ref.run),
            Reference::Item => environment.item = item(state, task)?,
            Reference::Index => {
                environment.index = nearest(state, task, ScopeKind::Items)?.map(|(_, i)| u64::from(i));
            }
            Reference::Loop => environment.loop_ = loop_value(state, task)?,
            // These are filled in where they are known.
            Reference::Lock => environment.lock = around::lock(state, task)?,
            Reference::Reads => environment.reads = around::reads(state, task)?,
            Reference::Output | Reference::Event | Reference::Write | Reference::Bid => {}
            Reference::Step { up, index, name } => {
                let scope = block_scope(state, task, *up)?;
                let at = StepInstanceId { run: task.run, scope, index: *index as u32 };
                environment.steps.insert(Arc::clone(name), step_value(state, at)?);
            }
        }
    }
    Ok(environment)
}

/// Evaluates a template as seen from `task`.
pub(crate) fn evaluate(
    state: &mut State,
    step_ref: &StepRef,
    task: StepInstanceId,
    template: &Template,
) -> Result<Value> {
    let environment = environment(state, step_ref, task, &template.references())?;
    let value = template.evaluate(&environment);
    state.charge_cost(environment.meter.cost());
    value
}

/// Writes the value of a template as JSON.
pub(crate) fn write_json(state: &mut State, template: &Template, environment: &Environment) -> Result<Vec<u8>> {
    let bytes = template.evaluate_json(environment);
    state.charge_cost(environment.meter.cost());
    let bytes = bytes?;
    state.charge_bytes(bytes.len());
    Ok(bytes)
}

/// The scope of the block that is `up` blocks above the instance's own.
fn block_scope(state: &mut State, task: StepInstanceId, up: u32) -> Result<u32> {
    let (mut at, mut left) = (task, up);
    loop {
        let scope = state.shared_scope(scope_of(at))?;
        if matches!(scope.kind, ScopeKind::Steps { .. }) {
            if left == 0 {
                return Ok(at.scope);
            }
            left -= 1;
        }
        at = parent_of(at, &scope).ok_or_else(|| missing("block above", &task))?;
    }
}

/// The nearest scope of a kind above the instance, and the position in it.
fn nearest(state: &mut State, task: StepInstanceId, kind: ScopeKind) -> Result<Option<(u32, u32)>> {
    let mut at = Some(task);
    while let Some(task) = at {
        let scope = state.shared_scope(scope_of(task))?;
        if scope.kind == kind {
            return Ok(Some((task.scope, task.index)));
        }
        at = parent_of(task, &scope);
    }
    Ok(None)
}

fn item(state: &mut State, task: StepInstanceId) -> Result<Option<Arc<Value>>> {
    let Some((scope, index)) = nearest(state, task, ScopeKind::Items)? else { return Ok(None) };
    let items = locate::items(state, ScopeKey { run: task.run, scope })?;
    Ok(items.get(index as usize).cloned().map(Arc::new))
}

fn loop_value(state: &mut State, task: StepInstanceId) -> Result<Option<Arc<Value>>> {
    let Some((scope, index)) = nearest(state, task, ScopeKind::Iterations)? else { return Ok(None) };
    let previous = match index.checked_sub(1) {
        Some(index) => (*step_value(state, StepInstanceId { run: task.run, scope, index })?.output).clone(),
        None => Value::Null,
    };
    Ok(Some(Arc::new(json!({ "index": index, "previous": previous }))))
}

pub(crate) fn step_value(state: &mut State, task: StepInstanceId) -> Result<StepValue> {
    let step = state.tables.steps.get_shared(&task)?.unwrap_or_default();
    let output = match &step.output {
        Some(payload) => state.document(Document::Output(task), payload)?,
        None => Arc::new(Value::Null),
    };
    let error = step.error.as_ref().map(|e| Arc::new(json!({ "code": e.code.to_string(), "message": e.message })));
    // A step that does its transaction again has no attempts of a worker: its tries are those that failed, and the last.
    let tries = if step.failures == 0 { 0 } else { step.failures + u32::from(step.state == StepState::Completed) };
    Ok(StepValue { output, status: step.state.as_str(), error, attempts: step.attempt.max(tries) })
}

/// What the status functions answer for a step of a block, now that all it needs has ended.
pub(crate) fn status_of(state: &mut State, step_ref: &StepRef, task: StepInstanceId) -> Result<StatusFlags> {
    let steps = &step_ref.definition.block(BlockId(step_ref.block)).steps;
    let (mut success, mut failure) = (true, false);
    for need in &step_ref.step().needs {
        let at = StepInstanceId { index: *need as u32, ..task };
        let row = state.tables.steps.get_shared(&at)?.unwrap_or_default();
        let bad = is_bad(&row, steps[*need].continue_on_error);
        success &= !bad;
        failure |= bad && row.state != StepState::Cancelled;
    }
    let cancelled = step_ref.run.status == RunStatus::Cancelling;
    Ok(StatusFlags { success: success && !cancelled, failure, cancelled })
}

/// Whether a step's end prevents what needs it.
pub(crate) fn is_bad(step: &Step, continue_on_error: bool) -> bool {
    match step.state {
        StepState::Failed => !continue_on_error,
        StepState::Cancelled => true,
        StepState::Skipped => step.tainted,
        _ => false,
    }
}

fn run_value(task: StepInstanceId, run: &Run) -> Arc<Value> {
    Arc::new(json!({
        "id": task.run.to_string(),
        "workflow": run.workflow,
        "started_at": run.created.to_string(),
    }))
}

/// Adds to the error which expression of a step failed.
pub(crate) fn in_expression(key: &str, error: Error) -> Error {
    Error { message: format!("in `{key}`: {}", error.message), ..error }
}
