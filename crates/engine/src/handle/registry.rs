//! What operators set for agents and limits.
//!
//! For: draining, weighing and removing agents, and limits on tasks. Not for: looking at them.
//! Invariant: a setting is durable: it survives restarts and new declarations of agents, until an operator changes it.

use consort_core::{
    Command,
    command::{AgentChange, RemoveAgent, SetAgent, SetLimit},
};
use consort_types::{
    Code, Error, Result,
    registry::{LimitScope, TaskLimit},
};

use super::Handle;

impl Handle {
    /// Hands out nothing more to a version of an agent (without one: to every version that is known now). What its
    /// instances hold, they finish.
    ///
    /// # Errors
    /// [`Code::AgentNotFound`] where no such agent has joined.
    pub async fn drain_agent(&self, namespace: &str, name: &str, version: Option<&str>) -> Result<()> {
        self.set_agent(namespace, name, version, AgentChange::Drain).await
    }

    /// Hands out again to a version of an agent, or to every version.
    ///
    /// # Errors
    /// [`Code::AgentNotFound`] where no such agent has joined.
    pub async fn resume_agent(&self, namespace: &str, name: &str, version: Option<&str>) -> Result<()> {
        self.set_agent(namespace, name, version, AgentChange::Resume).await
    }

    /// Gives a version of an agent a share of the work beside its other versions, from 0 (nothing) to
    /// [`consort_types::limits::AGENT_WEIGHT_MAX`]; the default is 100.
    ///
    /// # Errors
    /// [`Code::AgentNotFound`] where no such agent has joined, [`Code::LimitReached`] where the weight is too large.
    pub async fn weigh_agent(&self, namespace: &str, name: &str, version: &str, weight: u32) -> Result<()> {
        self.set_agent(namespace, name, Some(version), AgentChange::Weight(weight)).await
    }

    /// Forgets a version of an agent, or every version, with its settings. With `force` also while instances of it are
    /// connected: they are told to finish and are disconnected; their tasks go to other instances after the grace.
    ///
    /// # Errors
    /// [`Code::AgentNotFound`] where no such agent has joined, [`Code::AgentConnected`] where instances are connected.
    pub async fn remove_agent(&self, namespace: &str, name: &str, version: Option<&str>, force: bool) -> Result<()> {
        let (namespace, name, version) = (namespace.to_owned(), name.to_owned(), version.map(str::to_owned));
        self.of(&namespace).done(Command::RemoveAgent(RemoveAgent { namespace, name, version, force }), None).await
    }

    /// Sets a quota on tasks of a namespace, in place of the one that the scope had.
    ///
    /// # Errors
    /// Where the quota says nothing, the scope or a rate means nothing, or the namespace has too many quotas.
    pub async fn set_quota(&self, namespace: &str, scope: LimitScope, quota: TaskLimit) -> Result<()> {
        if quota == TaskLimit::default() {
            return Err(Error::new(Code::BadRequest, format!("the quota of `{scope}` says nothing")).hint(
                "give the most at once, a rate or the most that wait; removing a quota is an operation of its own",
            ));
        }
        self.of(namespace)
            .done(Command::SetLimit(SetLimit { namespace: namespace.to_owned(), scope, limit: quota }), None)
            .await
    }

    /// Removes the quota of a scope.
    ///
    /// # Errors
    /// [`Code::QuotaNotFound`] where none is set.
    pub async fn remove_quota(&self, namespace: &str, scope: LimitScope) -> Result<()> {
        let limit = TaskLimit::default();
        self.of(namespace)
            .done(Command::SetLimit(SetLimit { namespace: namespace.to_owned(), scope, limit }), None)
            .await
    }

    async fn set_agent(&self, namespace: &str, name: &str, version: Option<&str>, change: AgentChange) -> Result<()> {
        let (namespace, name, version) = (namespace.to_owned(), name.to_owned(), version.map(str::to_owned));
        self.of(&namespace).done(Command::SetAgent(SetAgent { namespace, name, version, change }), None).await
    }
}
