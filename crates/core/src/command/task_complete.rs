//! `TaskComplete`: an attempt ended well. The first report of the current attempt counts; a repeated one gets
//! the first answer, and one with an old fencing token changes nothing.

use consort_types::{Payload, Result, TaskId, Time, Token, WorkerInstance};
use minicbor::{Decode, Encode};

use super::{
    Reply,
    task_taken::{check_instance, check_taken},
};
use crate::fold::Fold;

/// Records the outcome of a task.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct TaskComplete {
    /// The task.
    #[n(0)]
    pub task: TaskId,
    /// The attempt's token.
    #[n(1)]
    pub token: Token,
    /// What it made.
    #[n(2)]
    pub output: Payload,
    /// Who took it and when, where that has no record of its own.
    #[n(3)]
    pub taken: Option<(WorkerInstance, Time)>,
    /// The instance that reports.
    #[n(4)]
    pub by: WorkerInstance,
}

impl TaskComplete {
    pub(crate) fn check(&self) -> Result<()> {
        check_instance(&self.by)?;
        check_taken(self.taken.as_ref())
    }

    pub(crate) fn apply(&self, fold: &mut Fold<'_>) -> Result<Reply> {
        fold.task_complete(self.task, self.token, &self.by, &self.output, self.taken.as_ref())?;
        Ok(Reply::Done)
    }
}
