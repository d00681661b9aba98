//! The rows of what a run has beside its steps.
//!
//! For: values that its code exposes, updates with their answers, and how many there are of each. Not for: the rules that
//! change them (see `run::beside` and `run::update`).
//! Invariant: of a value only the last is kept; an update is answered at most once.

use consort_types::{Payload, StepInstanceId, Time};
use minicbor::{Decode, Encode};

use crate::tables::Row;

/// A row; its key says which kind.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Beside {
    /// A value that the code of the run exposes.
    #[n(0)]
    Value(#[n(0)] ExposedValue),
    /// An update.
    #[n(1)]
    Update(#[n(0)] SentUpdate),
    /// How many there are of each.
    #[n(2)]
    Counts(#[n(0)] BesideCounts),
}

impl Row for Beside {}

/// A value that the code of a run exposes.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct ExposedValue {
    /// The value.
    #[n(0)]
    pub value: Payload,
    /// The task whose code exposed it.
    #[n(1)]
    pub task: StepInstanceId,
    /// The entry of its journal.
    #[n(2)]
    pub entry: u32,
    /// When.
    #[n(3)]
    pub at: Time,
}

/// An update that was sent to a run.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct SentUpdate {
    /// Its name.
    #[n(0)]
    pub name: String,
    /// What was sent.
    #[n(1)]
    pub input: Payload,
    /// When it came.
    #[n(2)]
    pub at: Time,
    /// The task whose code has it, and the entry that waited for it.
    #[n(3)]
    pub taken: Option<(StepInstanceId, u32)>,
    /// What came of it, and when.
    #[n(4)]
    pub outcome: Option<(Time, UpdateOutcome)>,
}

/// What the code of a run answers an update.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum UpdateOutcome {
    /// A document.
    #[n(0)]
    Answered(#[n(0)] Payload),
    /// It is rejected, for this reason.
    #[n(1)]
    Rejected(#[n(0)] String),
}

/// How many values and updates a run has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Encode, Decode)]
pub struct BesideCounts {
    /// Names of exposed values.
    #[n(0)]
    pub values: u32,
    /// Updates that were sent.
    #[n(1)]
    pub updates: u32,
}
