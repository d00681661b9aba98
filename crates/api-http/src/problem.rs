//! Refusals as they travel: `application/problem+json`.
//!
//! For: turning any error into an answer, and back into the status that its code has. Not for: deciding what is
//! wrong.
//! Invariant: a code always has the same status, but for a missing token (401) and a missing right (403).

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use consort_types::{Code, Error, ErrorKind};
use consort_workflow_check::Diagnostics;

use crate::{access::Refusal, model};

/// Seconds after which a full queue is worth another try.
const RETRY_SOON: HeaderValue = HeaderValue::from_static("1");
/// Seconds after which a stopping or halted server is worth another look.
const RETRY_LATER: HeaderValue = HeaderValue::from_static("5");

/// An error on its way to a client.
#[derive(Debug)]
pub(crate) struct Problem {
    error: Error,
    status: StatusCode,
    diagnostics: Option<Diagnostics>,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self { status: status_of(error.code), error, diagnostics: None }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unauthenticated(error) => Self { error, status: StatusCode::UNAUTHORIZED, diagnostics: None },
            Refusal::Forbidden(error) => Self::from(error),
        }
    }
}

impl From<Diagnostics> for Problem {
    fn from(diagnostics: Diagnostics) -> Self {
        Self { diagnostics: Some(diagnostics.clone()), ..Self::from(Error::from(diagnostics)) }
    }
}

/// The status of a code.
pub(crate) fn status_of(code: Code) -> StatusCode {
    match code {
        Code::BadWorkflow | Code::BadInput => StatusCode::UNPROCESSABLE_ENTITY,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::SlowRequest => StatusCode::REQUEST_TIMEOUT,
        _ => status_of_kind(code.kind()),
    }
}

fn status_of_kind(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Rejected => StatusCode::BAD_REQUEST,
        ErrorKind::Conflict | ErrorKind::Fenced | ErrorKind::OutcomeUnknown => StatusCode::CONFLICT,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Denied => StatusCode::FORBIDDEN,
        ErrorKind::Failed => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::Corrupt | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl Problem {
    /// The document.
    pub(crate) fn document(&self) -> model::Problem {
        let diagnostics = self.diagnostics.iter().flat_map(|found| &found.0).map(model::Diagnostic::from).collect();
        model::Problem {
            r#type: format!("/v1/errors/{}", self.error.code),
            title: self.error.code.title().to_owned(),
            status: self.status.as_u16(),
            detail: self.error.message.clone(),
            code: self.error.code.to_string(),
            hint: self.error.hint.clone(),
            diagnostics,
        }
    }

    /// The answer.
    pub(crate) fn into_response(self) -> Response<Body> {
        // A document of texts and numbers always encodes.
        let body = serde_json::to_vec(&self.document()).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.error.kind() == ErrorKind::Unavailable {
            let soon = self.error.code == Code::Overloaded;
            headers.insert(header::RETRY_AFTER, if soon { RETRY_SOON } else { RETRY_LATER });
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_status_of_an_error() {
        for code in Code::ALL {
            let status = status_of(*code);
            assert!(status.is_client_error() || status.is_server_error(), "{code}");
        }
    }

    #[test]
    fn what_may_be_tried_again_says_when() {
        let response = Problem::from(Error::new(Code::Overloaded, "full")).into_response();
        assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &RETRY_SOON));
        let response = Problem::from(Error::new(Code::Stopping, "stopping")).into_response();
        assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &RETRY_LATER));
    }
}
