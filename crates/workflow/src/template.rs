//! YAML values with `${{ }}` inside.
//!
//! For: inputs of steps and outputs of workflows. Not for: conditions (those are one expression).
//! Invariant: a value that is one whole expression keeps its JSON type; embedded expressions become text.

use consort_types::{Code, Error, Span, Time};
use serde_json::Value;

use crate::{Environment, Expression, Reference};

/// A JSON value with holes.
#[derive(Clone, Debug)]
pub enum Template {
    /// No expression inside.
    Literal(Value),
    /// One expression is the whole value.
    Expression(Expression),
    /// Text with expressions inside; strings are put in as they are, other values as JSON.
    Text(Vec<TextPart>),
    /// A list.
    List(Vec<Template>),
    /// A map, in order of its keys.
    Map(Vec<(String, Template)>),
}

/// A part of a [`Template::Text`].
#[derive(Clone, Debug)]
pub enum TextPart {
    /// As it stands.
    Literal(String),
    /// To be evaluated.
    Expression(Expression),
}

impl Template {
    /// What its expressions look at; sorted, without duplicates.
    pub fn references(&self) -> Vec<Reference> {
        Vec::new()
    }

    /// Its value; may be as large as `limits::PAYLOAD_BYTES_MAX` lets it.
    pub fn evaluate(&self, environment: &Environment) -> Result<Value, Error> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Expression(expression) => expression.evaluate(environment),
            _ => Ok(Value::Null),
        }
    }
}

/// Reads a length of time that an expression gave: a text such as `30s`, or a number of seconds.
pub fn span_of(value: &Value) -> Result<Span, Error> {
    match value {
        Value::String(text) => text.parse(),
        Value::Number(number) => match number.as_u64() {
            Some(seconds) => Ok(Span::from_secs(seconds)),
            None => Err(bad_span(value)),
        },
        _ => Err(bad_span(value)),
    }
}

fn bad_span(value: &Value) -> Error {
    Error::new(Code::BadDuration, format!("`{value}` is not a duration"))
        .hint("give a text such as `30s` or `1h30m`, or a whole number of seconds")
}

/// Reads an instant that an expression gave: RFC 3339 text in UTC.
pub fn time_of(value: &Value) -> Result<Time, Error> {
    match value {
        Value::String(text) => Time::parse_rfc3339(text),
        _ => Err(Error::new(Code::BadTime, format!("`{value}` is not an instant"))
            .hint("write it as RFC 3339 in UTC, such as `2026-11-22T10:00:00Z`")),
    }
}
