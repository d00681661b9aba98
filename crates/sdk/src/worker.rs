//! The worker: hosts instances of agents and keeps them connected.
//!
//! For: a process (or a part of one) that takes tasks. Not for: what the agents do.
//! Invariant: one instance and one session for each agent.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use consort_types::{Code, Error, Result, limits};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    Agent, Connect,
    drive::Timeouts,
    replay_check::ReplayFiles,
    session::{Instance, Settings},
};

/// Hosts agents on a connection.
///
/// ```no_run
/// # use consort_sdk::{Agent, Connect, Worker};
/// # async fn example(connect: impl Connect, agent: Agent) -> consort_types::Result<()> {
/// let shutdown = async { std::future::pending().await };
/// Worker::new(connect).agent(agent).concurrency(8).run(shutdown).await
/// # }
/// ```
pub struct Worker {
    connect: Arc<dyn Connect>,
    agents: Vec<Agent>,
    settings: Settings,
}

impl Worker {
    /// A worker without agents in the namespace `default`, with 16 tasks at once for each agent.
    pub fn new(connect: impl Connect) -> Self {
        let settings = Settings {
            namespace: "default".into(),
            labels: BTreeMap::new(),
            client: client_text(),
            worker: format!("{:032x}", rand::random::<u128>()),
            concurrency: 16,
            heartbeat_interval: Duration::from_secs(5),
            leave_within: Duration::from_secs(30),
            timeouts: Timeouts { park_after: Duration::from_millis(10), cancel_grace: Duration::from_secs(2) },
        };
        Self { connect: Arc::new(connect), agents: Vec::new(), settings }
    }

    /// Serves another namespace than `default`.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.settings.namespace = namespace.into();
        self
    }

    /// A label of this worker's instances, such as the zone that they run in; it overrides one of their agent.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.labels.insert(key.into(), value.into());
        self
    }

    /// The client as it is shown to people (`rust/VERSION HOST:PROCESS`).
    #[must_use]
    pub fn client(mut self, text: impl Into<String>) -> Self {
        self.settings.client = text.into();
        self
    }

    /// Hosts an agent.
    #[must_use]
    pub fn agent(mut self, agent: Agent) -> Self {
        self.agents.push(agent);
        self
    }

    /// Tasks that each agent holds at once; from 1 to [`limits::INSTANCE_CREDIT_MAX`].
    #[must_use]
    pub fn concurrency(mut self, tasks: u32) -> Self {
        self.settings.concurrency = tasks;
        self
    }

    /// The longest time between two messages to the engine (5 s). A server over a network has its own requirement; the
    /// shorter of both counts.
    #[must_use]
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.settings.heartbeat_interval = interval;
        self
    }

    /// How long a task only waits before it parks and frees its place (10 ms).
    #[must_use]
    pub fn park_after(mut self, still: Duration) -> Self {
        self.settings.timeouts.park_after = still;
        self
    }

    /// How long cancelled code may continue before it is dropped (2 s).
    #[must_use]
    pub fn cancel_grace(mut self, grace: Duration) -> Self {
        self.settings.timeouts.cancel_grace = grace;
        self
    }

    /// How long after `shutdown` the worker stays for the tasks that it holds (30 s). Tasks that are not done by then
    /// are dropped; the engine assigns them to other instances.
    #[must_use]
    pub fn leave_within(mut self, span: Duration) -> Self {
        self.settings.leave_within = span;
        self
    }

    /// Takes tasks until every instance has left: because the engine let it go, or because `shutdown` ended and
    /// what it held is done. Lost connections are opened again.
    ///
    /// It fails when an agent's declaration is wrong or the engine refuses it; then all instances leave. Under `consort
    /// replay-check` it replays the journals of tasks in flight against the code of its agents instead, and ends.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
        self.check()?;
        if let Some(files) = ReplayFiles::wanted() {
            return files.replay(&self.agents).await;
        }
        let stop = CancellationToken::new();
        let mut instances = JoinSet::new();
        let made: Result<Vec<Instance>> = self
            .agents
            .into_iter()
            .map(|agent| Instance::new(agent, Arc::clone(&self.connect), self.settings.clone(), stop.clone()))
            .collect();
        for instance in made? {
            instances.spawn(instance.run());
        }
        let mut first = Ok(());
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown, if !stop.is_cancelled() => stop.cancel(),
                left = instances.join_next() => match left {
                    None => return first,
                    Some(Ok(Ok(()))) => {}
                    Some(Ok(Err(error))) => {
                        stop.cancel();
                        first = first.and(Err(error));
                    }
                    Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
                },
            }
        }
    }

    fn check(&self) -> Result<()> {
        let (tasks, max) = (self.settings.concurrency, limits::INSTANCE_CREDIT_MAX);
        if tasks == 0 || tasks > max {
            return Err(Error::new(Code::LimitReached, format!("a concurrency of {tasks} is not within 1 to {max}")));
        }
        if self.settings.heartbeat_interval.is_zero() {
            return Err(Error::new(Code::BadRequest, "the heartbeat interval is zero").hint("5 s is usual"));
        }
        Ok(())
    }
}

/// This SDK with its version, this host and this process.
fn client_text() -> String {
    format!("rust/{} {}:{}", env!("CARGO_PKG_VERSION"), host(), std::process::id())
}

#[cfg(unix)]
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn host() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_else(|_| "unknown".into())
}
