//! `TaskTaken`: an instance holds the attempt. Recorded lazily, but durably before a `write` attempt is sent.

use consort_types::{EffectClass, Result, TaskId, Time, Token, WorkerInstance};
use minicbor::{Decode, Encode};

use super::Reply;
use crate::fold::Fold;

/// Notes who holds an attempt; its timeout runs from here.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct TaskTaken {
    /// The task.
    #[n(0)]
    pub task: TaskId,
    /// The attempt's token.
    #[n(1)]
    pub token: Token,
    /// The instance.
    #[n(2)]
    pub instance: WorkerInstance,
    /// The effect class under which it was handed out.
    #[n(3)]
    pub effect: EffectClass,
    /// When it was handed out.
    #[n(4)]
    pub at: Time,
}

impl TaskTaken {
    pub(crate) fn apply(&self, fold: &mut Fold<'_>) -> Result<Reply> {
        fold.task_taken(self.task, self.token, &self.instance, self.effect, self.at)?;
        Ok(Reply::Done)
    }
}
