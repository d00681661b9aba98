//! The rows of a run's history.
//!
//! For: the closed list of events of a history. Not for: reading it (see `views`).
//! Invariant: entries are written once and never changed.

use consort_types::{Error, Payload, Time, WorkerInstance};
use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::{run::rows::run::RunStatus, tables::Row};

/// An event, as the journal of a run records it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct HistoryEntry {
    /// When, in log time.
    #[n(0)]
    pub time: Time,
    /// What.
    #[n(1)]
    pub event: HistoryEvent,
    /// The step instance, where it is about one: scope and index.
    #[n(2)]
    pub step: Option<(u32, u32)>,
}

impl Row for HistoryEntry {}

/// The kinds of journal entry.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum HistoryEvent {
    /// The run was started.
    #[n(0)]
    RunStarted,
    /// The step began to wait, or opened what is below it.
    #[n(1)]
    StepBegan,
    /// An instance took the attempt.
    #[n(2)]
    AttemptTaken {
        /// The attempt.
        #[n(0)]
        attempt: u32,
        /// The instance.
        #[n(1)]
        instance: WorkerInstance,
        /// The version of its agent; `None` in logs of before.
        #[n(2)]
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<String>,
    },
    /// The attempt failed or was lost; another may follow.
    #[n(3)]
    AttemptFailed {
        /// The attempt.
        #[n(0)]
        attempt: u32,
        /// Why.
        #[n(1)]
        error: Error,
        /// When the next one is made ready; `None` where none follows.
        #[n(2)]
        retry_at: Option<Time>,
    },
    /// The step completed; its output is in its row.
    #[n(4)]
    StepCompleted {
        /// The attempt that did it; 0 for steps without a task.
        #[n(0)]
        attempt: u32,
    },
    /// The step failed.
    #[n(5)]
    StepFailed {
        /// Why.
        #[n(0)]
        error: Error,
    },
    /// The step was skipped.
    #[n(6)]
    StepSkipped {
        /// Why, where it was not its own condition.
        #[n(0)]
        error: Option<Error>,
    },
    /// The step was cancelled.
    #[n(7)]
    StepCancelled {
        /// Why.
        #[n(0)]
        error: Error,
    },
    /// The outcome of a `write` attempt is unknown.
    #[n(8)]
    OutcomeUnknown {
        /// The attempt.
        #[n(0)]
        attempt: u32,
    },
    /// An unknown outcome or an approval was decided.
    #[n(9)]
    Decided {
        /// `done`, `retry`, `fail`, `approved` or `rejected`.
        #[n(0)]
        decision: String,
        /// The name of the person.
        #[n(1)]
        by: String,
        /// In their words.
        #[n(2)]
        comment: Option<String>,
    },
    /// A signal arrived.
    #[n(10)]
    SignalReceived {
        /// Its name.
        #[n(0)]
        name: String,
        /// Its payload.
        #[n(1)]
        payload: Payload,
    },
    /// The assignment of tasks was paused.
    #[n(11)]
    RunPaused,
    /// The assignment of tasks was resumed.
    #[n(12)]
    RunResumed,
    /// Cancellation of the run was requested.
    #[n(13)]
    RunCancelling {
        /// Why.
        #[n(0)]
        reason: String,
    },
    /// Compensation of completed steps began.
    #[n(14)]
    CompensationBegan,
    /// The run ended.
    #[n(15)]
    RunEnded {
        /// How.
        #[n(0)]
        status: RunStatus,
    },
    /// A task recorded an entry in its own journal.
    #[n(16)]
    TaskRecorded {
        /// The entry.
        #[n(0)]
        entry: u32,
        /// What it is, such as `call research.search`.
        #[n(1)]
        what: String,
    },
    /// The code of the attempt differs from the task's journal; the task waits for code that fits.
    #[n(18)]
    TaskDiverged {
        /// The attempt.
        #[n(0)]
        attempt: u32,
        /// Where they differ.
        #[n(1)]
        error: Error,
    },
    /// The compensation is not tried again by itself; it waits for a decision.
    #[n(19)]
    StepGaveUp {
        /// Why.
        #[n(0)]
        error: Error,
    },
    /// The step's outcome was taken over from the run that this one was forked from.
    #[n(17)]
    StepCopied,
    /// An update arrived.
    #[n(27)]
    UpdateReceived {
        /// Its name.
        #[n(0)]
        name: String,
        /// Its id.
        #[n(1)]
        id: String,
    },
    /// The auction of the step awarded its task to an agent.
    #[n(20)]
    TaskAwarded {
        /// The agent.
        #[n(0)]
        agent: String,
    },
}
