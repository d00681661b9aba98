//! One compiled expression.
//!
//! For: conditions and the parts of templates. Not for: the grammar (see `cel`) or what names mean (the checker resolves them).
//! Invariant: compiled once, when its text is checked; evaluating it twice on the same environment gives the same result.

use std::{borrow::Cow, sync::Arc};

use consort_types::{Code, Error};
use minicbor::{Decode, Encode};
use serde_json::Value;

use crate::{Environment, Reference, cel};

/// A compiled CEL expression.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Expression {
    #[n(0)]
    #[cbor(with = "crate::form::shared_text")]
    source: Arc<str>,
    #[n(1)]
    #[cbor(with = "crate::form::shared")]
    program: Arc<cel::Program>,
    #[n(2)]
    references: Vec<Reference>,
}

impl Expression {
    /// An expression of a parsed program and what the names in it mean at its place.
    pub fn new(source: &str, program: cel::Program, mut references: Vec<Reference>) -> Self {
        references.sort();
        references.dedup();
        let program = cel::Program { uses: Vec::new(), ..program };
        Self { source: Arc::from(source), program: Arc::new(program), references }
    }

    /// The text between `${{` and `}}`.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Its references; sorted, without duplicates.
    pub fn references(&self) -> &[Reference] {
        &self.references
    }

    /// Whether it calls `success()`, `failure()`, `always()` or `cancelled()`.
    pub fn uses_status(&self) -> bool {
        self.program.uses_status
    }

    /// Its value, borrowed where it is a part of the environment; it shares the budget of the template around it.
    pub(crate) fn evaluate_borrowed<'a>(&'a self, environment: &'a Environment) -> Result<Cow<'a, Value>, Error> {
        cel::evaluate(&self.program, &self.source, environment)
    }

    /// Its value.
    pub fn evaluate(&self, environment: &Environment) -> Result<Value, Error> {
        environment.meter.begin();
        self.evaluate_borrowed(environment).map(Cow::into_owned)
    }

    /// Its value, which must be `true` or `false`.
    pub fn evaluate_bool(&self, environment: &Environment) -> Result<bool, Error> {
        environment.meter.begin();
        let value = self.evaluate_borrowed(environment)?;
        value.as_bool().ok_or_else(|| {
            let message = format!("`{}` is {}, not `true` or `false`", self.source, cel::kind_name(&value));
            Error::new(Code::Expression, message).hint("compare it, such as `value != null` or `size(value) > 0`")
        })
    }
}
