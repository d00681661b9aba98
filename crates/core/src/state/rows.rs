//! Rows that belong to the state as a whole.
//!
//! For: log time, counts, and the uses of blobs. Not for: rows of one concern (its folder has them).
//! Invariant: rows are CBOR arrays with field numbers; new fields go at the end and are optional, so that old rows stay
//! readable.

use consort_types::Time;
use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::{run::rows::step::StepState, tables::Row};

/// The state of the machine itself.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub struct Meta {
    /// Log time: the time of the last record.
    #[n(0)]
    pub now: Time,
    /// Tasks by state.
    #[n(1)]
    pub tasks: TaskCounts,
    /// Runs that have not ended.
    #[n(2)]
    pub runs_active: u64,
    /// Runs ever started.
    #[n(3)]
    pub runs_made: u64,
    /// No armed timer is due before this: what was due has fired.
    #[n(4)]
    #[cbor(default)]
    pub timers_from: Time,
    /// Whether what namespaces hold is counted: a folder of an earlier version is counted when it is opened.
    #[n(5)]
    #[cbor(default)]
    pub namespaces_counted: bool,
    /// Whether what uses the contents of workflows is counted, likewise.
    #[n(6)]
    #[cbor(default)]
    pub definitions_counted: bool,
}

impl Row for Meta {}

/// Tasks by state; `made` is always the sum of the others (law 8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct TaskCounts {
    /// Tasks ever made.
    #[n(0)]
    pub made: u64,
    /// Tasks that wait: for an instance, a back-off, an answer in their journal, or a decision.
    #[n(1)]
    pub waiting: u64,
    /// Tasks that an instance holds.
    #[n(2)]
    pub taken: u64,
    /// Tasks that completed.
    #[n(3)]
    pub done: u64,
    /// Tasks that failed for good or were cancelled.
    #[n(4)]
    pub dead: u64,
}

impl TaskCounts {
    /// A task has moved from one state to another; from `Pending`, or from the wait for its step's lock, it is made.
    pub(crate) fn moved(&mut self, from: StepState, to: StepState) {
        match from {
            StepState::Pending | StepState::Waiting => self.made += 1,
            StepState::Taken => self.taken -= 1,
            _ => self.waiting -= 1,
        }
        match to {
            StepState::Taken => self.taken += 1,
            StepState::Completed => self.done += 1,
            StepState::Failed | StepState::Cancelled | StepState::Skipped => self.dead += 1,
            _ => self.waiting += 1,
        }
    }

    /// Whether every task that was made is counted in one state (law 8).
    pub(crate) fn is_conserved(&self) -> bool {
        self.made == self.waiting + self.taken + self.done + self.dead
    }
}

/// A row without content: its key is all there is.
#[derive(Clone, Copy, Debug, PartialEq, Encode, Decode)]
pub struct Marker;

impl Row for Marker {}

/// How many rows refer to a blob.
#[derive(Clone, Copy, Debug, Default, PartialEq, Encode, Decode)]
pub struct BlobUse {
    /// The count.
    #[n(0)]
    pub rows: u64,
}

impl Row for BlobUse {}
