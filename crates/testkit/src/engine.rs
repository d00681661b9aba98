//! An engine without rules: a test plays the engine's part of each session by hand, or lets it be played.
//!
//! For: tests of workers and agents. Not for: tests of the engine (the simulator has those).
//! Invariant: it sends only what the test sends, except in [`run_task`], which records everything at once.

use std::sync::Arc;

use async_trait::async_trait;
use consort_sdk::{Agent, Connect, Connection, Worker};
use consort_types::{
    Code, Error, Payload, Result, RunId, StepInstanceId, Token,
    worker::{FromWorker, Hello, JournalEntry, JournalRequest, TaskOffer, ToWorker},
};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::mpsc;

/// Messages that a session holds in each direction.
const SESSION_MESSAGES: usize = 64;

/// The engine's side of a [`Connect`]: each connection of a worker becomes a [`Session`] for the test.
#[derive(Clone, Debug)]
pub struct FakeEngine {
    sessions: mpsc::UnboundedSender<Session>,
    refusal: Arc<Mutex<Option<Error>>>,
}

/// The connections that workers made, in order.
pub type Sessions = mpsc::UnboundedReceiver<Session>;

impl FakeEngine {
    /// An engine, and the sessions that workers will open with it.
    pub fn new() -> (Self, Sessions) {
        let (sessions, opened) = mpsc::unbounded_channel();
        (Self { sessions, refusal: Arc::default() }, opened)
    }

    /// Refuses the next connection with this error.
    pub fn refuse_next(&self, error: Error) {
        *self.refusal.lock() = Some(error);
    }
}

#[async_trait]
impl Connect for FakeEngine {
    async fn connect(&self, hello: Hello) -> Result<Connection> {
        if let Some(error) = self.refusal.lock().take() {
            return Err(error);
        }
        let (connection, to_worker, from_worker) = Connection::pair(SESSION_MESSAGES);
        let session = Session { hello, to_worker, from_worker };
        self.sessions.send(session).map_err(|_| Error::new(Code::Stopping, "the test has ended"))?;
        Ok(connection)
    }
}

/// One session, seen from the engine. Dropping it closes the connection.
#[derive(Debug)]
pub struct Session {
    /// How the worker introduced itself.
    pub hello: Hello,
    to_worker: mpsc::Sender<ToWorker>,
    from_worker: mpsc::Receiver<FromWorker>,
}

impl Session {
    /// Sends a message to the worker.
    ///
    /// # Panics
    /// When the worker has left.
    pub async fn send(&self, message: ToWorker) {
        self.to_worker.send(message).await.expect("the worker is connected");
    }

    /// Closes the connection as a network does: what is under way in either direction is lost.
    pub fn disconnect(&mut self) {
        (self.to_worker, _) = mpsc::channel(1);
        (_, self.from_worker) = mpsc::channel(1);
    }

    /// Assigns a task.
    pub async fn offer(&self, offer: TaskOffer) {
        self.send(ToWorker::Task(Box::new(offer))).await;
    }

    /// The worker's next message; `None` when it has left. That the instance is alive is left out.
    pub async fn next(&mut self) -> Option<FromWorker> {
        loop {
            match self.from_worker.recv().await? {
                FromWorker::Alive => {}
                message => return Some(message),
            }
        }
    }

    /// The worker's next message, whatever it is.
    pub async fn next_of_all(&mut self) -> Option<FromWorker> {
        self.from_worker.recv().await
    }

    /// Takes the next message, which must be an entry to record.
    ///
    /// # Panics
    /// When it is another one.
    pub async fn entry(&mut self) -> (u32, JournalEntry) {
        match self.next().await {
            Some(FromWorker::Record { index, entry, .. }) => (index, entry),
            other => panic!("expected an entry, found {other:?}"),
        }
    }

    /// Answers an entry with itself.
    pub async fn record(&self, task: StepInstanceId, index: u32, entry: JournalEntry) {
        self.send(ToWorker::Recorded { task, index, entry }).await;
    }

    /// Takes the next message, which must be an entry, and records it as it is; returns it.
    ///
    /// # Panics
    /// When it is another one.
    pub async fn record_next(&mut self, task: StepInstanceId) -> JournalEntry {
        let (index, entry) = self.entry().await;
        self.record(task, index, entry.clone()).await;
        entry
    }
}

/// A task id for tests.
pub fn task(index: u32) -> StepInstanceId {
    StepInstanceId { run: RunId([1; 16]), scope: 0, index }
}

/// The first attempt of [`task`]`(0)` for a capability, with token 1 and an empty journal.
pub fn offer(capability: &str, input: &Value) -> TaskOffer {
    TaskOffer {
        task: task(0),
        token: Token(1),
        attempt: 1,
        capability: capability.into(),
        workflow: "test".into(),
        step: "step".into(),
        input: Payload::from_value(input),
        idempotency_key: "test-key".into(),
        deadline: None,
        journal: Vec::new(),
        traceparent: String::new(),
    }
}

/// Runs one attempt of a capability to its end and returns its output, or the error that it reports.
///
/// Entries are recorded at once; calls are answered by `answer`, pauses end at once, and signals bring `null`.
///
/// # Panics
/// When the agent's declaration is wrong.
pub async fn run_task(
    agent: Agent,
    capability: &str,
    input: &Value,
    mut answer: impl FnMut(&str, &Value) -> Result<Value>,
) -> Result<Value> {
    let (engine, mut sessions) = FakeEngine::new();
    let worker = tokio::spawn(Worker::new(engine).agent(agent).run(std::future::pending()));
    let Some(mut session) = sessions.recv().await else {
        worker.await.expect("the worker does not panic")?;
        unreachable!("a worker without a session has failed");
    };
    session.offer(offer(capability, input)).await;
    let result = loop {
        match session.next().await {
            Some(FromWorker::Record { task, index, mut entry, .. }) => {
                entry.result = entry.result.or_else(|| Some(reply(&entry.request, &mut answer)));
                session.record(task, index, entry).await;
            }
            Some(FromWorker::Complete { output, .. }) => break Ok(document(&output)),
            Some(FromWorker::Fail { error, .. }) => break Err(error),
            Some(FromWorker::Heartbeat { .. } | FromWorker::Stream { .. }) => {}
            other => panic!("nothing is pending, but the worker sends {other:?}"),
        }
    };
    worker.abort();
    result
}

fn reply(request: &JournalRequest, answer: &mut impl FnMut(&str, &Value) -> Result<Value>) -> Result<Payload> {
    match request {
        JournalRequest::Call { capability, input, .. } => {
            answer(capability, &document(input)).map(|value| Payload::from_value(&value))
        }
        _ => Ok(Payload::null()),
    }
}

/// An inline payload as a value.
///
/// # Panics
/// When it is a blob or not JSON.
pub fn document(payload: &Payload) -> Value {
    let bytes = payload.bytes().expect("an inline payload");
    serde_json::from_slice(bytes).expect("payloads are JSON")
}
