//! Looking at agents, queues and limits.
//!
//! For: listings, and following agents. Not for: what operators say about them (see `registry`).
//! Invariant: a follower costs nothing while nothing changes; without followers a change costs nothing either.

use std::time::{Duration, Instant};

use consort_types::{
    Code, Error, Name, Result,
    registry::{AgentFilter, AgentView, LimitView, QueueView},
};

use super::Handle;
use crate::{shell::Subscription, topic::Topic};

/// Versions that an error names.
const VERSIONS_NAMED: usize = 5;
/// How long a follower rests after each look.
const REST: Duration = Duration::from_millis(500);

impl Handle {
    /// Agents with what was declared, set and observed, by name and version; also those without a connected instance.
    pub async fn agents(&self, namespace: &str, filter: AgentFilter) -> Result<Vec<AgentView>> {
        Name::check("namespace", namespace)?;
        let namespace = namespace.to_owned();
        self.of(&namespace)
            .look(move |partition| {
                let now = partition.clock();
                partition.views().agents(&namespace, &filter, now)
            })
            .await?
    }

    /// The queues in which tasks wait, or waited in the last minute, by what the tasks require.
    pub async fn queues(&self, namespace: &str) -> Result<Vec<QueueView>> {
        Name::check("namespace", namespace)?;
        let namespace = namespace.to_owned();
        self.of(&namespace)
            .look(move |partition| {
                let now = partition.clock();
                partition.views().queues(&namespace, now)
            })
            .await
    }

    /// Every version of an agent, or one of them.
    ///
    /// # Errors
    /// [`Code::AgentNotFound`] where there is none.
    pub async fn agent(&self, namespace: &str, name: &str, version: Option<&str>) -> Result<Vec<AgentView>> {
        let mut known =
            self.agents(namespace, AgentFilter { name: Some(name.to_owned()), ..AgentFilter::default() }).await?;
        let Some(version) = version.filter(|_| !known.is_empty()) else {
            let message = format!("there is no agent `{name}` in namespace `{namespace}`");
            let error =
                Error::new(Code::AgentNotFound, message).hint("`consort agents list` shows those that have joined");
            return if known.is_empty() { Err(error) } else { Ok(known) };
        };
        let named = |agent: &AgentView| format!("`{}`", agent.declaration.version);
        let versions: Vec<String> = known.iter().rev().take(VERSIONS_NAMED).map(named).collect();
        known.retain(|agent| agent.declaration.version == version);
        if known.is_empty() {
            return Err(Error::new(Code::AgentNotFound, format!("agent `{name}` has no version `{version}`"))
                .hint(format!("it has {}", versions.join(", "))));
        }
        Ok(known)
    }

    /// The quotas that are set, with what they hold back, by scope.
    pub async fn quotas(&self, namespace: &str) -> Result<Vec<LimitView>> {
        Name::check("namespace", namespace)?;
        let namespace = namespace.to_owned();
        self.of(&namespace).look(move |partition| partition.views().limits(&namespace)).await
    }

    /// Follows agents: what they are now, and again whenever that has changed, at most twice a second.
    ///
    /// # Errors
    /// [`Code::Overloaded`] where too many follow already.
    pub async fn watch_agents(&self, namespace: &str, filter: AgentFilter) -> Result<AgentWatch> {
        Name::check("namespace", namespace)?;
        let mut subscription = self.of(namespace).subscribe(Topic::Agents).await?;
        subscription.mark_seen();
        let first = self.agents(namespace, filter.clone()).await?;
        let (handle, namespace) = (self.clone(), namespace.to_owned());
        Ok(AgentWatch { handle, namespace, filter, subscription, first: Some(first), last: Vec::new(), at: None })
    }
}

/// Agents being followed.
pub struct AgentWatch {
    handle: Handle,
    namespace: String,
    filter: AgentFilter,
    subscription: Subscription,
    first: Option<Vec<AgentView>>,
    last: Vec<AgentView>,
    /// When it looked last.
    at: Option<Instant>,
}

impl AgentWatch {
    /// What the agents are, the first time at once and then when it has changed; `None` when the engine has stopped.
    /// An error is the last that is given.
    pub async fn next(&mut self) -> Option<Result<Vec<AgentView>>> {
        if let Some(first) = self.first.take() {
            return Some(Ok(self.show(first)));
        }
        loop {
            let rest = self.at.map_or(Duration::ZERO, |at| REST.saturating_sub(at.elapsed()));
            self.subscription.next().await.ok()?;
            tokio::time::sleep(rest).await;
            self.subscription.mark_seen();
            match self.handle.agents(&self.namespace, self.filter.clone()).await {
                Ok(views) if views == self.last => self.at = Some(Instant::now()),
                Ok(views) => return Some(Ok(self.show(views))),
                Err(error) if error.code == Code::Stopping => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn show(&mut self, views: Vec<AgentView>) -> Vec<AgentView> {
        self.at = Some(Instant::now());
        self.last.clone_from(&views);
        views
    }
}
