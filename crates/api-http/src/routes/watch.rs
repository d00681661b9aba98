//! Following a run over server-sent events.
//!
//! For: entries of its history as they happen, with live progress in between. Not for: state of a client: its cursor is
//! all there is, so a watch can be resumed on any server.
//! Invariant: entries come in order, each once, from the cursor on; `end` is the last event of a run that has ended.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{Response, StatusCode},
};
use consort_api::watch::{END_ID, RunEvent, WatchRun};
use consort_engine::{WatchEvent, view::JournalCursor};
use consort_types::Result;
use futures::StreamExt as _;

use super::events;
use crate::{
    answer::ResponseBody,
    convert,
    problem::Problem,
    request::RequestContext,
    route::{Handled, Route, route},
};

pub(super) fn routes() -> Vec<Route> {
    vec![route::<WatchRun, _>(watch)]
}

async fn watch(request: RequestContext<WatchRun>) -> Handled<WatchRun> {
    let run = request.params.run;
    let last = request.params.last_event_id.as_deref().filter(|last| !last.is_empty());
    if last == Some(END_ID) {
        request.engine().run(&request.namespace, run).await?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return Ok(ResponseBody::Raw(response));
    }
    let cursor = last.or(request.params.after.as_deref()).map(str::parse::<JournalCursor>).transpose()?;
    let watch = request.engine().watch(&request.namespace, run, cursor).await?;
    Ok(ResponseBody::Raw(events::stream_written(watch.into_stream().map(event), request.closing)))
}

/// An event as text, with its id. Those who follow a run share the text of an entry.
fn event(event: Result<WatchEvent>) -> (Arc<str>, Option<String>) {
    let written = |event: &RunEvent| events::write(event).into();
    match event {
        Ok(WatchEvent::Entry(entry)) => {
            let text = entry.written(|entry| events::write(&RunEvent::Entry(Box::new(convert::entry(entry.clone())))));
            (text, Some(entry.cursor.to_string()))
        }
        Ok(WatchEvent::Progress(progress)) => (written(&RunEvent::Progress(convert::progress(progress))), None),
        Ok(WatchEvent::Ended(run)) => {
            let run = convert::run(Arc::unwrap_or_clone(run));
            (written(&RunEvent::End(Box::new(run))), Some(END_ID.to_owned()))
        }
        Err(error) => (written(&RunEvent::Error(Problem::from(error).document())), None),
    }
}
