//! `TaskPark`: a task that only waits leaves its instance; it comes back with its journal when an entry is
//! answered.

use consort_types::{Result, TaskId, Token, WorkerInstance, worker::check_positions};
use minicbor::{Decode, Encode};

use super::{Reply, task_taken::check_instance};
use crate::fold::Fold;

/// Parks a task.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct TaskPark {
    /// The task.
    #[n(0)]
    pub task: TaskId,
    /// The attempt's token.
    #[n(1)]
    pub token: Token,
    /// Positions of the journal entries that its code waits for.
    #[n(2)]
    pub waiting: Vec<u32>,
    /// The instance that reports.
    #[n(3)]
    pub by: WorkerInstance,
}

impl TaskPark {
    pub(crate) fn check(&self) -> Result<()> {
        check_instance(&self.by)?;
        check_positions(&self.waiting)
    }

    pub(crate) fn apply(&self, fold: &mut Fold<'_>) -> Result<Reply> {
        fold.task_park(self.task, self.token, &self.by, &self.waiting)?;
        Ok(Reply::Done)
    }
}
