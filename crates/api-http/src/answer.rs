//! Good answers: from what a handler gives to a response.
//!
//! For: status, content type and place. Not for: refusals (see `problem`).
//! Invariant: an answer has the form that its operation's specification defines.

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use consort_api::{NAMESPACE_DEFAULT, Returns, Spec};
use consort_types::{Code, Error, Result};
use serde::Serialize;

/// What a handler gives.
pub(crate) enum ResponseBody<R> {
    /// The reply, with the first status of the specification.
    Reply(R),
    /// The reply about something that was made or found.
    Made {
        /// The reply.
        reply: R,
        /// Whether it was made now: status 201, else 200.
        new: bool,
        /// Where it can be found.
        path: String,
    },
    /// A response that is made already: bytes as they are kept, or a stream.
    Raw(Response<Body>),
}

impl<R: Serialize> ResponseBody<R> {
    pub(crate) fn into_response(self, spec: &Spec, namespace: &str) -> Result<Response<Body>> {
        match self {
            Self::Raw(response) => Ok(response),
            Self::Reply(reply) => encode(spec, first_status(spec), &reply),
            Self::Made { reply, new, path } => {
                let status = if new { StatusCode::CREATED } else { StatusCode::OK };
                Ok(located(encode(spec, status, &reply)?, &path, namespace))
            }
        }
    }
}

fn first_status(spec: &Spec) -> StatusCode {
    let status = spec.answers.first().and_then(|(status, _)| StatusCode::from_u16(*status).ok());
    status.unwrap_or(StatusCode::OK)
}

fn encode(spec: &Spec, status: StatusCode, reply: &impl Serialize) -> Result<Response<Body>> {
    let defect =
        |error: serde_json::Error| Error::new(Code::Internal, format!("the answer cannot be written: {error}"));
    match spec.returns {
        Returns::Nothing => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = status;
            Ok(response)
        }
        Returns::Text(content_type) => {
            // A reply that is a text is written as one, without the quotes of JSON.
            let text = serde_json::to_value(reply).map_err(defect)?;
            Ok(text_of(status, content_type, text.as_str().unwrap_or_default()))
        }
        Returns::Json | Returns::Document | Returns::Events => {
            Ok(content(status, "application/json", serde_json::to_vec(reply).map_err(defect)?))
        }
    }
}

/// A text as an answer.
pub(crate) fn text_of(status: StatusCode, content_type: &'static str, text: &str) -> Response<Body> {
    let content_type = if content_type == "text/plain" { "text/plain; charset=utf-8" } else { content_type };
    content(status, content_type, text.to_owned())
}

/// Bytes of some type as an answer.
pub(crate) fn content(status: StatusCode, content_type: &'static str, bytes: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(bytes.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Adds the `Location` header. Names and ids need no escaping.
fn located(mut response: Response<Body>, path: &str, namespace: &str) -> Response<Body> {
    let place = if namespace == NAMESPACE_DEFAULT { path.to_owned() } else { format!("{path}?namespace={namespace}") };
    if let Ok(place) = HeaderValue::try_from(place) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}
