//! Workers that err or lie: each is refused by name, and others are not affected.

use std::time::Duration;

use consort_api_grpc::ServeConfig;
use consort_engine::{Config, view::RunStatus};
use consort_proto::v1::{self, server_message::Kind as Says, worker_message::Kind};
use consort_types::{
    Code, limits,
    worker::{JournalEntry, JournalRequest},
};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{Server, Worker, complete, document, error_of, fail, hello, instance, record, soon};

/// Ends the stream of a worker that sends this after its welcome; another worker continues.
async fn fault(messages: Vec<v1::WorkerMessage>, code: Code, grpc: tonic::Code, words: &str) {
    let server = Server::start().await;
    let mut good = server.one(1).await;
    let run = server.run("work", &json!(1)).await;
    let task = good.task().await;
    let bad = server.worker(hello(vec![instance("bad", "other", 1)])).await.unwrap();
    bad.say_all(messages).await;
    let status = bad.end().await;
    let error = error_of(&status);
    assert_eq!((status.code(), error.code), (grpc, code), "{error}");
    assert!(error.message.contains(words), "{error}");
    good.say(0, complete(&task, "1")).await;
    assert_eq!(server.ended(run).await.status, RunStatus::Completed);
}

fn said(instance: u32, kind: Kind) -> v1::WorkerMessage {
    v1::WorkerMessage { instance, kind: Some(kind) }
}

#[tokio::test]
async fn an_unknown_instance_ends_the_stream() {
    let messages = vec![said(1, Kind::Leaving(v1::Leaving {}))];
    fault(messages, Code::BadRequest, tonic::Code::InvalidArgument, "instance `1`").await;
}

#[tokio::test]
async fn a_second_hello_ends_the_stream() {
    let messages = vec![said(0, Kind::Hello(v1::Hello::default()))];
    fault(messages, Code::BadRequest, tonic::Code::InvalidArgument, "`hello`").await;
}

#[tokio::test]
async fn a_report_about_nothing_ends_the_stream() {
    let messages = vec![said(0, Kind::Complete(v1::Complete { attempt: None, output: "1".into() }))];
    fault(messages, Code::BadRequest, tonic::Code::InvalidArgument, "`complete.attempt`").await;
}

#[tokio::test]
async fn too_many_messages_end_the_stream() {
    let messages = vec![said(0, Kind::Alive(v1::Alive {})); limits::GRPC_BATCH_MESSAGES_MAX + 1];
    fault(messages, Code::LimitReached, tonic::Code::ResourceExhausted, "10000").await;
}

#[tokio::test]
async fn too_many_bytes_end_the_stream() {
    let output = vec![b' '; limits::GRPC_BATCH_BYTES_MAX + 1].into();
    let messages = vec![said(0, Kind::Complete(v1::Complete { attempt: None, output }))];
    fault(messages, Code::LimitReached, tonic::Code::ResourceExhausted, "142606336").await;
}

#[tokio::test]
async fn a_flood_is_taken_at_the_pace_of_the_engine() {
    let server = Server::start().await;
    let mut worker = server.one(1).await;
    let run = server.run("work", &json!(1)).await;
    let task = worker.task().await;
    let progress = |n: u32| Kind::Progress(v1::Progress { attempt: task.attempt.clone(), message: n.to_string() });
    for round in 0..20 {
        worker.say_all((0..2_000).map(|n| said(0, progress(round * 2_000 + n))).collect()).await;
    }
    worker.say(0, complete(&task, "1")).await;
    assert_eq!(server.ended(run).await.status, RunStatus::Completed);
}

#[tokio::test]
async fn a_worker_that_reports_for_others_changes_nothing() {
    let server = Server::start().await;
    let mut owner = server.one(1).await;
    let run = server.run("work", &json!(1)).await;
    let task = owner.task().await;
    let mut liar = server.worker(hello(vec![instance("liar", "other", 1)])).await.unwrap();
    let attempt = task.attempt.clone().unwrap();
    for token in [0, 1, attempt.token - 1, attempt.token + 1, u64::MAX] {
        let guessed = v1::Task { attempt: Some(v1::Attempt { token, ..attempt.clone() }), ..task.clone() };
        liar.say(0, complete(&guessed, "\"a lie\"")).await;
        let (about, error) = liar.refused().await;
        assert_eq!((about.token, error.code), (token, Code::Fenced), "{error}");
    }
    let nowhere = v1::Attempt { task: format!("{}.0.99", task.run), token: attempt.token };
    liar.say(0, fail(&v1::Task { attempt: Some(nowhere), ..task.clone() }, "a lie", false)).await;
    assert_eq!(liar.refused().await.1.code, Code::TaskNotFound);
    owner.say(0, complete(&task, "\"the truth\"")).await;
    assert_eq!(server.ended(run).await.output.as_deref(), Some("\"the truth\""));
}

#[tokio::test]
async fn a_document_that_is_none_fails_its_attempt_alone() {
    let server = Server::start().await;
    let mut worker = server.one(2).await;
    for n in 1..=2 {
        server.run("work", &json!(n)).await;
    }
    let (first, second) = (worker.task().await, worker.task().await);
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    for (output, code) in [("{", Code::BadJson), ("", Code::BadJson), (deep.as_str(), Code::LimitReached)] {
        worker.say(0, complete(&first, output)).await;
        let (about, error) = worker.refused().await;
        assert_eq!((Some(about), error.code), (first.attempt.clone(), code), "{error}");
    }
    let approval = JournalRequest::Approval { prompt: "?".to_owned(), detail: document("{") };
    worker
        .say(0, record(&first, 0, JournalEntry { title: None, request: approval, after: Vec::new(), result: None }))
        .await;
    assert_eq!(worker.refused().await.1.code, Code::BadJson);
    worker.say(0, Kind::Record(v1::Record { attempt: first.attempt.clone(), ..Default::default() })).await;
    let error = worker.refused().await.1;
    assert!(error.code == Code::BadRequest && error.message.contains("`record.entry`"), "{error}");
    let delta = v1::Delta { kind: Some(v1::delta::Kind::Text("x".repeat(limits::STREAM_DELTA_BYTES_MAX + 1))) };
    worker.say(0, Kind::Stream(v1::Stream { attempt: first.attempt.clone(), delta: Some(delta) })).await;
    assert_eq!(worker.refused().await.1.code, Code::LimitReached);
    // As the protocol requires, the worker fails the attempt; the other continues.
    worker.say_all(vec![said(0, fail(&first, "refused", false)), said(0, complete(&second, "2"))]).await;
    let ends =
        [server.ended(first.run.parse().unwrap()).await.status, server.ended(second.run.parse().unwrap()).await.status];
    assert_eq!(ends, [RunStatus::Failed, RunStatus::Completed]);
}

#[tokio::test]
async fn a_name_that_is_too_long_for_any_key_fails_its_attempt_alone() {
    let server = Server::start().await;
    let mut worker = server.one(2).await;
    let run = server.run("work", &json!(1)).await;
    let task = worker.task().await;
    for bytes in [limits::NAME_BYTES_MAX + 1, 70_000, 1 << 20] {
        let request = JournalRequest::Signal { name: "x".repeat(bytes), schema: None };
        worker.say(0, record(&task, 0, JournalEntry { title: None, request, after: Vec::new(), result: None })).await;
        let (about, error) = worker.refused().await;
        assert_eq!((Some(about), error.code), (task.attempt.clone(), Code::BadName), "{error}");
    }
    worker.say(0, complete(&task, "1")).await;
    assert_eq!(server.ended(run).await.status, RunStatus::Completed);
}

#[tokio::test]
async fn an_unsupported_version_is_refused_with_both_sides() {
    let server = Server::start().await;
    let newer = v1::Hello { protocol: 9, protocol_min: 2, ..hello(vec![instance("worker", "work", 1)]) };
    let status = server.worker(newer).await.err().unwrap();
    let error = error_of(&status);
    assert_eq!((status.code(), error.code), (tonic::Code::InvalidArgument, Code::BadProtocol));
    assert!(error.message.contains("`2` to `9`") && error.message.contains("`1` to `1`"), "{error}");
}

#[tokio::test]
async fn a_bad_hello_is_refused_whole() {
    let server = Server::start().await;
    let good = || instance("worker", "work", 1);
    let unnamed = v1::HelloInstance { agent: Some(v1::AgentDeclaration::default()), ..good() };
    let misnamed = v1::Hello { namespace: "a b".to_owned(), ..hello(vec![good()]) };
    let long = "x".repeat(70_000);
    let changed = |change: &dyn Fn(&mut v1::AgentDeclaration)| {
        let mut instance = good();
        change(instance.agent.as_mut().unwrap());
        hello(vec![good(), instance])
    };
    for (hello, code) in [
        (hello(vec![]), Code::BadRequest),
        (hello(vec![good(), unnamed]), Code::BadName),
        (hello(vec![good(), instance("second", "other", 0)]), Code::LimitReached),
        (hello(vec![good(), instance("second", "other", limits::INSTANCE_CREDIT_MAX + 1)]), Code::LimitReached),
        (misnamed, Code::BadName),
        (v1::Hello { namespace: long.clone(), ..hello(vec![good()]) }, Code::BadName),
        (changed(&|agent| agent.name.clone_from(&long)), Code::BadName),
        (changed(&|agent| agent.version.clone_from(&long)), Code::LimitReached),
        (changed(&|agent| agent.capabilities[0].name.clone_from(&long)), Code::BadName),
        (changed(&|agent| agent.capabilities.push(agent.capabilities[0].clone())), Code::BadRequest),
    ] {
        let error = error_of(&server.worker(hello).await.err().unwrap());
        assert_eq!(error.code, code, "{error}");
    }
    let connected = server.engine.status().await.unwrap().instances;
    assert_eq!(connected, 0, "none of the good instances has stayed");
}

#[tokio::test]
async fn a_worker_reports_and_claims_only_what_it_holds() {
    let server = Server::start().await;
    let mut holder = server.one(1).await;
    let run = server.run("work", &json!(1)).await;
    let task = holder.task().await;
    let attempt = task.attempt.clone().unwrap();
    let stranger = v1::HelloInstance { held: vec![attempt.clone()], ..instance("stranger", "other", 1) };
    let elsewhere = v1::Hello { namespace: "blue".to_owned(), worker: "two".to_owned(), ..hello(vec![stranger]) };
    let mut stranger = server.worker(elsewhere).await.unwrap();
    let Says::Cancel(cancelled) = stranger.heard().await.1 else { panic!("the claim is not granted") };
    assert_eq!(cancelled.attempt.as_ref(), Some(&attempt));
    let before = server.engine.status().await.unwrap().log_last;
    for report in [complete(&task, "\"forged\""), fail(&task, "forged", false)] {
        stranger.say(0, report).await;
        let (about, error) = stranger.refused().await;
        assert_eq!((about, error.code), (attempt.clone(), Code::Fenced));
    }
    assert_eq!(server.engine.status().await.unwrap().log_last, before, "no record is made of it");
    holder.say(0, complete(&task, "1")).await;
    let ended = server.ended(run).await;
    assert_eq!((ended.status, ended.output.as_deref()), (RunStatus::Completed, Some("1")));
}

#[tokio::test]
async fn a_hello_that_is_too_large_is_refused_before_it_has_come() {
    let server = Server::start().await;
    let mut large = instance("worker", "work", 1);
    large.labels.insert("x".to_owned(), "y".repeat(limits::GRPC_HELLO_BYTES_MAX));
    let error = error_of(&server.worker(hello(vec![large])).await.err().unwrap());
    assert!(error.code == Code::LimitReached && error.message.contains("the first batch"), "{error}");
}

#[tokio::test]
async fn the_first_batch_must_be_hello_alone() {
    let server = Server::start().await;
    let greeting = || said(0, Kind::Hello(hello(vec![instance("worker", "work", 1)])));
    let alive = || said(0, Kind::Alive(v1::Alive {}));
    for batch in [vec![], vec![alive()], vec![greeting(), alive()], vec![greeting(), greeting()]] {
        let worker = Worker::open(&server.channel).await.unwrap();
        worker.say_all(batch).await;
        let error = error_of(&worker.end().await);
        assert!(error.code == Code::BadRequest && error.message.contains("`hello`"), "{error}");
    }
}

#[tokio::test]
async fn a_connection_over_which_nothing_is_asked_ends() {
    let config = ServeConfig { request_timeout: Duration::from_millis(50), ..ServeConfig::default() };
    let server = Server::with(None, Config::default(), config).await;
    let mut silent = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let mut rest = Vec::new();
    // Whatever the server sends first, it closes.
    let _ = soon("the end of the connection", silent.read_to_end(&mut rest)).await;
    let mut worker = server.one(1).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let run = server.run("work", &json!(1)).await;
    let task = worker.task().await;
    worker.say(0, complete(&task, "1")).await;
    assert_eq!(server.ended(run).await.status, RunStatus::Completed);
}

#[tokio::test]
async fn a_dead_peer_is_noticed() {
    let config = ServeConfig {
        keepalive_interval: Duration::from_millis(20),
        keepalive_timeout: Duration::from_millis(20),
        ..ServeConfig::default()
    };
    let server = Server::with(None, Config::default(), config).await;
    let mut dead = tokio::net::TcpStream::connect(server.address).await.unwrap();
    // The preface of HTTP/2 and empty settings, and from then on nothing: no answer to any ping.
    dead.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut said = Vec::new();
    let _ = soon("the end of the connection", dead.read_to_end(&mut said)).await;
    assert!(!said.is_empty());
}

#[tokio::test]
async fn one_connection_too_many_is_closed() {
    let config = ServeConfig { http2_connections_max: 1, ..ServeConfig::default() };
    let server = Server::with(None, Config::default(), config).await;
    let worker = server.one(1).await;
    let mut second = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let _ = second.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let mut rest = Vec::new();
    // Closed, or reset because something was still under way; either way nothing was sent.
    let _ = soon("the end of the connection", second.read_to_end(&mut rest)).await;
    assert!(rest.is_empty());
    worker.leave().await;
}
