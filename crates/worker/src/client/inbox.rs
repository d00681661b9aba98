//! What waits for a person, and what they decide.
//!
//! For: the inbox as clients see it. Not for: asking (see [`super::Client`]).
//! Invariant: an item of a kind that this version does not know is shown, not refused.

use consort_proto::v1;
use consort_types::{Result, RunId, TaskId, Time};
use serde_json::Value;

use super::{document, read_document};

/// What an item asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ask {
    /// A yes or a no: [`super::Client::approve`].
    Approval,
    /// What became of a lost `write` attempt: [`super::Client::resolve`].
    UnknownOutcome,
    /// Something that this version does not know.
    Other(String),
}

/// Something that waits for a person.
#[derive(Clone, Debug, PartialEq)]
pub struct InboxItem {
    /// What to name in the decision.
    pub task: TaskId,
    /// The run.
    pub run: RunId,
    /// The run's workflow.
    pub workflow: String,
    /// The step's path.
    pub step: String,
    /// Since when it waits.
    pub since: Time,
    /// What is asked for.
    pub ask: Ask,
    /// The question, in a sentence.
    pub title: String,
    /// What to decide upon.
    pub details: Option<Value>,
}

impl InboxItem {
    pub(super) fn read(item: v1::InboxItem) -> Result<Self> {
        let ask = match item.ask.as_str() {
            "approval" => Ask::Approval,
            "unknown_outcome" => Ask::UnknownOutcome,
            _ => Ask::Other(item.ask),
        };
        Ok(Self {
            task: item.task.parse()?,
            run: item.run.parse()?,
            workflow: item.workflow,
            step: item.step,
            since: Time(item.since_us),
            ask,
            title: item.title,
            details: item.details.map(|bytes| read_document("details", &bytes)).transpose()?,
        })
    }
}

/// A yes or a no, and who says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub(super) approved: bool,
    pub(super) by: String,
    pub(super) comment: String,
}

impl Decision {
    /// A yes.
    pub fn yes(by: impl Into<String>) -> Self {
        Self { approved: true, by: by.into(), comment: String::new() }
    }

    /// A no.
    pub fn no(by: impl Into<String>) -> Self {
        Self { approved: false, ..Self::yes(by) }
    }

    /// What is to be said to it.
    #[must_use]
    pub fn comment(mut self, comment: impl Into<String>) -> Self {
        self.comment = comment.into();
        self
    }
}

/// What became of a lost `write` attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Resolution {
    /// It was done, and this is its output.
    Done(Value),
    /// It was not done: try again.
    Retry,
    /// It failed, for this reason.
    Fail(String),
}

impl Resolution {
    pub(super) fn write(self) -> Result<v1::resolve_unknown_request::Resolution> {
        use v1::resolve_unknown_request::Resolution as Wire;
        Ok(match self {
            Self::Done(output) => Wire::Done(document("output", &output)?),
            Self::Retry => Wire::Retry(true),
            Self::Fail(reason) => Wire::Fail(reason),
        })
    }
}
