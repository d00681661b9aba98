//! `TaskFail`: an attempt failed by its own report. The retry policy decides what follows.

use consort_types::{Error, Result, Span, TaskId, Time, Token, WorkerInstance, bounds::check_error};
use minicbor::{Decode, Encode};

use super::{
    Reply,
    task_taken::{check_instance, check_taken},
};
use crate::{fold::Fold, run::Again};

/// Records the failure of an attempt.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct TaskFail {
    /// The task.
    #[n(0)]
    pub task: TaskId,
    /// The attempt's token.
    #[n(1)]
    pub token: Token,
    /// What went wrong.
    #[n(2)]
    pub error: Error,
    /// Whether another attempt may help.
    #[n(3)]
    pub retryable: bool,
    /// When to try again, where the agent knows.
    #[n(4)]
    pub retry_after: Option<Span>,
    /// Who took it and when, where that has no record of its own.
    #[n(5)]
    pub taken: Option<(WorkerInstance, Time)>,
    /// The instance that reports.
    #[n(6)]
    pub by: WorkerInstance,
}

impl TaskFail {
    pub(crate) fn check(&self) -> Result<()> {
        check_error(&self.error)?;
        check_instance(&self.by)?;
        check_taken(self.taken.as_ref())
    }

    pub(crate) fn apply(&self, fold: &mut Fold<'_>) -> Result<Reply> {
        let again = match self.retry_after {
            _ if !self.retryable => Again::Never,
            Some(span) => Again::After(span),
            None => Again::ByPolicy,
        };
        fold.task_fail(self, again)?;
        Ok(Reply::Done)
    }
}
