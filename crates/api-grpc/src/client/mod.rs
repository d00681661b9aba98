//! The client services: one method of the engine for each call.
//!
//! For: workflows, runs, the inbox, agents, queues and limits. Not for: what a request means (the engine's).
//! Invariant: an empty field of a request is one that was not given; every answer is of durable, applied state.

mod agents;
mod inbox;
mod queues;
mod runs;
mod watch;
mod workflows;

use std::str::FromStr;

use consort_engine::Handle;
use consort_types::{Code, Error, Name, Payload, Result};
use prost::bytes::Bytes;
use tonic::{Response, Status};

use crate::status::status;

/// The client services.
#[derive(Clone)]
pub(crate) struct Clients {
    engine: Handle,
}

impl Clients {
    pub(crate) fn new(engine: Handle) -> Self {
        Self { engine }
    }

    /// The bytes of a document, wherever it is kept.
    async fn document(&self, payload: Payload) -> Result<Bytes> {
        Ok(Bytes::from_owner(self.engine.payload(payload).await?))
    }
}

/// The namespace that a request names.
fn namespace(name: String) -> Result<String> {
    let name = if name.is_empty() { "default".to_owned() } else { name };
    Name::check("namespace", &name)?;
    Ok(name)
}

/// A text that may be absent.
fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// An id in a field.
fn id<T: FromStr<Err = Error>>(field: &str, text: &str) -> Result<T> {
    if text.is_empty() {
        return Err(Error::new(Code::BadRequest, format!("`{field}` is missing")));
    }
    text.parse()
}

/// How many items are asked for, where a number is given.
fn page_size(asked: u32) -> Option<usize> {
    (asked > 0).then_some(asked as usize)
}

/// A document, where one is given.
fn document(bytes: &Bytes) -> Option<Payload> {
    (!bytes.is_empty()).then(|| Payload::inline(bytes.as_ref()))
}

/// What was answered, as a call gives it.
fn answer<T>(result: Result<T>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(status)
}
