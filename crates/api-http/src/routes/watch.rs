//! Following a run over server-sent events.
//!
//! For: entries of its history as they happen, with live progress in between. Not for: state of a client: its cursor is
//! all there is, so a watch can be resumed on any server.
//! Invariant: entries come in order, each once, from the cursor on; `end` is the last event of a run that has ended.

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
    Ok(ResponseBody::Raw(events::stream(watch.into_stream().map(event), request.closing)))
}

/// An event with its id.
fn event(event: Result<WatchEvent>) -> (RunEvent, Option<String>) {
    match event {
        Ok(WatchEvent::Entry(entry)) => {
            let id = entry.cursor.to_string();
            (RunEvent::Entry(Box::new(convert::entry(entry))), Some(id))
        }
        Ok(WatchEvent::Progress(progress)) => (RunEvent::Progress(convert::progress(progress)), None),
        Ok(WatchEvent::Ended(run)) => (RunEvent::End(Box::new(convert::run(*run))), Some(END_ID.to_owned())),
        Err(error) => (RunEvent::Error(Problem::from(error).document()), None),
    }
}
