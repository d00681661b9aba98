//! Single fields: documents, texts that may be absent, ids, labels.
//!
//! For: the same small conversions in every message. Not for: whole messages.
//! Invariant: an error names the field that is wrong.

use std::{
    collections::{BTreeMap, HashMap},
    str::FromStr,
};

use bytes::Bytes;
use consort_types::{Code, Error, Payload, Result, StepInstanceId, Token};
use serde_json::Value;

use crate::v1;

/// A refusal that names the field.
pub(super) fn bad(field: &str, what: impl std::fmt::Display) -> Error {
    Error::new(Code::BadRequest, format!("`{field}` {what}")).hint("see the comments in the `.proto` files")
}

/// A message that must be there.
pub(super) fn required<T>(field: &str, message: Option<T>) -> Result<T> {
    message.ok_or_else(|| bad(field, "is missing"))
}

/// Puts the name of the message in front of the field that an error names.
pub(super) fn within<T>(outer: &str, result: Result<T>) -> Result<T> {
    result.map_err(|mut error| {
        // Errors of this module begin with the field in backticks.
        match error.message.strip_prefix('`') {
            Some(rest) => error.message = format!("`{outer}.{rest}"),
            None => error.message = format!("`{outer}`: {}", error.message),
        }
        error
    })
}

/// An absent text travels as an empty one.
pub(super) fn text(text: Option<String>) -> String {
    text.unwrap_or_default()
}

/// An empty text means that there is none.
pub(super) fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// A value that is written as text.
pub(super) fn parse<T: FromStr<Err = Error>>(field: &str, text: &str) -> Result<T> {
    text.parse().map_err(|error: Error| bad(field, format!("cannot be read: {}", error.message)))
}

pub(super) fn labels(labels: HashMap<String, String>) -> BTreeMap<String, String> {
    labels.into_iter().collect()
}

pub(super) fn attempt(task: StepInstanceId, token: Token) -> v1::Attempt {
    v1::Attempt { task: task.to_string(), token: token.0 }
}

pub(super) fn attempt_of(attempt: Option<v1::Attempt>) -> Result<(StepInstanceId, Token)> {
    let attempt = required("attempt", attempt)?;
    Ok((parse("attempt.task", &attempt.task)?, Token(attempt.token)))
}

/// The bytes of a document, without a copy. A reference to a blob travels as its usual JSON form: a caller that needs
/// the document itself must load it first.
pub fn document(payload: Payload) -> Bytes {
    match payload {
        Payload::Inline(bytes) => Bytes::from_owner(bytes),
        blob @ Payload::Blob { .. } => {
            Bytes::from(serde_json::to_vec(&blob).expect("a reference to a blob is a map of a text and a number"))
        }
    }
}

/// The payload that these bytes are. Their content is not checked here: the receiver of a document from outside checks
/// it.
pub(super) fn payload(bytes: &Bytes) -> Payload {
    Payload::inline(bytes.as_ref())
}

/// A document that is kept as a value.
pub(super) fn value(field: &str, bytes: &Bytes) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(|error| Error::new(Code::BadJson, format!("`{field}` is not JSON: {error}")))
}

/// The bytes of a value.
pub(super) fn value_bytes(value: &Value) -> Bytes {
    // A `Value` has texts as keys alone, and no number that JSON could not write.
    Bytes::from(serde_json::to_vec(value).expect("a JSON value can be written"))
}

/// A schema; nothing at all accepts everything.
pub(super) fn schema(field: &str, bytes: &Bytes) -> Result<Value> {
    if bytes.is_empty() { Ok(Value::Bool(true)) } else { value(field, bytes) }
}

/// The bytes of a schema; one that accepts everything travels as nothing.
pub(super) fn schema_bytes(schema: &Value) -> Bytes {
    if *schema == Value::Bool(true) { Bytes::new() } else { value_bytes(schema) }
}
