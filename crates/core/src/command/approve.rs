//! `Approve`: a person's yes or no to an `approve` step, or to a question of a task's code.

use consort_types::{Result, TaskId};
use minicbor::{Decode, Encode};

use super::Reply;
use crate::fold::Fold;

/// Decides an approval.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Approve {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The step instance, as the inbox names it.
    #[n(1)]
    pub task: TaskId,
    /// Yes or no.
    #[n(2)]
    pub approved: bool,
    /// Who decides.
    #[n(3)]
    pub by: String,
    /// In their words.
    #[n(4)]
    pub comment: Option<String>,
}

impl Approve {
    pub(crate) fn apply(&self, fold: &mut Fold<'_>) -> Result<Reply> {
        fold.run_in(&self.namespace, self.task.run)?;
        fold.approve(self.task, self.approved, &self.by, self.comment.as_deref())?;
        Ok(Reply::Done)
    }
}
