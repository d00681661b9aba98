//! A server with an engine in memory, and workers that speak to it over loopback.
//!
//! For: the tests beside it. Not for: starting a server in earnest.
//! Invariant: everything ends with the value: no thread, port or file is left.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc, time::Duration};

use consort_api_grpc::{ApiConfig, ServeConfig, api, serve};
use consort_engine::{
    Config, Handle, Parts, StartRequest,
    view::{RunStatus, StepState},
};
use consort_log::MemoryLogDisk;
use consort_proto::{
    convert,
    v1::{self, server_message::Kind as Says, worker_message::Kind, worker_service_client::WorkerServiceClient},
};
use consort_store::MemoryStore;
use consort_types::{Error, Payload, RunId, Secret, Span, limits, worker::JournalEntry};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc, sync::oneshot};
use tonic::{Status, Streaming, transport::Channel};

/// One step that calls the capability `work` with the run's input.
pub(crate) const WORK: &str = "workflow: work\nversion: '1.0'\ndescription: Works.\ninput: { n: {} }\nsteps:\n  a: { capability: work, with: { n: \"${{ input.n }}\" } }\noutput: ${{ steps.a.output }}\n";
/// The same, with another capability.
pub(crate) const OTHER: &str =
    "workflow: other\nsteps:\n  a: { capability: other, with: {} }\noutput: ${{ steps.a.output }}\n";

/// Longer than anything takes here; a test that waits so long has failed.
const BOUND: Duration = Duration::from_secs(30);

/// What something gives, or a failed test where nothing comes.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// A run that has ended, with its documents in full.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: RunStatus,
    pub(crate) error: Option<Error>,
    pub(crate) input: String,
    pub(crate) output: Option<String>,
}

/// A server on loopback.
pub(crate) struct Server {
    pub(crate) engine: Handle,
    pub(crate) address: SocketAddr,
    pub(crate) channel: Channel,
    stop: Option<oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<()>,
}

impl Server {
    /// A server with the workflows above.
    pub(crate) async fn start() -> Self {
        Self::with(None, Config::default(), ServeConfig::default()).await
    }

    pub(crate) async fn with(token: Option<&str>, engine: Config, config: ServeConfig) -> Self {
        let heartbeat_timeout = engine.heartbeat_timeout;
        let (disk, store) = (MemoryLogDisk::new(), MemoryStore::new());
        let (log, store) = (Box::new(disk.open().unwrap()), Arc::new(store));
        let parts = Parts { log, store: store.clone(), blobs: store };
        let engine = Handle::open(parts, engine).await.unwrap();
        for source in [WORK, OTHER] {
            engine.deploy("default", source).await.unwrap();
        }
        let token = token.map(|token| Secret::new("token", token).unwrap());
        let api = api(engine.clone(), ApiConfig { token, heartbeat_timeout });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(serve(listener, api, config, async {
            let _ = stopped.await;
        }));
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        Self { engine, address, channel, stop: Some(stop), served }
    }

    /// Ends the serve loop, and waits until it has ended.
    pub(crate) async fn close(mut self) {
        self.stop.take();
        soon("the end of the server", self.served).await.unwrap();
    }

    /// Starts a run with `{"n": n}`; its id.
    pub(crate) async fn run(&self, workflow: &str, n: &Value) -> RunId {
        let input = Some(document(&json!({ "n": n }).to_string()));
        let (namespace, workflow) = ("default".to_owned(), workflow.to_owned());
        let request = StartRequest { namespace, workflow, input, ..StartRequest::default() };
        self.engine.start(request).await.unwrap().run
    }

    /// Sends a signal to a run whose first step has parked, or parks: a signal that came before would be an answer to
    /// the worker.
    pub(crate) async fn signal(&self, run: RunId, name: &str, payload: &str) {
        let parked = async {
            while self.engine.run_tree("default", run).await.unwrap()[0].state != StepState::Parked {
                tokio::task::yield_now().await;
            }
        };
        soon("the task to park", parked).await;
        self.engine.signal("default", run, name, document(payload)).await.unwrap();
    }

    /// The end of a run.
    pub(crate) async fn ended(&self, run: RunId) -> Ended {
        let view = soon("the end of the run", self.engine.wait_end("default", run)).await.unwrap();
        let input = self.text(view.input).await;
        let output = match view.output {
            Some(output) => Some(self.text(output).await),
            None => None,
        };
        Ended { status: view.summary.status, error: view.summary.error, input, output }
    }

    /// A document in full.
    async fn text(&self, document: Payload) -> String {
        String::from_utf8(self.engine.payload("default", document).await.unwrap().to_vec()).unwrap()
    }

    /// Opens a stream and sends `Hello`.
    pub(crate) async fn worker(&self, hello: v1::Hello) -> Result<Worker, Status> {
        let mut worker = Worker::open(&self.channel).await?;
        worker.say(0, Kind::Hello(hello)).await;
        let batch = worker.batch().await?.expect("an answer to hello");
        match batch.messages.into_iter().next().and_then(|message| message.kind) {
            Some(Says::Welcome(welcome)) => worker.welcome = welcome,
            other => panic!("expected a welcome, found {other:?}"),
        }
        Ok(worker)
    }

    /// A worker with one instance of the agent `worker`, which has the capability `work`.
    pub(crate) async fn one(&self, credit: u32) -> Worker {
        self.worker(hello(vec![instance("worker", "work", credit)])).await.unwrap()
    }
}

pub(crate) fn hello(instances: Vec<v1::HelloInstance>) -> v1::Hello {
    v1::Hello {
        protocol: 1,
        protocol_min: 1,
        instances,
        client: "test/1 here:1".to_owned(),
        worker: "one".to_owned(),
        ..Default::default()
    }
}

pub(crate) fn instance(agent: &str, capability: &str, credit: u32) -> v1::HelloInstance {
    let capability = v1::CapabilityDeclaration { name: capability.to_owned(), ..Default::default() };
    let agent = v1::AgentDeclaration {
        name: agent.to_owned(),
        version: "1.0.0".to_owned(),
        capabilities: vec![capability],
        ..Default::default()
    };
    v1::HelloInstance { agent: Some(agent), credit, ..Default::default() }
}

/// A worker whose every message a test chooses.
pub(crate) struct Worker {
    said: Option<mpsc::Sender<v1::WorkerMessages>>,
    heard: Streaming<v1::ServerMessages>,
    waiting: VecDeque<v1::ServerMessage>,
    pub(crate) welcome: v1::Welcome,
}

impl Worker {
    pub(crate) async fn open(channel: &Channel) -> Result<Self, Status> {
        let (said, mut says) = mpsc::channel(16);
        let mut client = WorkerServiceClient::new(channel.clone())
            .max_decoding_message_size(limits::GRPC_BATCH_BYTES_MAX)
            .max_encoding_message_size(usize::MAX);
        let batches = futures::stream::poll_fn(move |context| says.poll_recv(context));
        let heard = soon("the answer", client.connect(batches)).await?.into_inner();
        Ok(Self { said: Some(said), heard, waiting: VecDeque::default(), welcome: v1::Welcome::default() })
    }

    pub(crate) async fn say(&self, instance: u32, kind: Kind) {
        self.say_all(vec![v1::WorkerMessage { instance, kind: Some(kind) }]).await;
    }

    /// One batch. Where the server has ended the stream already, the message is lost.
    pub(crate) async fn say_all(&self, messages: Vec<v1::WorkerMessage>) {
        let said = self.said.as_ref().expect("the worker has not closed its side");
        let _ = said.send(v1::WorkerMessages { messages }).await;
    }

    /// Closes the worker's side; the server's end follows.
    pub(crate) async fn leave(mut self) {
        self.said = None;
        while soon("the end of the stream", self.heard.message()).await.expect("a stream that ends well").is_some() {}
    }

    pub(crate) async fn batch(&mut self) -> Result<Option<v1::ServerMessages>, Status> {
        soon("a batch", self.heard.message()).await
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Result<Option<(u32, Says)>, Status> {
        while self.waiting.is_empty() {
            let Some(batch) = self.batch().await? else { return Ok(None) };
            self.waiting.extend(batch.messages);
        }
        let message = self.waiting.pop_front().expect("it is not empty");
        Ok(Some((message.instance, message.kind.expect("a kind"))))
    }

    pub(crate) async fn heard(&mut self) -> (u32, Says) {
        self.next().await.unwrap().expect("a message")
    }

    pub(crate) async fn task(&mut self) -> v1::Task {
        match self.heard().await.1 {
            Says::Task(task) => task,
            other => panic!("expected a task, found {other:?}"),
        }
    }

    pub(crate) async fn recorded(&mut self) -> v1::Recorded {
        match self.heard().await.1 {
            Says::Recorded(recorded) => recorded,
            other => panic!("expected a recorded entry, found {other:?}"),
        }
    }

    pub(crate) async fn refused(&mut self) -> (v1::Attempt, Error) {
        match self.heard().await.1 {
            Says::Refused(refused) => (refused.attempt.unwrap(), convert::error_from_wire(refused.error.unwrap())),
            other => panic!("expected a refusal, found {other:?}"),
        }
    }

    /// The status that the stream ends with, whatever comes before it.
    pub(crate) async fn end(mut self) -> Status {
        loop {
            match self.batch().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("expected a status, but the stream ended well"),
                Err(status) => return status,
            }
        }
    }
}

pub(crate) fn complete(task: &v1::Task, output: &str) -> Kind {
    Kind::Complete(v1::Complete { attempt: task.attempt.clone(), output: output.to_owned().into() })
}

pub(crate) fn fail(task: &v1::Task, message: &str, retryable: bool) -> Kind {
    let error = Some(v1::Error { code: "C0304".to_owned(), message: message.to_owned(), ..Default::default() });
    Kind::Fail(v1::Fail { attempt: task.attempt.clone(), error, retryable, retry_after_us: None })
}

pub(crate) fn record(task: &v1::Task, index: u32, entry: JournalEntry) -> Kind {
    Kind::Record(v1::Record { attempt: task.attempt.clone(), index, entry: Some(entry.into()) })
}

pub(crate) fn document(text: &str) -> Payload {
    Payload::inline(text.as_bytes())
}

/// The error inside a status.
pub(crate) fn error_of(status: &Status) -> Error {
    let bytes = status.metadata().get_bin("consort-error-bin").unwrap_or_else(|| panic!("no error in {status:?}"));
    convert::error_from_wire(v1::Error::decode(bytes.to_bytes().unwrap()).unwrap())
}

/// An engine that counts silent workers, and their tasks, as lost at once.
pub(crate) fn hasty() -> Config {
    Config { grace: Span::from_millis(100), heartbeat_timeout: Span::from_millis(600), ..Config::default() }
}
