//! What goes into the dispatcher and comes out of it, as plain data.
//!
//! For: ids, assignments, claims, losses, outcomes. Not for: the tasks themselves (see `consort_types::task`), or for any
//! rule.
//! Invariant: nothing here refers to the inside of the dispatcher.

use consort_types::{
    EffectClass, StepInstanceId, Time, Token,
    registry::{Health, InstanceView, SkillView},
};

/// A worker instance, for as long as it is connected. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerInstanceId(pub u64);

/// A queue: the requirements of its tasks, for as long as the queue exists. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueId(pub(crate) u64);

/// A task that is to be sent to a worker instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The task.
    pub task: StepInstanceId,
    /// The attempt's token.
    pub token: Token,
    /// The worker instance.
    pub instance: WorkerInstanceId,
}

/// An attempt whose worker instance did not reconnect in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The task.
    pub task: StepInstanceId,
    /// The attempt's token.
    pub token: Token,
    /// How it was noticed.
    pub reason: String,
    /// Whether the instance went away by itself while it had the task: it was not asked to leave, and the server was not
    /// restarted meanwhile.
    pub died: bool,
}

/// The answer to a worker instance that claims a task which it holds from before a reconnect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The instance holds the task.
    Granted {
        /// The instance that held it until now, and must stop.
        from: Option<WorkerInstanceId>,
        /// Whether the assignment may not have been recorded.
        unrecorded: bool,
    },
    /// The attempt is over, there is a newer one, or another instance holds it.
    Refused {
        /// Which of them, in a few words.
        reason: &'static str,
    },
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It completed.
    Completed,
    /// It failed by its own report; `blamed` where another attempt with the same input might not have failed.
    Failed {
        /// Whether it is evidence about the worker instance.
        blamed: bool,
    },
    /// Its output does not fit what the agent declares.
    Broken,
    /// It timed out, or passed its deadline.
    Expired,
    /// It was lost with its worker instance.
    Lost,
    /// It was lost with its worker instance, and its effect is unknown.
    Unknown,
}

impl Outcome {
    /// What it says of the worker instance; `None` where it says nothing.
    pub(crate) fn evidence(self) -> Option<Evidence> {
        match self {
            Self::Completed => Some(Evidence::Well),
            Self::Failed { blamed: true } => Some(Evidence::Failed),
            Self::Expired | Self::Broken => Some(Evidence::Ill),
            Self::Failed { blamed: false } | Self::Lost | Self::Unknown => None,
        }
    }
}

/// What the end of an attempt says of its worker instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// It does its work.
    Well,
    /// A capability failed, as capabilities do that depend on something outside.
    Failed,
    /// The instance itself stalls, or does not keep to what it declares.
    Ill,
}

/// The requirements of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requested<'a> {
    /// The queue of all tasks with the same requirements.
    pub queue: QueueId,
    /// The namespace.
    pub namespace: &'a str,
    /// The capability, where one is required.
    pub capability: Option<&'a str>,
    /// The agent, where one is required.
    pub agent: Option<&'a str>,
    /// The step's own effect class.
    pub effect: Option<EffectClass>,
}

/// What was observed of a version of an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The health of its best instance.
    pub health: Health,
    /// Why, where it is not healthy.
    pub reason: Option<String>,
    /// When the last message came from one of its instances.
    pub seen: Option<Time>,
    /// Its connected instances.
    pub instances: Vec<InstanceView>,
    /// How attempts ended, by capability.
    pub skills: Vec<SkillView>,
}
