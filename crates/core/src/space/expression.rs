//! The policy `expression`: what the author of a space makes of two values.
//!
//! For: evaluating the merge of a write that had not seen the value that is there. Not for: compiling it (it is compiled
//! before the log), or the policies with rules of their own (see `merge`).
//! Invariant: the value is a function of the two values and of what the writer saw; that the order of writes does not
//! matter is for the author to see to.

use std::sync::Arc;

use consort_types::{Code, Error, Result};
use consort_workflow::{Environment, Expression};
use serde_json::{Value, json};

use crate::{
    space::merge::{Merged, Winner},
    state::State,
};

/// Evaluates the merge of what is there and what is written, `(current, incoming)`.
///
/// # Errors
/// [`Code::NotMergeable`] where it cannot be evaluated; nothing is written then.
pub(crate) fn merge(
    state: &mut State,
    expression: &Expression,
    (current, incoming): (&Value, &Value),
    base: Option<&Value>,
) -> Result<Merged> {
    let write = json!({ "current": current, "incoming": incoming, "base": base });
    let environment = Environment { write: Some(Arc::new(write)), ..Environment::default() };
    let merged = expression.evaluate(&environment);
    state.charge_cost(environment.meter.cost());
    let value = merged.map_err(|error| {
        let message = format!("the merge `{}` of the key has failed: {}", expression.source(), error.message);
        Error::new(Code::NotMergeable, message).hint("write a value that it can merge, or set another policy")
    })?;
    let winner = match &value {
        value if value == incoming => Winner::Incoming,
        value if value == current => Winner::Current,
        _ => Winner::Both,
    };
    Ok(Merged { value, marks: None, winner })
}
