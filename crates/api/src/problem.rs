//! Refusals as they travel.
//!
//! For: the documents of errors, and the status of each code. Not for: deciding what is wrong.
//! Invariant: a code always has the same status, but for a missing token (401) and a missing right (403).

use consort_types::{Code, Error, ErrorKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What went wrong in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorDetail {
    /// The stable code, such as `C0304`; `GET /v1/errors/{code}` explains it.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl From<Error> for ErrorDetail {
    fn from(error: Error) -> Self {
        Self { code: error.code.to_string(), message: error.message, hint: error.hint }
    }
}

impl From<ErrorDetail> for Error {
    /// A code that this version does not know becomes [`Code::Internal`], with its number in the message.
    fn from(detail: ErrorDetail) -> Self {
        let ErrorDetail { code, message, hint } = detail;
        match code_of(&code) {
            Some(code) => Self { code, message, hint },
            None => Self { code: Code::Internal, message: format!("{code}: {message}"), hint },
        }
    }
}

/// The code that a text names.
fn code_of(text: &str) -> Option<Code> {
    text.strip_prefix(['C', 'c']).and_then(|number| number.parse().ok()).and_then(Code::from_number)
}

/// A refusal: RFC 9457 with the code, the hint and, for a workflow, every finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// The path of the code's page.
    pub r#type: String,
    /// The code's title.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong.
    pub detail: String,
    /// The stable code, such as `C0201`.
    pub code: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Every finding in a workflow's source, in order of their places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
}

impl Problem {
    /// The refusal for an error.
    pub fn of(error: &Error) -> Self {
        Self {
            r#type: format!("/v1/errors/{}", error.code),
            title: error.code.title().to_owned(),
            status: status_of(error.code),
            detail: error.message.clone(),
            code: error.code.to_string(),
            hint: error.hint.clone(),
            diagnostics: Vec::new(),
        }
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        ErrorDetail { code: problem.code, message: problem.detail, hint: problem.hint }.into()
    }
}

/// A finding in a workflow's source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnostic {
    /// `error` or `warning`.
    pub severity: String,
    /// A stable short slug, such as `unknown-step`.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// The first byte of the place in the source.
    pub start: usize,
    /// The byte after the place.
    pub end: usize,
    /// What would be right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The HTTP status of a code.
pub fn status_of(code: Code) -> u16 {
    match code {
        Code::BadWorkflow | Code::BadInput | Code::BadTrigger | Code::BadSchedule => 422,
        Code::EventsTrimmed => 410,
        Code::MethodNotAllowed => 405,
        Code::MediaType => 415,
        Code::SlowRequest => 408,
        _ => status_of_kind(code.kind()),
    }
}

fn status_of_kind(kind: ErrorKind) -> u16 {
    match kind {
        ErrorKind::Rejected => 400,
        ErrorKind::Conflict | ErrorKind::Fenced | ErrorKind::OutcomeUnknown => 409,
        ErrorKind::Unavailable => 503,
        ErrorKind::TooLarge => 413,
        ErrorKind::NotFound => 404,
        ErrorKind::Denied => 403,
        ErrorKind::Failed => 422,
        ErrorKind::Corrupt | ErrorKind::Internal => 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_status_of_an_error_and_travels_whole() {
        for code in Code::ALL {
            assert!((400..600).contains(&status_of(*code)), "{code}");
            let error = Error::new(*code, "why").hint("do");
            assert_eq!(Error::from(Problem::of(&error)), error);
        }
        let newer = ErrorDetail { code: "C9999".into(), message: "news".into(), hint: None };
        assert_eq!(Error::from(newer), Error::new(Code::Internal, "C9999: news"));
    }
}
