//! What a worker reports.
//!
//! For: reports, there and back. Not for: opening a session (see `hello`).
//! Invariant: a report that cannot be decoded names its attempt, where that much can be read, so that the attempt can
//! be refused instead of the whole session.

use consort_types::{
    Code, Error, Result, Span, StepInstanceId, Token,
    worker::{Delta, FromWorker},
};

use super::{
    error::{error_from_wire, error_to_wire},
    field::{attempt, attempt_of, bad, document, payload, required, some, text, value, value_bytes, within},
};
use crate::v1::{self, delta, worker_message::Kind};

/// A report that cannot be understood.
#[derive(Clone, Debug, PartialEq)]
pub struct BadReport {
    /// The attempt that it is about, where it could be read.
    pub attempt: Option<(StepInstanceId, Token)>,
    /// What is wrong with it; it names the field.
    pub error: Error,
}

impl From<FromWorker> for Kind {
    fn from(report: FromWorker) -> Self {
        match report {
            FromWorker::Complete { task, token, output } => {
                Self::Complete(v1::Complete { attempt: Some(attempt(task, token)), output: document(output) })
            }
            FromWorker::Fail { task, token, error, retryable, retry_after } => Self::Fail(v1::Fail {
                attempt: Some(attempt(task, token)),
                error: Some(error_to_wire(error)),
                retryable,
                retry_after_us: retry_after.map(|span| span.0),
            }),
            FromWorker::Record { task, token, index, entry } => {
                Self::Record(v1::Record { attempt: Some(attempt(task, token)), index, entry: Some(entry.into()) })
            }
            FromWorker::Park { task, token, waiting } => {
                Self::Park(v1::Park { attempt: Some(attempt(task, token)), waiting })
            }
            FromWorker::Heartbeat { task, token, progress } => {
                Self::Progress(v1::Progress { attempt: Some(attempt(task, token)), message: text(progress) })
            }
            FromWorker::Stream { task, token, delta } => {
                Self::Stream(v1::Stream { attempt: Some(attempt(task, token)), delta: Some(delta.into()) })
            }
            FromWorker::Alive => Self::Alive(v1::Alive {}),
            FromWorker::Credit { tasks } => Self::Credit(v1::Credit { tasks }),
            FromWorker::Leaving => Self::Leaving(v1::Leaving {}),
        }
    }
}

/// Reads a report. `Hello` is none: it opens a session, and cannot come again.
pub fn report_from_wire(kind: Kind) -> Result<FromWorker, BadReport> {
    let (name, of) = match &kind {
        Kind::Hello(_) => ("hello", None),
        Kind::Complete(complete) => ("complete", Some(&complete.attempt)),
        Kind::Fail(fail) => ("fail", Some(&fail.attempt)),
        Kind::Record(record) => ("record", Some(&record.attempt)),
        Kind::Park(park) => ("park", Some(&park.attempt)),
        Kind::Progress(progress) => ("progress", Some(&progress.attempt)),
        Kind::Stream(stream) => ("stream", Some(&stream.attempt)),
        Kind::Alive(_) => return Ok(FromWorker::Alive),
        Kind::Credit(credit) => return Ok(FromWorker::Credit { tasks: credit.tasks }),
        Kind::Leaving(_) => return Ok(FromWorker::Leaving),
    };
    let Some(of) = of else {
        let error = Error::new(Code::BadRequest, "`hello` comes first, alone, and only once").hint("reconnect");
        return Err(BadReport { attempt: None, error });
    };
    let attempt = within(name, attempt_of(of.clone())).map_err(|error| BadReport { attempt: None, error })?;
    within(name, about_attempt(kind, attempt)).map_err(|error| BadReport { attempt: Some(attempt), error })
}

fn about_attempt(kind: Kind, (task, token): (StepInstanceId, Token)) -> Result<FromWorker> {
    Ok(match kind {
        Kind::Complete(complete) => FromWorker::Complete { task, token, output: payload(&complete.output) },
        Kind::Fail(fail) => FromWorker::Fail {
            task,
            token,
            error: agent_error(required("error", fail.error)?),
            retryable: fail.retryable,
            retry_after: fail.retry_after_us.map(Span),
        },
        Kind::Record(record) => {
            let entry = within("entry", required("entry", record.entry)?.try_into())?;
            FromWorker::Record { task, token, index: record.index, entry }
        }
        Kind::Park(park) => FromWorker::Park { task, token, waiting: park.waiting },
        Kind::Progress(progress) => FromWorker::Heartbeat { task, token, progress: some(progress.message) },
        Kind::Stream(stream) => {
            let delta = within("delta", required("delta", stream.delta)?.try_into())?;
            FromWorker::Stream { task, token, delta }
        }
        Kind::Hello(_) | Kind::Alive(_) | Kind::Credit(_) | Kind::Leaving(_) => {
            return Err(bad("kind", "is not about an attempt"));
        }
    })
}

/// The error of an agent: without a code it is a failure of the agent.
fn agent_error(error: v1::Error) -> Error {
    let plain = error.code.is_empty();
    let error = error_from_wire(error);
    if plain { Error { code: Code::AgentFailed, ..error } } else { error }
}

impl From<Delta> for v1::Delta {
    fn from(delta: Delta) -> Self {
        let kind = match delta {
            Delta::Text { text } => delta::Kind::Text(text),
            Delta::Json { value } => delta::Kind::Json(value_bytes(&value)),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::Delta> for Delta {
    type Error = Error;

    fn try_from(delta: v1::Delta) -> Result<Self> {
        Ok(match required("kind", delta.kind)? {
            delta::Kind::Text(text) => Self::Text { text },
            delta::Kind::Json(json) => Self::Json { value: value("json", &json)? },
        })
    }
}
