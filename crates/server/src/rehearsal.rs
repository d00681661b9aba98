//! An engine in memory with mocked agents, whose time is skipped: to try a workflow in milliseconds.
//!
//! For: tests of workflows. Not for: what is mocked (the caller answers), nor for serving clients: nothing is kept.
//! Invariant: the engine is the one that serves; only log, store and clock differ.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use consort_engine::{Config, Handle, Parts, SkippedTime, Waits};
use consort_log::MemoryLogDisk;
use consort_sdk::{Agent, Capability, TaskContext, TaskError, Worker};
use consort_store::MemoryStore;
use consort_types::{Code, Error, Result, Span, limits};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::host::InProcess;

/// The pause between two looks at an engine that is not settled.
const LOOK_AGAIN: Duration = Duration::from_micros(200);
/// How long an engine may take to settle with nothing but mocks.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);

/// The capabilities that each mocked agent offers, by the agent's name.
pub type Offers = BTreeMap<String, BTreeSet<String>>;

/// An attempt of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Called {
    /// The capability.
    pub capability: String,
    /// The step's path.
    pub step: String,
    /// The attempt, from 1.
    pub attempt: u32,
    /// The input.
    pub input: Value,
    /// By this the attempts of a run are ordered as they became ready, however they were run.
    pub order: (u64, u32, u32),
}

/// How a mock ends an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Mocked {
    /// With an output.
    Output(Value),
    /// With a failure; whether another attempt may help.
    Failure {
        /// What went wrong.
        message: String,
        /// Its code.
        code: Code,
        /// Whether the retry policy of the step applies.
        retryable: bool,
    },
    /// Not at all: until it is cancelled, or out of time.
    Hangs,
}

/// An engine in memory.
pub struct Rehearsal {
    handle: Handle,
    router: axum::Router,
    skipped: SkippedTime,
    hanging: Arc<AtomicUsize>,
    stop: CancellationToken,
    agents: JoinHandle<Result<()>>,
}

impl Rehearsal {
    /// Opens an engine, with agents whose attempts are ended by `answer`.
    pub async fn open(offers: Offers, answer: impl Fn(&Called) -> Mocked + Send + Sync + 'static) -> Result<Self> {
        let skipped = SkippedTime::default();
        let store = Arc::new(MemoryStore::new());
        let log = MemoryLogDisk::new().open()?;
        let parts = Parts { log: Box::new(log), store: Arc::clone(&store) as _, blobs: store };
        let handle = Handle::open(parts, Config { skipped: skipped.clone(), ..Config::default() }).await?;
        let hanging = Arc::new(AtomicUsize::new(0));
        let mock = Mock { answer: Arc::new(answer), hanging: Arc::clone(&hanging) };
        let mut worker = Worker::new(InProcess::new(handle.clone())).concurrency(limits::INSTANCE_CREDIT_MAX);
        let count = offers.len();
        for (name, capabilities) in offers {
            let agent = Agent::new(name).version("0.0.0");
            let offer = |agent: Agent, name: String| agent.capability(mock.capability(name));
            worker = worker.agent(capabilities.into_iter().fold(agent, offer));
        }
        let stop = CancellationToken::new();
        let agents = tokio::spawn(worker.run(stop.clone().cancelled_owned()));
        let rehearsal =
            Self { router: crate::doors::in_process(handle.clone()), handle, skipped, hanging, stop, agents };
        rehearsal.wait_for_agents(count).await?;
        Ok(rehearsal)
    }

    async fn wait_for_agents(&self, count: usize) -> Result<()> {
        let until = Instant::now() + SETTLES_WITHIN;
        while self.handle.status().await?.instances < count {
            if self.agents.is_finished() || Instant::now() > until {
                return Err(Error::new(Code::Internal, "the mocked agents cannot be declared"));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// Its HTTP interface, to be called without a network.
    pub fn router(&self) -> axum::Router {
        self.router.clone()
    }

    /// Waits until nothing is left to do but what time or a client brings.
    pub async fn settle(&self) -> Result<Waits> {
        let until = Instant::now() + SETTLES_WITHIN;
        let mut before = None;
        loop {
            let waits = Waits::of(&self.handle).await?;
            // A report that is on its way belongs to a task that is held.
            let still = waits.settled && waits.held == self.hanging.load(Ordering::Acquire);
            // Seen twice, so that what an end has caused was begun too.
            if still && before == Some(waits.applied) {
                return Ok(waits);
            }
            before = still.then_some(waits.applied);
            if Instant::now() > until {
                let message = format!("the engine has not settled after {} s", SETTLES_WITHIN.as_secs());
                return Err(Error::new(Code::Overloaded, message).hint("let the test do less"));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Skips time.
    pub fn skip(&self, span: Span) {
        self.skipped.add(span);
    }

    /// Ends it.
    pub async fn close(self) {
        self.stop.cancel();
        self.handle.stop_now().await;
        self.agents.abort();
        // An aborted task has no result.
        let _ = self.agents.await;
    }
}

/// What is behind every mocked capability.
#[derive(Clone)]
struct Mock {
    answer: Arc<dyn Fn(&Called) -> Mocked + Send + Sync>,
    hanging: Arc<AtomicUsize>,
}

impl Mock {
    fn capability(&self, name: String) -> Capability {
        let mock = self.clone();
        let code = move |ctx: TaskContext, input: Value| {
            let mock = mock.clone();
            async move { mock.end(&ctx, input).await }
        };
        Capability::from_fn(name, code).input_schema(json!(true)).output_schema(json!(true))
    }

    async fn end(&self, ctx: &TaskContext, input: Value) -> std::result::Result<Value, TaskError> {
        let task = ctx.task();
        let called = Called {
            capability: ctx.capability().to_owned(),
            step: ctx.step().to_owned(),
            attempt: ctx.attempt(),
            input,
            order: (ctx.token().0, task.scope, task.index),
        };
        match (self.answer)(&called) {
            Mocked::Output(output) => Ok(output),
            Mocked::Failure { message, code, retryable: true } => Err(TaskError::retryable(message).code(code)),
            Mocked::Failure { message, code, retryable: false } => Err(TaskError::permanent(message).code(code)),
            Mocked::Hangs => {
                let _hanging = Hanging::begin(&self.hanging);
                ctx.cancelled().await;
                Err(TaskError::permanent("cancelled"))
            }
        }
    }
}

/// Counts an attempt that hangs, until it is dropped.
struct Hanging(Arc<AtomicUsize>);

impl Hanging {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
