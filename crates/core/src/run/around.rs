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
    let mut at = Some(task);
    while let Some(task) = at {
        let lock = state.tables.steps.get_shared(&task)?.and_then(|step| step.lock.clone());
        if let Some(StepLock { name, token: Some(token), .. }) = lock {
            return Ok(Some(Arc::new(json!({ "name": name, "token": token.0 }))));
        }
        let scope = state.shared_scope(scope_of(task))?;
        at = parent_of(task, &scope);
    }
    Ok(None)
}

/// What the nearest step with `reads` has read.
pub(crate) fn reads(state: &mut State, task: StepInstanceId) -> Result<Option<Arc<Value>>> {
    let mut at = Some(task);
    while let Some(task) = at {
        if let Some(row) = state.tables.step_reads.get_shared(&task)? {
            return state.document(Document::Reads(task), &row.document).map(Some);
        }
        let scope = state.shared_scope(scope_of(task))?;
        at = parent_of(task, &scope);
    }
    Ok(None)
}
