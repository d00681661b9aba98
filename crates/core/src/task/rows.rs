//! The rows of a task's journal and of the inbox.
//!
//! For: what a task's code has requested with the answers, and what waits for a person's decision. Not for: attempts
//! (the row of the step instance has those).
//! Invariant: an entry is answered at most once, and not after it was forgotten.

use consort_types::{Error, Payload, Seq, Time, worker::JournalRequest};
use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::tables::Row;

/// An entry of a task's own journal.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct TaskEntry {
    /// What was asked.
    #[n(0)]
    pub request: JournalRequest,
    /// Its outcome.
    #[n(1)]
    pub output: Option<Payload>,
    /// What went wrong with it.
    #[n(2)]
    pub error: Option<Error>,
    /// Entries whose results the code was given before it asked, in order.
    #[n(3)]
    pub after: Vec<u32>,
    /// When a `sleep` is over. `None` in rows of before.
    #[n(4)]
    pub due: Option<Time>,
    /// Of a `signal` that waits: where its waiter is in line; once answered: where the signal was. `None` in rows of
    /// before.
    #[n(5)]
    pub place: Option<(Seq, u32)>,
    /// The `forget` entry that closed it: the code has passed it, and it is never answered.
    #[n(6)]
    pub forgotten: Option<u32>,
    /// What the author calls it.
    #[n(7)]
    pub title: Option<String>,
}

impl TaskEntry {
    /// An entry as a worker reports it.
    pub fn new(request: JournalRequest, after: Vec<u32>, result: Option<Result<Payload, Error>>) -> Self {
        let (output, error) = match result {
            Some(Ok(output)) => (Some(output), None),
            Some(Err(error)) => (None, Some(error)),
            None => (None, None),
        };
        Self { request, output, error, after, due: None, place: None, forgotten: None, title: None }
    }

    /// Its documents: those of its request and of its answer.
    pub fn documents(&self) -> impl Iterator<Item = &Payload> {
        self.request.document().into_iter().chain(&self.output)
    }

    /// Whether it can still be answered.
    pub fn is_open(&self) -> bool {
        !self.is_answered() && self.forgotten.is_none()
    }

    /// Whether it was answered.
    pub fn is_answered(&self) -> bool {
        self.output.is_some() || self.error.is_some()
    }
}

impl Row for TaskEntry {}

/// How many tasks are pinned to a version of an agent and have not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Encode, Decode)]
pub struct PinnedTasks {
    /// The count.
    #[n(0)]
    pub tasks: u64,
}

impl Row for PinnedTasks {}

/// A question in the inbox.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct InboxItem {
    /// Since when.
    #[n(0)]
    pub since: Time,
    /// What is asked.
    #[n(1)]
    pub ask: Ask,
    /// The question, in the workflow author's words (for an unknown outcome: what is known).
    #[n(2)]
    pub title: String,
    /// What to decide upon.
    #[n(3)]
    pub details: Option<Payload>,
}

impl Row for InboxItem {}

/// What the inbox asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Yes or no.
    #[n(0)]
    Approval,
    /// Did it happen?
    #[n(1)]
    UnknownOutcome,
    /// The code differs from the task's journal: is it tried again, passed over, or failed?
    #[n(2)]
    Diverged,
    /// A compensation has given up: is it tried again, was it done by other means, or is it left undone?
    #[n(3)]
    GaveUp,
}
