//! What a step sees of the steps around it: the lock that is held, and what was read.
//!
//! For: the values of `lock` and `reads` in expressions. Not for: acquiring and reading (see `locked` and `reads`).
//! Invariant: it is the nearest step that counts, the step itself first.

use std::sync::Arc;

use consort_types::{Result, StepInstanceId};
use serde_json::{Value, json};

use crate::{
    run::{keys::scope_of, locate::parent_of, rows::step::StepLock},
    state::{Document, State},
};

/// What expressions see of the lock of the nearest step that has one.
pub(crate) fn lock(state: &mut State, task: StepInstanceId) -> Result<Option<Arc<Value>>> {
    nearest(state, task, |state, task| {
        let lock = state.tables.steps.get_shared(&task)?.and_then(|step| step.lock.clone());
        let Some(StepLock { name, token: Some(token), .. }) = lock else { return Ok(None) };
        Ok(Some(Arc::new(json!({ "name": name, "token": token.0 }))))
    })
}

/// What the nearest step with `reads` has read.
pub(crate) fn reads(state: &mut State, task: StepInstanceId) -> Result<Option<Arc<Value>>> {
    nearest(state, task, |state, task| {
        let Some(row) = state.tables.step_reads.get_shared(&task)? else { return Ok(None) };
        state.document(Document::Reads(task), &row.document).map(Some)
    })
}

/// What the nearest step has, the step itself first, then those around it.
fn nearest<T>(
    state: &mut State,
    task: StepInstanceId,
    has: impl Fn(&mut State, StepInstanceId) -> Result<Option<T>>,
) -> Result<Option<T>> {
    let mut at = Some(task);
    while let Some(task) = at {
        if let Some(found) = has(state, task)? {
            return Ok(Some(found));
        }
        let scope = state.shared_scope(scope_of(task))?;
        at = parent_of(task, &scope);
    }
    Ok(None)
}
