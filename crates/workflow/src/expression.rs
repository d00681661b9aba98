//! One compiled expression.
//!
//! For: conditions and the parts of templates. Not for: the grammar (see `cel`).
//! Invariant: compiled once, at parse; evaluating it twice on the same environment gives the same result.

use consort_types::{Code, Error};
use serde_json::Value;

use crate::{Environment, Reference};

/// A compiled CEL expression.
#[derive(Clone, Debug)]
pub struct Expression {
    source: String,
    references: Vec<Reference>,
    uses_status: bool,
}

impl Expression {
    /// The text between `${{` and `}}`.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What it looks at; sorted, without duplicates.
    pub fn references(&self) -> &[Reference] {
        &self.references
    }

    /// Whether it calls `success()`, `failure()`, `always()` or `cancelled()`.
    pub fn uses_status(&self) -> bool {
        self.uses_status
    }

    /// Its value.
    pub fn evaluate(&self, _environment: &Environment) -> Result<Value, Error> {
        Err(Error::new(Code::Internal, "expressions are not built yet"))
    }

    /// Its value, which must be `true` or `false`.
    pub fn evaluate_bool(&self, environment: &Environment) -> Result<bool, Error> {
        match self.evaluate(environment)? {
            Value::Bool(value) => Ok(value),
            other => {
                Err(Error::new(Code::Expression, format!("`{}` gives `{other}`, not `true` or `false`", self.source)))
            }
        }
    }
}
