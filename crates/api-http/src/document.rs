//! Bodies: bounded while they arrive, checked before they are built.
//!
//! For: everything between the bytes of a connection and a typed request. Not for: what a request means.
//! Invariant: a hostile body costs at most its own bytes: its depth is checked by a walk that builds nothing, and
//! all bodies together stay within [`limits::HTTP_BODIES_BYTES_MAX`].

use std::{fmt, sync::Arc};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use consort_engine::check_document;
use consort_types::{Code, Error, Result, limits};
use futures::StreamExt as _;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bodies are counted in steps of this many bytes.
const UNIT_BYTES: usize = 1024;

/// Why a body ended early: it took too long. The serve loop puts it into the body as its error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TooSlow;

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body took too long")
    }
}

impl std::error::Error for TooSlow {}

/// The memory that bodies may take, all together.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<Semaphore>);

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / UNIT_BYTES)))
    }

    fn take(&self, held: &mut Option<OwnedSemaphorePermit>, bytes: usize) -> Result<()> {
        let have = held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = bytes.div_ceil(UNIT_BYTES).saturating_sub(have);
        let permit = Arc::clone(&self.0).try_acquire_many_owned(more as u32).map_err(|_| {
            let max = limits::HTTP_BODIES_BYTES_MAX;
            Error::new(Code::Overloaded, format!("the bodies of all requests together are at the limit of {max} bytes"))
                .hint("try again after `1s`")
        })?;
        match held {
            Some(held) => held.merge(permit),
            None => *held = Some(permit),
        }
        Ok(())
    }
}

/// A body that has arrived. Its share of the memory is given back when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Arrived {
    pub(crate) bytes: Bytes,
    _held: Option<OwnedSemaphorePermit>,
}

fn too_large(max: usize) -> Error {
    let code = if max == limits::HTTP_BODY_BYTES_MAX { Code::PayloadTooLarge } else { Code::LimitReached };
    Error::new(code, format!("the body has more than {max} bytes, the limit is {max}")).hint("send less")
}

/// Reads a body of at most `max` bytes.
pub(crate) async fn read(body: Body, declared: Option<u64>, max: usize, budget: &Budget) -> Result<Arrived> {
    if declared.is_some_and(|declared| declared > max as u64) {
        return Err(too_large(max));
    }
    let (mut held, mut bytes) = (None, BytesMut::new());
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| broken(&error))?;
        if bytes.len() + chunk.len() > max {
            return Err(too_large(max));
        }
        budget.take(&mut held, bytes.len() + chunk.len())?;
        bytes.extend_from_slice(&chunk);
    }
    Ok(Arrived { bytes: bytes.freeze(), _held: held })
}

fn broken(error: &axum::Error) -> Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if cause.is::<TooSlow>() {
            return Error::new(Code::SlowRequest, "the body did not arrive in time")
                .hint("send it faster, or send less");
        }
        source = cause.source();
    }
    Error::new(Code::BadRequest, "the connection broke before the body was whole").hint("send the request again")
}

/// Reads a request's document into its type; `what` names it in the error.
pub(crate) fn parse<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    check_document(what, bytes)?;
    serde_json::from_slice(bytes).map_err(|error| {
        Error::new(Code::BadRequest, format!("the {what} does not fit: {error}"))
            .hint("`GET /v1/openapi.json` has the form of each request")
    })
}

/// Feeds bytes to the parser of every operation's body, for the fuzzer; the operations whose body they are. Nothing may
/// panic, whatever they are.
#[doc(hidden)]
pub fn fuzz_body(bytes: &[u8]) -> Vec<&'static str> {
    if check_document("body", bytes).is_err() {
        return Vec::new();
    }
    let takes = |entry: &&consort_api::Entry| {
        let written = entry.reread_body(bytes);
        let again = written.as_ref().map_or(true, |written| check_document("body", written).is_ok());
        assert!(again, "what `{}` takes can be sent again", entry.spec.id);
        written.is_ok()
    };
    consort_api::operations().iter().filter(takes).map(|entry| entry.spec.id).collect()
}

#[cfg(test)]
mod tests {
    use consort_api::{runs::StartRequest, server::RetentionRequest};
    use consort_types::Payload;

    use super::*;

    #[test]
    fn a_misspelt_field_is_named() {
        let error = parse::<StartRequest>("body", br#"{"workflow":"w","imput":1}"#).unwrap_err();
        assert!(error.code == Code::BadRequest && error.message.contains("`imput`"), "{error}");
        let error = parse::<RetentionRequest>("body", b"{}").unwrap_err();
        assert!(error.message.contains("`keep`"), "{error}");
    }

    #[test]
    fn documents_inside_keep_their_bytes() {
        let request: StartRequest = parse("body", br#"{"workflow":"w","input":{"b":1.50,"a":2}}"#).unwrap();
        let payload = Payload::from(request.input.unwrap());
        assert_eq!(payload.bytes(), Some(&br#"{"b":1.50,"a":2}"#[..]));
    }

    #[test]
    fn the_memory_of_bodies_is_shared_and_given_back() {
        let budget = Budget::new(4 * UNIT_BYTES);
        let mut first = None;
        budget.take(&mut first, 3 * UNIT_BYTES).unwrap();
        let mut second = None;
        assert_eq!(budget.take(&mut second, UNIT_BYTES + 1).unwrap_err().code, Code::Overloaded);
        drop(first);
        budget.take(&mut second, UNIT_BYTES + 1).unwrap();
        budget.take(&mut second, 4 * UNIT_BYTES).unwrap();
    }

    #[test]
    fn hostile_bodies_are_refused() {
        for bytes in [&b""[..], b"{", b"\xff\xfe", b"{\"workflow\":1}", b"[]", b"null", b"{\"workflow\":\"a\"}"] {
            fuzz_body(bytes);
        }
        fuzz_body("[".repeat(1_000_000).as_bytes());
        fuzz_body(format!("{{\"workflow\":\"w\",\"input\":{}1", "[".repeat(1_000_000)).as_bytes());
    }
}
