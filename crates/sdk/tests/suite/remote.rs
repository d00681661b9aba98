//! The worker over gRPC, against a small server that hands each stream to a fake engine.
//!
//! For: what the transport promises: refusals with their codes, reclaim, batches, leaving. Not for: a real server (see
//! `tests/server`).
//! Invariant: real time passes here, but nothing waits for it: the fake engine controls what happens next.

use std::{net::SocketAddr, pin::Pin, time::Duration};

use consort_proto::{
    PROTOCOL,
    convert::{error_to_wire, hellos_from_wire, report_from_wire},
    v1::{
        self,
        server_message::Kind,
        worker_message,
        worker_service_server::{WorkerService, WorkerServiceServer},
    },
};
use consort_sdk::{Agent, Capability, Connect as _, Remote, TaskContext, TaskError, Worker};
use consort_testkit::engine::{FakeEngine, Session, Sessions, document, offer, task};
use consort_types::{
    Code, Error, Result, Token,
    worker::{Delta, FromWorker, JournalEntry, ToWorker},
};
use futures::{Stream, StreamExt as _};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap, metadata::MetadataValue};

const TOKEN: &str = "Bearer open-sesame";

/// Serves the worker protocol by way of a fake engine.
struct FakeServer {
    engine: FakeEngine,
    welcome: v1::Welcome,
}

type Answers = Pin<Box<dyn Stream<Item = Result<v1::ServerMessages, Status>> + Send>>;

fn refusal(error: Error) -> Status {
    let mut metadata = MetadataMap::new();
    let bytes = error_to_wire(error).encode_to_vec();
    metadata.insert_bin("consort-error-bin", MetadataValue::from_bytes(&bytes));
    Status::with_metadata(tonic::Code::FailedPrecondition, "refused", metadata)
}

#[tonic::async_trait]
impl WorkerService for FakeServer {
    type ConnectStream = Answers;

    async fn connect(&self, request: Request<Streaming<v1::WorkerMessages>>) -> Result<Response<Answers>, Status> {
        if request.metadata().get("authorization").is_none_or(|token| token != TOKEN) {
            return Err(Status::unauthenticated("no token"));
        }
        let mut batches = request.into_inner();
        let first = batches.message().await?.and_then(|batch| batch.messages.into_iter().next());
        let Some(worker_message::Kind::Hello(hello)) = first.and_then(|message| message.kind) else {
            return Err(Status::invalid_argument("`hello` comes first"));
        };
        let mut hellos = hellos_from_wire(hello).map_err(refusal)?;
        let connection = self.engine.connect(hellos.remove(0)).await.map_err(refusal)?;
        let reports = connection.from_worker;
        tokio::spawn(async move {
            while let Ok(Some(batch)) = batches.message().await {
                for message in batch.messages {
                    let report = report_from_wire(message.kind.expect("a kind")).expect("a report");
                    if reports.send(report).await.is_err() {
                        return;
                    }
                }
            }
        });
        let welcome = one(Kind::Welcome(self.welcome.clone()));
        let rest = futures::stream::unfold(connection.to_worker, |mut messages| async move {
            messages.recv().await.map(|message| (one(message.into()), messages))
        });
        Ok(Response::new(Box::pin(futures::stream::once(async { welcome }).chain(rest).map(Ok))))
    }
}

fn one(kind: Kind) -> v1::ServerMessages {
    v1::ServerMessages { messages: vec![v1::ServerMessage { instance: 0, kind: Some(kind) }] }
}

/// A worker with the capability `work`, connected over gRPC to a fake engine.
struct Wire {
    engine: FakeEngine,
    sessions: Sessions,
    address: SocketAddr,
}

impl Wire {
    async fn start(protocol: u32) -> Self {
        let (engine, sessions) = FakeEngine::new();
        let welcome =
            v1::Welcome { protocol, heartbeat_interval_us: 5_000, batch_bytes_max: 100_000, ..v1::Welcome::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = WorkerServiceServer::new(FakeServer { engine: engine.clone(), welcome });
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        let serving = tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming);
        tokio::spawn(async move { serving.await.unwrap() });
        Self { engine, sessions, address }
    }

    fn remote(&self) -> Remote {
        Remote::new(format!("http://{}", self.address)).token("open-sesame")
    }

    fn worker<F, Fut>(&self, code: F) -> Worker
    where
        F: Fn(TaskContext, Value) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, TaskError>> + Send + 'static,
    {
        Worker::new(self.remote()).agent(Agent::new("test").capability(Capability::from_fn("work", code)))
    }

    async fn session(&mut self) -> Session {
        self.sessions.recv().await.expect("the worker connects")
    }
}

async fn echo(_: TaskContext, input: Value) -> Result<Value, TaskError> {
    Ok(input)
}

async fn output(session: &mut Session) -> Value {
    match session.next().await {
        Some(FromWorker::Complete { output, .. }) => document(&output),
        other => panic!("expected an output, found {other:?}"),
    }
}

#[tokio::test]
async fn a_task_goes_there_and_back_with_its_journal_and_partial_output() {
    let mut wire = Wire::start(PROTOCOL).await;
    let worker = wire.worker(|ctx: TaskContext, input: Value| async move {
        ctx.stream_text("adding");
        let sum: i64 = ctx.call("test.add", &input).await?;
        Ok(json!(sum + ctx.run("two", || async { Ok(2) }).await?))
    });
    let worker = worker.label("zone", "eu").concurrency(3);
    let worker = tokio::spawn(worker.run(std::future::pending()));
    let mut session = wire.session().await;
    assert_eq!((session.hello.concurrency, session.hello.agent.name.as_str()), (3, "test"));
    assert_eq!(session.hello.labels["zone"], "eu");
    assert!(session.hello.client.starts_with("rust/"), "{}", session.hello.client);

    session.offer(offer("work", &json!({"a": 1, "b": 2}))).await;
    let (mut shown, mut sum) = (None, None);
    while shown.is_none() || sum.is_none() {
        match session.next().await {
            Some(FromWorker::Stream { delta, .. }) => shown = Some(delta),
            Some(FromWorker::Record { index, mut entry, .. }) => {
                entry.result = Some(Ok(consort_types::Payload::from_value(&json!(3))));
                session.record(task(0), index, entry.clone()).await;
                sum = Some(entry);
            }
            other => panic!("expected an entry or partial output, found {other:?}"),
        }
    }
    assert_eq!(shown, Some(Delta::Text { text: "adding".into() }));
    let two = session.record_next(task(0)).await;
    assert_eq!(output(&mut session).await, json!(5));

    // A replay, in another attempt, makes no requests.
    let mut again = offer("work", &json!({"a": 1, "b": 2}));
    again.token = Token(2);
    again.journal = vec![sum.unwrap(), two];
    session.offer(again).await;
    let answer = loop {
        match session.next().await {
            Some(FromWorker::Stream { .. }) => {}
            other => break other,
        }
    };
    assert!(matches!(answer, Some(FromWorker::Complete { token: Token(2), .. })), "{answer:?}");
    worker.abort();
}

#[tokio::test]
async fn refusals_keep_their_code_and_end_the_worker() {
    let wire = Wire::start(PROTOCOL).await;
    let refused = Error::new(Code::BadName, "no such namespace").hint("make it");
    wire.engine.refuse_next(refused.clone());
    assert_eq!(wire.worker(echo).run(std::future::pending()).await, Err(refused));

    let agent = Agent::new("test").capability(Capability::from_fn("work", echo));
    let stranger = Worker::new(Remote::new(format!("http://{}", wire.address))).agent(agent);
    assert_eq!(stranger.run(std::future::pending()).await.unwrap_err().code, Code::Denied);
}

#[tokio::test]
async fn a_server_that_speaks_another_version_is_refused() {
    let wire = Wire::start(PROTOCOL + 1).await;
    let error = wire.worker(echo).run(std::future::pending()).await.unwrap_err();
    assert_eq!(error.code, Code::BadProtocol);
    assert_eq!(error.message, "the server speaks version `2` of the worker protocol, this worker `1`");
}

#[tokio::test]
async fn an_address_that_cannot_work_ends_the_worker_and_a_server_that_is_away_is_asked_again() {
    let agent = || Agent::new("test").capability(Capability::from_fn("work", echo));
    let worker = Worker::new(Remote::new("ftp://localhost:1")).agent(agent());
    assert_eq!(worker.run(std::future::pending()).await.unwrap_err().code, Code::BadRequest);

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let away = listener.local_addr().unwrap();
    drop(listener);
    let worker = tokio::spawn(Worker::new(Remote::new(format!("http://{away}"))).agent(agent()).run(async {
        // Long enough for a few tries; the worker then leaves, as it holds nothing.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }));
    assert_eq!(worker.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn what_a_worker_holds_is_claimed_and_reported_after_a_reconnect() {
    let mut wire = Wire::start(PROTOCOL).await;
    let worker = wire.worker(|ctx: TaskContext, _: Value| async move {
        let first: Value = ctx.call("first", &1).await?;
        Ok(json!([first, "end"]))
    });
    let worker = tokio::spawn(worker.park_after(Duration::from_hours(1)).run(std::future::pending()));
    let mut session = wire.session().await;
    session.offer(offer("work", &json!(null))).await;
    let entry = session.record_next(task(0)).await;
    session.disconnect();

    let mut session = wire.session().await;
    assert_eq!(session.hello.held, [(task(0), Token(1))]);
    // The answer was lost with the connection: it is requested again.
    let (index, asked) = session.entry().await;
    assert_eq!((index, &asked.request), (0, &entry.request));
    let result = Some(Ok(consort_types::Payload::from_value(&json!("one"))));
    session.record(task(0), 0, JournalEntry { result, ..entry }).await;
    assert_eq!(output(&mut session).await, json!(["one", "end"]));

    // The result may have been lost too.
    session.disconnect();
    let mut session = wire.session().await;
    assert_eq!(session.hello.held, [(task(0), Token(1))]);
    assert_eq!(output(&mut session).await, json!(["one", "end"]));
    worker.abort();
}

#[tokio::test]
async fn a_report_over_the_servers_limit_fails_its_attempt_by_name() {
    let mut wire = Wire::start(PROTOCOL).await;
    let worker = wire.worker(|_, bytes: Value| async move { Ok(json!("x".repeat(bytes.as_u64().unwrap() as usize))) });
    let worker = tokio::spawn(worker.run(std::future::pending()));
    let mut session = wire.session().await;
    session.offer(offer("work", &json!(200_000))).await;
    let failed = session.next().await;
    let Some(FromWorker::Fail { error, retryable: false, .. }) = failed else { panic!("{failed:?}") };
    assert_eq!(error.code, Code::PayloadTooLarge);
    assert!(error.message.contains("100000"), "{}", error.message);
    worker.abort();
}

#[tokio::test]
async fn the_server_says_how_often_it_wants_to_hear_something() {
    let mut wire = Wire::start(PROTOCOL).await;
    let worker =
        tokio::spawn(wire.worker(echo).heartbeat_interval(Duration::from_hours(1)).run(std::future::pending()));
    let mut session = wire.session().await;
    assert_eq!(session.next_of_all().await, Some(FromWorker::Alive));
    assert_eq!(session.next_of_all().await, Some(FromWorker::Alive));
    worker.abort();
}

#[tokio::test]
async fn a_worker_that_leaves_has_said_everything() {
    let mut wire = Wire::start(PROTOCOL).await;
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = tokio::spawn(wire.worker(echo).concurrency(200).run(async move { drop(stopped.await) }));
    let mut session = wire.session().await;
    for index in 0..200 {
        let mut offer = offer("work", &json!("x".repeat(10_000)));
        offer.task = task(index);
        session.offer(offer).await;
    }
    stop.send(()).unwrap();
    session.send(ToWorker::Drain).await;
    let (mut done, mut said) = (0, false);
    while let Some(report) = session.next().await {
        match report {
            FromWorker::Complete { .. } => done += 1,
            FromWorker::Leaving => said = true,
            other => panic!("expected a result, found {other:?}"),
        }
    }
    // Whether it sends `Leaving` depends on whether it was drained first.
    assert_eq!(done, 200, "said: {said}");
    drop(session);
    assert_eq!(worker.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_cancelled_task_is_told_over_the_wire() {
    let mut wire = Wire::start(PROTOCOL).await;
    let (told, mut heard) = mpsc::unbounded_channel();
    let worker = wire.worker(move |ctx: TaskContext, _: Value| {
        let told = told.clone();
        async move {
            ctx.progress("at work");
            ctx.cancelled().await;
            told.send(()).unwrap();
            Ok(json!(null))
        }
    });
    let worker = tokio::spawn(worker.run(std::future::pending()));
    let mut session = wire.session().await;
    session.offer(offer("work", &json!(null))).await;
    assert!(matches!(session.next().await, Some(FromWorker::Heartbeat { progress: Some(_), .. })));
    session.send(ToWorker::Cancel { task: task(0), token: Token(1), reason: "enough".into() }).await;
    heard.recv().await.unwrap();
    worker.abort();
}
