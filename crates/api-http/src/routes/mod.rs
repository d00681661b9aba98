//! The routes, by what they are about.
//!
//! For: joining the tables of the modules below. Not for: any one of them.
//! Invariant: each route stands beside its handler.

mod agents;
mod bulk;
mod documents;
mod inbox;
mod operate;
mod runs;
mod server;
mod tasks;
mod watch;
mod workflows;

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use consort_types::{Code, Error, Result, limits};
use serde::Serialize;

use crate::route::{Kind, Param, Route};

/// Every route, in the order of the document.
pub(crate) fn all() -> Vec<Route> {
    [
        workflows::ROUTES,
        runs::ROUTES,
        documents::ROUTES,
        watch::ROUTES,
        operate::ROUTES,
        bulk::ROUTES,
        inbox::ROUTES,
        agents::ROUTES,
        tasks::ROUTES,
        server::ROUTES,
    ]
    .concat()
}

const CURSOR: Param = Param::new("cursor", Kind::Text, "Where the page begins: the `next` of the page before.");
const LIMIT: Param =
    Param::new("limit", Kind::Count { max: limits::PAGE_ITEMS_MAX }, "How many items at most; 100 without it.");

/// A JSON document as an answer.
fn json(status: StatusCode, document: &impl Serialize) -> Result<Response<Body>> {
    let bytes = serde_json::to_vec(document)
        .map_err(|error| Error::new(Code::Internal, format!("the answer cannot be written: {error}")))?;
    Ok(content(status, "application/json", bytes))
}

/// The usual answer: 200 with a document.
fn ok(document: &impl Serialize) -> Result<Response<Body>> {
    json(StatusCode::OK, document)
}

/// Bytes of some type as an answer.
fn content(status: StatusCode, content_type: &'static str, bytes: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(bytes.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// 204: done, and there is nothing to say.
fn done() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Says where what was made can be found. Names and ids need no escaping.
fn located(mut response: Response<Body>, path: &str, namespace: &str) -> Response<Body> {
    let place = if namespace == "default" { path.to_owned() } else { format!("{path}?namespace={namespace}") };
    if let Ok(place) = HeaderValue::try_from(place) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}
