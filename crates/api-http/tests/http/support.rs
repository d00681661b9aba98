//! A server with an engine in memory and a client for it.
//!
//! For: the tests beside it. Not for: starting a server in earnest.
//! Invariant: everything ends with the value: no thread, port or file is left.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc};

use consort_api_http::{ApiConfig, Handle, ServeConfig, router, serve};
use consort_engine::{Archive, Backup, Config, Frozen, Locality, Parts, Session};
use consort_log::MemoryLogDisk;
use consort_store::MemoryStore;
use consort_testkit::http::{Client, Response};
use consort_types::{
    EffectClass, Payload, Result, Seq, Time,
    worker::{AgentDeclaration, CapabilityDeclaration, FromWorker, Hello, JournalEntry, JournalRequest, ToWorker},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime, sync::oneshot, task::JoinHandle};

/// One step that answers with its input.
pub(crate) const ECHO: &str = "workflow: echo\nversion: '1.0'\ndescription: Says it again.\ninput: { n: {} }\nsteps:\n  a: { capability: echo, with: { n: \"${{ input.n }}\" } }\noutput: ${{ steps.a.output }}\n";
/// Waits for the signal `go`, then answers with its payload.
pub(crate) const WAIT: &str = "workflow: wait\nsteps:\n  a: { wait: { signal: go } }\noutput: ${{ steps.a.output }}\n";
/// Asks a person.
pub(crate) const ASK: &str = "workflow: ask\ninput: { what: {} }\nsteps:\n  a: { approve: { title: 'Ship it?', details: \"${{ input.what }}\" } }\n";
/// Disconnects the instance that runs it.
pub(crate) const LOSE: &str = "workflow: lose\nsteps:\n  a: { capability: lose }\noutput: ${{ steps.a.output }}\n";
/// Exposes a value, answers an update `move` with its input, and ends.
const ASKED: &str = "workflow: asked\nsteps:\n  a: { capability: asked }\n";

/// Counts the rows of a backup instead of writing them.
struct Counting;

impl Archive for Counting {
    fn backup(&self, frozen: Frozen, _folder: &Path) -> Result<Backup> {
        let rows = frozen.snapshot().scan(b"", &[0xff; 8], usize::MAX)?.len() as u64;
        let record = frozen.snapshot().applied();
        Ok(Backup { record, time: consort_engine::time_of(frozen.snapshot())?, rows, ..NOTHING })
    }
}

const NOTHING: Backup = Backup {
    record: Seq::ZERO,
    time: Time(0),
    rows: 0,
    blobs: 0,
    missing_blobs: 0,
    bytes: 0,
    files_written: 0,
    bytes_written: 0,
};

/// A server on loopback.
pub(crate) struct Server {
    pub(crate) runtime: Runtime,
    pub(crate) engine: Handle,
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    served: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(ApiConfig::default(), ServeConfig::default())
    }

    pub(crate) fn with(api: ApiConfig, config: ServeConfig) -> Self {
        let runtime = Runtime::new().unwrap();
        let (disk, store) = (MemoryLogDisk::new(), MemoryStore::new());
        let (log, store) = (Box::new(disk.open().unwrap()), Arc::new(store));
        let parts = Parts { log, store: store.clone(), blobs: store };
        let engine = runtime.block_on(Handle::open(parts, Config::default())).unwrap().with_archive(Arc::new(Counting));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let served = serve(listener, router(engine.clone(), api), config, async {
            let _ = stopped.await;
        });
        let served = runtime.spawn(served);
        Self { runtime, engine, address, stop: Some(stop), served: Some(served) }
    }

    /// A server with every workflow above and the agents that they need.
    pub(crate) fn ready() -> Self {
        let server = Self::start();
        server.attach("echoer", "echo", EffectClass::Idempotent, echo);
        server.attach("loser", "lose", EffectClass::Write, lose);
        for source in [ECHO, WAIT, ASK, LOSE] {
            server.deploy(source);
        }
        server
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.address)
    }

    pub(crate) fn deploy(&self, source: &str) {
        self.runtime.block_on(self.engine.deploy("default", source)).unwrap();
    }

    /// A server with the workflow [`ASKED`] and its agent.
    pub(crate) fn asked() -> Self {
        let server = Self::start();
        server.attach("asked", "asked", EffectClass::Idempotent, asked);
        server.deploy(ASKED);
        server
    }

    fn attach<F: Future<Output = ()> + Send + 'static>(
        &self,
        agent: &str,
        capability: &str,
        effect: EffectClass,
        work: fn(Session) -> F,
    ) {
        drop(self.join(declared(agent, "1", capability, effect), work));
    }

    /// Joins as an instance of an agent; it leaves where the task is aborted.
    pub(crate) fn join<F: Future<Output = ()> + Send + 'static>(
        &self,
        agent: AgentDeclaration,
        work: impl FnOnce(Session) -> F,
    ) -> JoinHandle<()> {
        let hello = Hello {
            namespace: "default".to_owned(),
            agent,
            concurrency: 64,
            held: Vec::new(),
            client: "test/1".to_owned(),
            worker: String::new(),
            labels: BTreeMap::new(),
        };
        let session = self.runtime.block_on(self.engine.attach(hello, Locality::Local)).unwrap();
        self.runtime.spawn(work(session))
    }

    /// Starts a run and returns its id.
    pub(crate) fn run(&self, workflow: &str, input: &Value) -> String {
        let answer = self.client().post("/v1/runs", &json!({"workflow": workflow, "input": input})).unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["run"].as_str().unwrap().to_owned()
    }

    /// The run, once it has ended.
    pub(crate) fn ended(&self, run: &str) -> Value {
        let run = self.client().get(&format!("/v1/runs/{run}?wait=60s")).unwrap().json();
        assert!(run["ended_at"].is_string(), "{run}");
        run
    }

    /// Stops the server and waits until it has stopped.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(served) = self.served.take() {
            self.runtime.block_on(served).unwrap();
        }
    }
}

/// An agent of one capability.
pub(crate) fn declared(agent: &str, version: &str, capability: &str, effect: EffectClass) -> AgentDeclaration {
    let capability = CapabilityDeclaration {
        name: capability.to_owned(),
        description: "for tests".to_owned(),
        effect,
        input_schema: true.into(),
        output_schema: true.into(),
        cost_hint_microdollars: None,
        time_hint: None,
    };
    AgentDeclaration {
        name: agent.to_owned(),
        version: version.to_owned(),
        description: "for tests".to_owned(),
        capabilities: vec![capability],
        labels: BTreeMap::new(),
        subscriptions: Vec::new(),
    }
}

/// Answers every task with its input.
pub(crate) async fn echo(mut session: Session) {
    while let Some(messages) = session.receive().await {
        for message in messages {
            let ToWorker::Task(offer) = message else { continue };
            let report = FromWorker::Complete { task: offer.task, token: offer.token, output: offer.input };
            if session.sender().send(report).await.is_err() {
                return;
            }
        }
    }
}

/// Does what [`ASKED`] says, one entry after the other.
async fn asked(mut session: Session) {
    let mut held = None;
    while let Some(messages) = session.receive().await {
        for message in messages {
            let (index, result) = match message {
                ToWorker::Task(offer) => {
                    held = Some((offer.task, offer.token));
                    (0, None)
                }
                ToWorker::Recorded { index, entry, .. } if entry.result.is_some() => (index + 1, entry.result),
                _ => continue,
            };
            let Some((task, token)) = held else { continue };
            let document = |json: &str| Payload::inline(json.as_bytes());
            let request = match index {
                0 => JournalRequest::Expose { name: "stage".to_owned(), value: document("{\"n\":1}") },
                1 => {
                    let schema = Some(document("{\"type\":\"integer\"}"));
                    JournalRequest::Update { name: "move".to_owned(), schema }
                }
                2 => JournalRequest::Answer { update: 1, value: result.and_then(Result::ok), rejection: None },
                _ => {
                    let report = FromWorker::Complete { task, token, output: Payload::null() };
                    drop(session.sender().send(report).await);
                    continue;
                }
            };
            let entry = JournalEntry { title: None, request, after: Vec::new(), result: None };
            drop(session.sender().send(FromWorker::Record { task, token, index, entry }).await);
        }
    }
}

/// Leaves with the first task that it is given.
async fn lose(mut session: Session) {
    while let Some(messages) = session.receive().await {
        if messages.iter().any(|message| matches!(message, ToWorker::Task(_))) {
            return;
        }
    }
}

/// The problem in an answer, checked for the form that all have.
pub(crate) fn problem(answer: &Response) -> Value {
    assert_eq!(answer.headers["content-type"], "application/problem+json", "{}", answer.text());
    let problem = answer.json();
    assert_eq!(problem["status"], answer.status);
    let code = problem["code"].as_str().unwrap();
    assert_eq!(problem["type"], format!("/v1/errors/{code}"));
    assert!(!problem["title"].as_str().unwrap().is_empty() && !problem["detail"].as_str().unwrap().is_empty());
    problem
}

/// Status and code of a refusal.
pub(crate) fn refusal(answer: &Response) -> (u16, String) {
    (answer.status, problem(answer)["code"].as_str().unwrap().to_owned())
}
