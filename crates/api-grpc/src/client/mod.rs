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
use consort_types::{Code, Error, Name, Payload, Result, limits};
use prost::bytes::Bytes;
use tonic::{Response, Status};

use crate::status::status;

/// Items on a page for which no number was asked.
const PAGE_ITEMS_DEFAULT: usize = 50;

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

/// How many items are asked for.
fn page_size(asked: u32) -> Result<usize> {
    let (asked, max) = (asked as usize, limits::PAGE_ITEMS_MAX);
    match asked {
        0 => Ok(PAGE_ITEMS_DEFAULT),
        asked if asked <= max => Ok(asked),
        _ => Err(Error::new(Code::LimitReached, format!("`page_size` is `{asked}`, the limit is {max}"))),
    }
}

/// A document; one that is not given is `instead`.
fn document_or(bytes: &Bytes, instead: &'static str) -> Payload {
    Payload::inline(if bytes.is_empty() { instead.as_bytes() } else { bytes.as_ref() })
}

/// Who decides: never nobody.
fn decider(by: &str) -> Result<&str> {
    if by.trim().is_empty() {
        return Err(Error::new(Code::BadRequest, "`by` is empty").hint("say who decides"));
    }
    Ok(by)
}

/// What was answered, as a call gives it.
fn answer<T>(result: Result<T>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(status)
}
