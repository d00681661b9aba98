//! A worker with one capability, `work`, on a fake engine.
//!
//! For: the tests of this suite. Not for: agents' tests (`testkit::engine::run_task` is shorter).
//! Invariant: one task, `task(0)`; its offers carry the rig's token.

use consort_sdk::{Agent, Capability, TaskContext, TaskError, Worker};
use consort_testkit::engine::{FakeEngine, Session, Sessions, document, offer};
use consort_types::{
    Error, Payload, Result, Token,
    worker::{FromWorker, JournalEntry},
};
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinHandle};

/// See the module.
pub(crate) struct Rig {
    pub(crate) session: Session,
    sessions: Sessions,
    pub(crate) worker: JoinHandle<Result<()>>,
    shutdown: Option<oneshot::Sender<()>>,
    token: u64,
}

impl Rig {
    /// Starts a worker whose capability `work` is this code.
    pub(crate) async fn start<F, Fut>(code: F) -> Self
    where
        F: Fn(TaskContext, Value) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, TaskError>> + Send + 'static,
    {
        Self::start_agent(Agent::new("test").capability(Capability::from_fn("work", code))).await
    }

    /// Starts a worker that hosts this agent.
    pub(crate) async fn start_agent(agent: Agent) -> Self {
        let (engine, mut sessions) = FakeEngine::new();
        let (shutdown, stopped) = oneshot::channel::<()>();
        let worker = Worker::new(engine).agent(agent).concurrency(4).run(async move {
            // A test that ends without a word is no request to leave.
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
        });
        let worker = tokio::spawn(worker);
        let session = sessions.recv().await.expect("the worker connects");
        Self { session, sessions, worker, shutdown: Some(shutdown), token: 1 }
    }

    /// Offers the task, with this journal, under the token of the last offer.
    pub(crate) async fn offer(&self, journal: Vec<JournalEntry>) {
        self.offer_input(&json!(null), journal).await;
    }

    /// Offers the task, with this input and journal, under the token of the last offer.
    pub(crate) async fn offer_input(&self, input: &Value, journal: Vec<JournalEntry>) {
        let mut offer = offer("work", input);
        offer.token = Token(self.token);
        offer.journal = journal;
        self.session.offer(offer).await;
    }

    /// Offers the task under the next token.
    pub(crate) async fn offer_next(&mut self, input: &Value, journal: Vec<JournalEntry>) {
        self.token += 1;
        self.offer_input(input, journal).await;
    }

    /// The output of the task, which must be the worker's next message.
    pub(crate) async fn output(&mut self) -> Value {
        match self.session.next().await {
            Some(FromWorker::Complete { output, token, .. }) => {
                assert_eq!(token, Token(self.token));
                document(&output)
            }
            other => panic!("expected an output, found {other:?}"),
        }
    }

    /// Closes the connection and waits for the next one.
    pub(crate) async fn reconnect(&mut self) {
        self.session.disconnect();
        self.session = self.sessions.recv().await.expect("the worker connects again");
    }

    /// Asks the worker to leave.
    pub(crate) fn shut_down(&mut self) {
        let shutdown = self.shutdown.take().expect("the worker is asked to leave once");
        shutdown.send(()).expect("the worker runs");
    }
}

/// A document as a payload.
pub(crate) fn payload(value: &Value) -> Payload {
    Payload::from_value(value)
}

/// The failure in a message, and whether it is retryable.
pub(crate) fn fails(message: Option<FromWorker>) -> (Error, bool) {
    match message {
        Some(FromWorker::Fail { error, retryable, .. }) => (error, retryable),
        other => panic!("expected a failure, found {other:?}"),
    }
}

/// What a parked task waits for.
pub(crate) fn parks(message: Option<FromWorker>) -> Vec<u32> {
    match message {
        Some(FromWorker::Park { waiting, .. }) => waiting,
        other => panic!("expected a park, found {other:?}"),
    }
}

/// Whether a message is only a heartbeat of the instance.
pub(crate) fn is_beat(message: Option<&FromWorker>) -> bool {
    matches!(message, Some(FromWorker::Alive))
}
