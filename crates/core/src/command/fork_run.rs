//! `ForkRun`: a new run that takes over recorded outcomes of an old one and runs the rest anew. Terminal states
//! are final, so "retry from a step" is a fork with the same input.

use consort_types::{Name, Payload, Result, RunId};
use minicbor::{Decode, Encode};

use super::Reply;
use crate::fold::Fold;

/// Forks a run.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct ForkRun {
    /// The new run's id, made by the engine.
    #[n(0)]
    pub run: RunId,
    /// The namespace.
    #[n(1)]
    pub namespace: String,
    /// The run to take outcomes from.
    #[n(2)]
    pub from: RunId,
    /// The top-level step from which to run anew, with all that needs it; without one, everything that has not
    /// completed.
    #[n(3)]
    pub step: Option<String>,
    /// Another input, accepted by the definition that the old run is pinned to; without one, the old run's.
    #[n(4)]
    pub input: Option<Payload>,
}

impl ForkRun {
    /// As [`super::Command::check`].
    pub fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        Name::check_size("step", self.step.as_deref().unwrap_or(""))
    }

    pub(crate) fn apply(&self, fold: &mut Fold<'_>) -> Result<Reply> {
        fold.fork_run(self)?;
        Ok(Reply::Run { run: self.run, existing: false })
    }
}
