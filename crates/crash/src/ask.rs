//! Requests to a server that may die.
//!
//! For: telling a refusal, and the end of the server, from a fault. Not for: what is requested.
//! Invariant: what is refused is refused for a reason that a client can meet.

use std::io;

use consort_testkit::http::{Client, Response};
use serde_json::Value;

/// The answer to a question, or to a command with a body. An error means that the server has ended.
pub(crate) fn ask(client: &Client, path: &str, body: Option<&Value>) -> io::Result<Option<Value>> {
    let answer = match body {
        Some(body) => client.post(path, body)?,
        None => client.get(path)?,
    };
    Ok(done(path, &answer).then(|| if answer.body.is_empty() { Value::Null } else { answer.json() }))
}

/// Whether a request was done. What is refused must be refused for a reason that a client can meet: the server stops
/// (503), or another request was faster (404, 409).
pub(crate) fn done(path: &str, answer: &Response) -> bool {
    let fits = (200..300).contains(&answer.status) || matches!(answer.status, 404 | 409 | 503);
    assert!(fits, "{path}: {}: {}", answer.status, answer.text());
    (200..300).contains(&answer.status)
}
