//! `PauseRun`: hold back the hand-out of a run's tasks, or let it go on. What is taken is finished.

use consort_types::{Name, Result, RunId};
use minicbor::{Decode, Encode};

use super::Reply;
use crate::{fold::Fold, run::refuse_ended};

/// Pauses or resumes a run and the runs below it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct PauseRun {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The run.
    #[n(1)]
    pub run: RunId,
    /// `true` pauses, `false` resumes.
    #[n(2)]
    pub paused: bool,
}

impl PauseRun {
    pub(crate) fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)
    }

    pub(crate) fn apply(&self, fold: &mut Fold<'_>) -> Result<Reply> {
        let run = fold.run_in(&self.namespace, self.run)?;
        refuse_ended(self.run, &run)?;
        fold.pause_run(self.run, self.paused)?;
        Ok(Reply::Done)
    }
}
