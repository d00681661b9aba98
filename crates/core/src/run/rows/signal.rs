//! The rows of signals and of what waits for them.
//!
//! For: signals that arrived early, and waiters that came first. Not for: matching them (see `run::signal`).
//! Invariant: for one name a run has kept signals or waiters, never both.

use consort_types::{Payload, StepInstanceId};
use minicbor::{Decode, Encode};

use crate::tables::Row;

/// A signal that waits to be read.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Signal {
    /// Its payload.
    #[n(0)]
    pub payload: Payload,
}

impl Row for Signal {}

/// A step or a journal entry that waits for a signal.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Waiter {
    /// The step instance.
    #[n(0)]
    pub task: StepInstanceId,
    /// The journal entry; `None` where the step itself waits.
    #[n(1)]
    pub entry: Option<u32>,
}

impl Row for Waiter {}
