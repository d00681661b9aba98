//! `TaskTaken`: an instance holds the attempt. Recorded lazily, but durably before a `write` attempt is sent.

use consort_types::{EffectClass, Result, TaskId, Time, Token, WorkerInstance, bounds::check_text, limits};
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
    pub(crate) fn check(&self) -> Result<()> {
        check_instance(&self.instance)
    }

    pub(crate) fn apply(&self, fold: &mut Fold<'_>) -> Result<Reply> {
        fold.task_taken(self.task, self.token, &self.instance, self.effect, self.at)?;
        Ok(Reply::Done)
    }
}

pub(super) fn check_instance(instance: &WorkerInstance) -> Result<()> {
    check_text("name of the instance's agent", &instance.agent, limits::NAME_BYTES_MAX)
}

/// Checks a hand-out that a report brings along.
pub(super) fn check_taken(taken: Option<&(WorkerInstance, Time)>) -> Result<()> {
    taken.map_or(Ok(()), |(instance, _)| check_instance(instance))
}
