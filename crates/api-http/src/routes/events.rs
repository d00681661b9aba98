//! Server-sent events.
//!
//! For: turning events of `consort_api` into a stream of an answer. Not for: what happens.
//! Invariant: the name of an event is the name of its variant, and its data the variant's content.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::Body,
    http::Response,
    response::{
        IntoResponse as _, Sse,
        sse::{Event, KeepAlive},
    },
};
use consort_types::{Code, Error, Result};
use futures::{Stream, StreamExt as _, stream};
use serde::Serialize;

use crate::{problem::Problem, serve::Closing};

/// The interval of keep-alive comments on a silent stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a client waits before it reconnects.
const COME_BACK: Duration = Duration::from_secs(1);

/// The answer that sends events, each with its id where it has one, until they end or the server stops.
pub(super) fn stream<E: Serialize>(
    events: impl Stream<Item = (E, Option<String>)> + Send + 'static,
    closing: Closing,
) -> Response<Body> {
    stream_written(events.map(|(event, id)| (write(&event), id)), closing)
}

/// As [`stream`], of events that are written already, by [`write`].
pub(super) fn stream_written<T: AsRef<str>>(
    events: impl Stream<Item = (T, Option<String>)> + Send + 'static,
    closing: Closing,
) -> Response<Body> {
    let first = stream::iter([Ok::<_, Infallible>(Event::default().retry(COME_BACK))]);
    let events = events.map(|(text, id)| Ok(encode(text.as_ref(), id).unwrap_or_else(failed)));
    let events = first.chain(events).take_until(async move { closing.closed().await });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// An event as text; an empty one where it cannot be written.
pub(super) fn write(event: &impl Serialize) -> String {
    serde_json::to_string(event).unwrap_or_default()
}

fn encode(text: &str, id: Option<String>) -> Result<Event> {
    let defect = || Error::new(Code::Internal, "the event cannot be written");
    // A variant is an object of one field: its name, and its content.
    let inner = text.strip_prefix("{\"").and_then(|rest| rest.strip_suffix('}')?.split_once("\":"));
    let (name, data) = inner.ok_or_else(defect)?;
    // Documents keep the bytes of their author. Line breaks are only possible between JSON's tokens, never in a text.
    let event = Event::default().event(name).data(data.replace(['\r', '\n'], " "));
    Ok(id.into_iter().fold(event, Event::id))
}

/// The last event of a stream that broke. The client may reconnect with the id that it has.
fn failed(error: Error) -> Event {
    let problem = serde_json::to_string(&Problem::from(error).document()).unwrap_or_default();
    Event::default().event("error").data(problem)
}
