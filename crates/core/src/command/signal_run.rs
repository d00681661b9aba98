//! `SignalRun`: bring something to a run from outside. It goes to the first that waits for it, or is kept.

use consort_types::{Code, Error, Name, Payload, Result, RunId, limits};
use minicbor::{Decode, Encode};

use super::Reply;
use crate::{fold::Fold, run::refuse_ended};

/// Sends a signal to a run.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct SignalRun {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The run.
    #[n(1)]
    pub run: RunId,
    /// The signal's name.
    #[n(2)]
    pub name: String,
    /// What it brings.
    #[n(3)]
    pub payload: Payload,
}

impl SignalRun {
    /// As [`super::Command::check`].
    pub fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        Name::check("signal", &self.name)
    }

    pub(crate) fn apply(&self, fold: &mut Fold<'_>) -> Result<Reply> {
        let run = fold.run_in(&self.namespace, self.run)?;
        refuse_ended(self.run, &run)?;
        if run.signals_waiting >= limits::SIGNALS_WAITING_MAX {
            let message = format!(
                "run `{}` has {} signals waiting, the limit is {}",
                self.run,
                run.signals_waiting,
                limits::SIGNALS_WAITING_MAX
            );
            return Err(Error::new(Code::LimitReached, message).hint("wait until the run has read some of them"));
        }
        fold.signal(self.run, &self.name, &self.payload)?;
        Ok(Reply::Done)
    }
}
