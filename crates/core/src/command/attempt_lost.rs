//! `AttemptLost`: the instance that held an attempt is gone. Harmless attempts are made ready again; the
//! outcome of a `write` attempt is unknown.

use consort_types::{Result, TaskId, Token, bounds::check_text, limits};
use minicbor::{Decode, Encode};

use super::Reply;
use crate::fold::Fold;

/// Takes an attempt away from an instance that is gone.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct AttemptLost {
    /// The task.
    #[n(0)]
    pub task: TaskId,
    /// The attempt's token.
    #[n(1)]
    pub token: Token,
    /// How it was noticed.
    #[n(2)]
    pub reason: String,
}

impl AttemptLost {
    pub(crate) fn check(&self) -> Result<()> {
        check_text("reason", &self.reason, limits::ERROR_MESSAGE_BYTES_MAX)
    }

    pub(crate) fn apply(&self, fold: &mut Fold<'_>) -> Result<Reply> {
        fold.attempt_lost(self.task, self.token, &self.reason)?;
        Ok(Reply::Done)
    }
}
