//! Rows of work that is spread over several records.
//!
//! For: what a run still has to do, and how far it has come. Not for: doing it.
//! Invariant: what is left is a row, so a crash between two records loses none of it.

use consort_types::{Error, Payload};
use minicbor::{Decode, Encode};

use super::Run;
use crate::tables::Row;

/// The cancellation of a run's steps, as far as it has come.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Cancelling {
    /// Why the run was cancelled, for the runs below it.
    #[n(0)]
    pub reason: String,
    /// The first step instance that is yet to be cancelled: scope and index.
    #[n(1)]
    pub from: (u32, u32),
}

/// What was left to a later record. What it is about stands in its key.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Later {
    /// Stop what is live in the scope, from this instance on.
    #[n(0)]
    Stop,
    /// End the instance, now that nothing below it is live.
    #[n(1)]
    Finish {
        /// What it made; without that, it failed or was cancelled.
        #[n(0)]
        output: Option<Payload>,
        /// Why it failed or was cancelled.
        #[n(1)]
        error: Option<Error>,
    },
    /// Decide whether the instance runs.
    #[n(2)]
    Consider,
    /// Begin the instance.
    #[n(3)]
    Begin,
    /// Start what may start in the scope, or close it.
    #[n(4)]
    Advance,
}

impl Run {
    /// Whether steps of the run are being stopped over several records: nothing starts meanwhile.
    pub fn is_stopping(&self) -> bool {
        self.cancelling.is_some() || self.stopping > 0
    }

    /// Whether its tasks are not handed out now.
    pub fn is_held(&self) -> bool {
        self.paused || self.cancelling.is_some()
    }
}

impl Row for Later {}
