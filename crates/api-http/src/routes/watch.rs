//! Following a run over server-sent events.
//!
//! For: journal entries as they happen, with live progress in between. Not for: keeping a place for a client: its
//! cursor is all there is, so a watch goes on wherever it broke off.
//! Invariant: entries come in order, each once, from the cursor on; `end` is the last event of a run that has ended.

use std::{convert::Infallible, time::Duration};

use axum::response::{
    IntoResponse as _, Sse,
    sse::{Event, KeepAlive},
};
use consort_engine::{WatchEvent, view::JournalCursor};
use consort_types::{Code, Error, Result};
use futures::{Stream, StreamExt as _, stream};
use serde::Serialize;

use super::done;
use crate::{
    call::Call,
    problem::Problem,
    route::{Answer, Gives, Kind, Param, Route, Takes, Verb},
};

/// How often a silent stream says that it is alive.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a client waits before it comes back.
pub(super) const COME_BACK: Duration = Duration::from_secs(1);
/// The id of the last event: a client that comes back with it has seen everything.
const END: &str = "end";

const AFTER: Param = Param::new("after", Kind::Text, "Only entries after this cursor.");
const LAST: Param = Param::new(
    "Last-Event-ID",
    Kind::Text,
    "The id of the last event that was seen; goes before `after`. Browsers send it by themselves.",
);

pub(super) const ROUTES: &[Route] = &[Route {
    verb: Verb::Get,
    path: "/v1/runs/{run}/watch",
    name: "watchRun",
    doc: "Follows a run: events `entry` (a journal entry; its cursor is the id), `progress`, `end` (the run) and `error`.",
    namespaced: true,
    query: &[AFTER],
    headers: &[LAST],
    takes: Takes::Nothing,
    answers: &[
        (200, "Server-sent events until the run has ended.", Gives::Other("text/event-stream")),
        (204, "The end was seen already (`Last-Event-ID: end`): do not come back.", Gives::Nothing),
    ],
    handle: |call| Box::pin(watch(call)),
}];

async fn watch(call: Call) -> Answer {
    let run = call.run()?;
    let last = call.header("last-event-id")?.filter(|last| !last.is_empty());
    if last == Some(END) {
        call.engine().run(&call.namespace, run).await?;
        return Ok(done());
    }
    let cursor = last.or_else(|| call.query("after")).map(str::parse::<JournalCursor>).transpose()?;
    let watch = call.engine().watch(&call.namespace, run, cursor).await?;
    let first = stream::iter([Ok(Event::default().retry(COME_BACK))]);
    let closing = call.closing;
    let events = first.chain(events(watch.into_stream())).take_until(async move { closing.closed().await });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

fn events(
    watched: impl Stream<Item = Result<WatchEvent>> + Send + 'static,
) -> impl Stream<Item = Result<Event, Infallible>> + Send + 'static {
    watched.map(|event| Ok(event.and_then(|event| encode(&event)).unwrap_or_else(failed)))
}

fn encode(event: &WatchEvent) -> Result<Event> {
    match event {
        WatchEvent::Entry(entry) => Ok(data("entry", entry)?.id(entry.cursor.to_string())),
        WatchEvent::Progress(progress) => data("progress", progress),
        WatchEvent::Ended(run) => Ok(data("end", run)?.id(END)),
    }
}

/// An event with a document.
pub(super) fn data(name: &str, document: &impl Serialize) -> Result<Event> {
    let text = serde_json::to_string(document)
        .map_err(|error| Error::new(Code::Internal, format!("the event cannot be written: {error}")))?;
    // Payloads keep the bytes of their author. Line breaks can only stand between JSON's tokens, never in a text.
    Ok(Event::default().event(name).data(text.replace(['\r', '\n'], " ")))
}

/// The last event of a watch that broke. The client may come back with the id that it has.
pub(super) fn failed(error: Error) -> Event {
    let problem = Problem::from(error).document();
    data("error", &problem).unwrap_or_else(|_| Event::default().event("error").data("{}"))
}
