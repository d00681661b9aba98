//! `CancelRun`: stop what runs, let clean-up steps run, compensate, and end as cancelled.

use consort_types::{Name, Result, RunId, bounds::check_text, limits};
use minicbor::{Decode, Encode};

use super::Reply;
use crate::{fold::Fold, run::refuse_ended};

/// Cancels a run and everything below it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct CancelRun {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The run.
    #[n(1)]
    pub run: RunId,
    /// Why, for the journal.
    #[n(2)]
    pub reason: String,
    /// Whether clean-up steps (`always()`, `cancelled()`) are cancelled too.
    #[n(3)]
    pub force: bool,
}

impl CancelRun {
    pub(crate) fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        check_text("reason", &self.reason, limits::ERROR_MESSAGE_BYTES_MAX)
    }

    pub(crate) fn apply(&self, fold: &mut Fold<'_>) -> Result<Reply> {
        let run = fold.run_in(&self.namespace, self.run)?;
        refuse_ended(self.run, &run)?;
        fold.cancel_run(self.run, run, &self.reason, self.force)?;
        Ok(Reply::Done)
    }
}
