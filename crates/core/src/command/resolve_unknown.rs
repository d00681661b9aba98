//! `ResolveUnknown`: a person (or a reconciler) says what became of a lost `write` attempt.

use consort_types::{Payload, Result, TaskId};
use minicbor::{Decode, Encode};

use super::{Reply, approve::check_decision};
use crate::fold::Fold;

/// What became of it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Resolution {
    /// It happened; this is what it made.
    #[n(0)]
    Done(#[n(0)] Payload),
    /// It did not happen: try again.
    #[n(1)]
    Retry,
    /// Count it as failed.
    #[n(2)]
    Fail,
}

impl Resolution {
    /// The word for the journal.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Retry => "retry",
            Self::Fail => "fail",
        }
    }
}

/// Decides an unknown outcome.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct ResolveUnknown {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The task, as the inbox names it.
    #[n(1)]
    pub task: TaskId,
    /// What became of it.
    #[n(2)]
    pub resolution: Resolution,
    /// Who says so.
    #[n(3)]
    pub by: String,
    /// In their words.
    #[n(4)]
    pub comment: Option<String>,
}

impl ResolveUnknown {
    /// As [`super::Command::check`].
    pub fn check(&self) -> Result<()> {
        check_decision(&self.namespace, &self.by, self.comment.as_deref())
    }

    pub(crate) fn apply(&self, fold: &mut Fold<'_>) -> Result<Reply> {
        fold.run_in(&self.namespace, self.task.run)?;
        fold.resolve_unknown(self.task, &self.resolution, &self.by, self.comment.as_deref())?;
        Ok(Reply::Done)
    }
}
