//! `Approve`: a person's yes or no to an `approve` step, or to a question of a task's code.

use consort_types::{
    Code, Error, Name, Result, TaskId,
    bounds::{check_optional_text, check_text},
    limits,
};
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
    pub(crate) fn check(&self) -> Result<()> {
        check_decision(&self.namespace, &self.by, self.comment.as_deref())
    }

    pub(crate) fn apply(&self, fold: &mut Fold<'_>) -> Result<Reply> {
        fold.run_in(&self.namespace, self.task.run)?;
        fold.approve(self.task, self.approved, &self.by, self.comment.as_deref())?;
        Ok(Reply::Done)
    }
}

/// Checks who decides something in the inbox, and what they say to it.
pub(super) fn check_decision(namespace: &str, by: &str, comment: Option<&str>) -> Result<()> {
    Name::check("namespace", namespace)?;
    if by.trim().is_empty() {
        return Err(Error::new(Code::BadRequest, "`by` is empty").hint("say who decides"));
    }
    check_text("name of who decides", by, limits::NAME_BYTES_MAX)?;
    check_optional_text("comment", comment, limits::ERROR_MESSAGE_BYTES_MAX)
}
