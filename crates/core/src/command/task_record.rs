//! `TaskRecord`: a task records an entry in its own journal, so that a later attempt goes on after it.

use consort_types::{
    Result, TaskId, Token, WorkerInstance,
    bounds::check_error,
    worker::{JournalEntry, check_positions},
};
use minicbor::{Decode, Encode};

use super::{Reply, task_taken::check_instance};
use crate::{fold::Fold, rows::TaskEntry};

/// Appends an entry to a task's journal.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct TaskRecord {
    /// The task.
    #[n(0)]
    pub task: TaskId,
    /// The attempt's token.
    #[n(1)]
    pub token: Token,
    /// The entry's position, from 0 without gaps.
    #[n(2)]
    pub index: u32,
    /// The entry; only a `run` brings its result along.
    #[n(3)]
    pub entry: TaskEntry,
    /// The instance that reports.
    #[n(4)]
    pub by: WorkerInstance,
}

impl TaskRecord {
    /// A command from what a worker says.
    pub fn new(task: TaskId, token: Token, by: WorkerInstance, index: u32, entry: &JournalEntry) -> Self {
        let (output, error) = match &entry.result {
            Some(Ok(output)) => (Some(output.clone()), None),
            Some(Err(error)) => (None, Some(error.clone())),
            None => (None, None),
        };
        let row = TaskEntry { request: entry.request.clone(), output, error, after: entry.after.clone() };
        Self { task, token, index, entry: row, by }
    }

    pub(crate) fn check(&self) -> Result<()> {
        check_instance(&self.by)?;
        self.entry.request.check_size()?;
        check_positions(&self.entry.after)?;
        self.entry.error.as_ref().map_or(Ok(()), check_error)
    }

    pub(crate) fn apply(&self, fold: &mut Fold<'_>) -> Result<Reply> {
        fold.task_record(self.task, self.token, &self.by, self.index, &self.entry)?;
        Ok(Reply::Done)
    }
}
