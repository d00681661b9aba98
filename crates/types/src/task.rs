//! A task as the dispatcher sees it.
//!
//! For: what the dispatcher gets from the core about a ready task. Not for: what the worker is sent (see `worker`), or
//! what is durable of a task (the core's rows).
//! Invariant: everything that matching depends on is here, so that neither crate needs the other.

use crate::{EffectClass, StepInstanceId, Time, Token, worker::Route};

/// A task that waits for an instance.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadyTask {
    /// The task.
    pub task: StepInstanceId,
    /// The fencing token of the attempt.
    pub token: Token,
    /// The namespace.
    pub namespace: String,
    /// The capability that it needs.
    pub capability: Option<String>,
    /// The agent that it names.
    pub agent: Option<String>,
    /// Higher goes first.
    pub priority: i32,
    /// When it became ready; older goes first.
    pub ready: Time,
    /// How many tasks that share the key may be taken at once.
    pub concurrency: Option<ConcurrencyKey>,
    /// The step's own effect class; without one the capability's declared class counts.
    pub effect: Option<EffectClass>,
    /// Which instances may perform it, where the capability and the agent are not enough.
    pub route: Option<Route>,
    /// When it is given up: of equal priority, what ends sooner goes first.
    pub deadline: Option<Time>,
    /// The agent and its version whose code wrote the task's journal: only they continue with it, while they are there or
    /// may reconnect.
    pub written_by: Option<(String, String)>,
}

/// A limit on how many tasks that share a key are taken at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConcurrencyKey {
    /// The key, within the namespace.
    pub key: String,
    /// The limit.
    pub limit: u32,
}
