//! Refusals as answers: `application/problem+json`.
//!
//! For: turning any error into an answer. Not for: deciding what is wrong, or the status of a code (see `consort_api`).
//! Invariant: an answer's status is its document's.

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use consort_api::Diagnostic;
use consort_types::{Code, Error, ErrorKind, limits};
use consort_workflow_check::Diagnostics;

use crate::{access::Refusal, convert};

/// Seconds after which a full queue is worth another try.
const RETRY_SOON: HeaderValue = HeaderValue::from_static("1");
/// Seconds after which a stopping or halted server is worth another look.
const RETRY_LATER: HeaderValue = HeaderValue::from_static("5");

/// An error on its way to a client.
#[derive(Debug)]
pub(crate) struct Problem {
    error: Error,
    /// Where it is not the one of the code.
    status: Option<StatusCode>,
    diagnostics: Vec<Diagnostic>,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self { error, status: None, diagnostics: Vec::new() }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unauthenticated(error) => {
                Self { error, status: Some(StatusCode::UNAUTHORIZED), diagnostics: Vec::new() }
            }
            Refusal::Forbidden(error) => Self::from(error),
        }
    }
}

impl From<Diagnostics> for Problem {
    fn from(diagnostics: Diagnostics) -> Self {
        Self { diagnostics: convert::diagnostics(&diagnostics), ..Self::from(Error::from(diagnostics)) }
    }
}

impl Problem {
    /// The refusal of a request whose head cannot be read, or is too large.
    pub(crate) fn unreadable(status: StatusCode) -> Self {
        let max = limits::HTTP_HEAD_BYTES_MAX;
        let error = if status == StatusCode::BAD_REQUEST {
            Error::new(Code::BadRequest, "the request cannot be read as HTTP")
                .hint("does the client speak HTTP/1.1 or HTTP/2, without TLS?")
        } else {
            let message = format!("the head of the request has more than {max} bytes, the limit");
            Error::new(Code::LimitReached, message).hint("send what is long in the body")
        };
        Self { status: Some(status), ..Self::from(error) }
    }

    /// The document.
    pub(crate) fn document(&self) -> consort_api::Problem {
        let mut document = consort_api::Problem::of(&self.error);
        document.diagnostics.clone_from(&self.diagnostics);
        if let Some(status) = self.status {
            document.status = status.as_u16();
        }
        document
    }

    /// The answer.
    pub(crate) fn into_response(self) -> Response<Body> {
        // A document of texts and numbers always encodes.
        let document = self.document();
        let status = StatusCode::from_u16(document.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = Response::new(Body::from(serde_json::to_vec(&document).unwrap_or_default()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.error.kind() == ErrorKind::Unavailable {
            let soon = self.error.code == Code::Overloaded;
            headers.insert(header::RETRY_AFTER, if soon { RETRY_SOON } else { RETRY_LATER });
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_tried_again_says_when() {
        let response = Problem::from(Error::new(Code::Overloaded, "full")).into_response();
        assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &RETRY_SOON));
        let response = Problem::from(Error::new(Code::Stopping, "stopping")).into_response();
        assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &RETRY_LATER));
    }
}
