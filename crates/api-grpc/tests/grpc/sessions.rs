//! Sessions as they should be: hello, tasks, credit, journals, reconnecting, leaving.

use consort_api_grpc::ServeConfig;
use consort_engine::{Config, view::RunStatus};
use consort_proto::v1::{self, server_message::Kind as Says, worker_message::Kind};
use consort_types::{
    Code, Payload, Span, limits,
    worker::{JournalEntry, JournalRequest},
};
use serde_json::json;

use crate::support::{Server, complete, document, error_of, fail, hasty, hello, instance, record, soon};

#[tokio::test]
async fn a_worker_is_welcomed_and_does_a_task() {
    let server = Server::start().await;
    let mut worker = server.one(4).await;
    assert_eq!((worker.welcome.protocol, worker.welcome.heartbeat_interval_us), (1, 10_000_000));
    assert_eq!(worker.welcome.batch_bytes_max, limits::GRPC_BATCH_BYTES_MAX as u64);
    assert!(worker.welcome.instances[0].starts_with("remote:"), "{:?}", worker.welcome.instances);
    let run = server.run("work", &json!("ü")).await;
    let task = worker.task().await;
    assert_eq!((task.number, task.capability.as_str(), task.step.as_str()), (1, "work", "a"));
    assert_eq!(
        (task.run.as_str(), task.workflow.as_str(), &task.input[..]),
        (run.to_string().as_str(), "work", "{\"n\":\"ü\"}".as_bytes())
    );
    assert!(!task.idempotency_key.is_empty() && task.journal.is_empty());
    worker.say(0, complete(&task, "{\"made\":1}")).await;
    let ended = server.ended(run).await;
    assert_eq!((ended.status, ended.output.as_deref()), (RunStatus::Completed, Some("{\"made\":1}")));
    worker.leave().await;
}

#[tokio::test]
async fn two_agents_share_a_stream() {
    let server = Server::start().await;
    let instances = vec![instance("worker", "work", 1), instance("second", "other", 1)];
    let mut worker = server.worker(hello(instances)).await.unwrap();
    assert_eq!(worker.welcome.instances.len(), 2);
    let runs = [server.run("other", &json!(1)).await, server.run("work", &json!(2)).await];
    for _ in 0..2 {
        let (number, said) = worker.heard().await;
        let Says::Task(task) = said else { panic!("a task: {said:?}") };
        assert_eq!(number, u32::from(task.capability == "other"));
        worker.say(number, complete(&task, &format!("{number}"))).await;
    }
    assert_eq!(server.ended(runs[0]).await.output.as_deref(), Some("1"));
    assert_eq!(server.ended(runs[1]).await.output.as_deref(), Some("0"));
}

#[tokio::test]
async fn no_more_is_handed_out_than_was_asked_for() {
    let server = Server::start().await;
    let mut worker = server.one(2).await;
    for n in 0..6 {
        server.run("work", &json!(n)).await;
    }
    let (first, second) = (worker.task().await, worker.task().await);
    // A refusal comes behind all earlier messages: there is no third task.
    let unknown = v1::Attempt { token: 1, ..first.attempt.clone().unwrap() };
    worker.say(0, Kind::Complete(v1::Complete { attempt: Some(unknown), output: "1".into() })).await;
    assert_eq!(worker.refused().await.1.code, Code::Fenced);
    worker.say(0, Kind::Credit(v1::Credit { tasks: 3 })).await;
    let third = worker.task().await;
    worker.say(0, Kind::Credit(v1::Credit { tasks: 1 })).await;
    worker.say_all([&first, &second].map(|task| said(0, complete(task, "1"))).into()).await;
    // One is still held: the next comes only when it is done.
    worker.say(0, record(&third, 0, entry(JournalRequest::Run { name: "x".to_owned() }, Some("1")))).await;
    assert_eq!(worker.recorded().await.index, 0);
    worker.say(0, complete(&third, "1")).await;
    let fourth = worker.task().await;
    assert_ne!(fourth.attempt, third.attempt);
}

fn said(instance: u32, kind: Kind) -> v1::WorkerMessage {
    v1::WorkerMessage { instance, kind: Some(kind) }
}

fn entry(request: JournalRequest, result: Option<&str>) -> JournalEntry {
    JournalEntry { title: None, request, after: Vec::new(), result: result.map(|text| Ok(document(text))) }
}

#[tokio::test]
async fn a_failed_attempt_is_tried_again_or_ends_the_step() {
    let server = Server::start().await;
    server
        .engine
        .deploy(
            "default",
            "workflow: again\nsteps:\n  a: { capability: work, retry: { attempts: 2, backoff: { initial: 1ms } } }\n",
        )
        .await
        .unwrap();
    let mut worker = server.one(1).await;
    let run = server.run("again", &json!(1)).await;
    let first = worker.task().await;
    worker.say(0, fail(&first, "not now", true)).await;
    let second = worker.task().await;
    assert_eq!((second.number, &second.idempotency_key), (2, &first.idempotency_key));
    worker.say(0, fail(&second, "never", false)).await;
    let ended = server.ended(run).await;
    assert_eq!(ended.status, RunStatus::Failed);
    assert!(ended.error.unwrap().message.contains("never"));
}

#[tokio::test]
async fn entries_are_recorded_and_a_parked_task_comes_back_with_them() {
    let server = Server::start().await;
    let mut worker = server.one(1).await;
    let run = server.run("work", &json!(1)).await;
    let task = worker.task().await;
    worker.say(0, record(&task, 0, entry(JournalRequest::Run { name: "effect".to_owned() }, Some("[1]")))).await;
    let recorded = worker.recorded().await;
    assert_eq!(
        (recorded.index, recorded.entry.unwrap().result),
        (0, Some(v1::journal_entry::Result::Output("[1]".into())))
    );
    let wait = JournalRequest::Signal { name: "go".to_owned(), schema: None };
    worker.say(0, record(&task, 1, JournalEntry { after: vec![0], ..entry(wait, None) })).await;
    assert_eq!(worker.recorded().await.entry.unwrap().result, None);
    worker.say(0, Kind::Park(v1::Park { attempt: task.attempt.clone(), waiting: vec![1] })).await;
    server.signal(run, "go", "\"now\"").await;
    let again = worker.task().await;
    assert!(again.attempt.as_ref().unwrap().token > task.attempt.unwrap().token);
    assert_eq!(again.journal.len(), 2);
    assert_eq!(again.journal[1].after, [0]);
    assert_eq!(again.journal[1].result, Some(v1::journal_entry::Result::Output("\"now\"".into())));
    worker.say(0, complete(&again, "1")).await;
    assert_eq!(server.ended(run).await.status, RunStatus::Completed);
}

#[tokio::test]
async fn large_documents_travel_whole_in_both_directions() {
    let server = Server::start().await;
    let mut worker = server.one(1).await;
    let large = "x".repeat(3 * 1024 * 1024);
    let run = server.run("work", &json!(large)).await;
    let task = worker.task().await;
    let input = json!({ "n": large }).to_string();
    assert!(task.input == input.as_bytes());
    // The input of a call is kept by reference; the worker gets the document back.
    let request = JournalRequest::Call { capability: "work".to_owned(), input: document(&input), options: None };
    worker.say(0, record(&task, 0, JournalEntry { title: None, request, after: Vec::new(), result: None })).await;
    let recorded = worker.recorded().await.entry.unwrap();
    let Some(v1::journal_entry::Request::Call(call)) = recorded.request else { panic!("a call") };
    assert!(call.input == input.as_bytes());
    let output = format!("\"{large}\"");
    worker.say(0, complete(&task, &output)).await;
    let ended = server.ended(run).await;
    assert!(ended.output.as_deref() == Some(output.as_str()) && ended.input == input);
}

#[tokio::test]
async fn the_largest_document_fits() {
    let server = Server::start().await;
    let mut worker = server.one(1).await;
    let run = server.run("work", &json!(1)).await;
    let task = worker.task().await;
    let output = format!("\"{}\"", "y".repeat(limits::PAYLOAD_BYTES_MAX - 2));
    worker.say(0, complete(&task, &output)).await;
    assert!(server.ended(run).await.output.as_deref() == Some(output.as_str()));
}

#[tokio::test]
async fn what_is_held_is_claimed_after_a_reconnect() {
    let server = Server::start().await;
    let mut worker = server.one(1).await;
    let run = server.run("work", &json!(1)).await;
    let task = worker.task().await;
    drop(worker);
    let attempt = task.attempt.clone().unwrap();
    let lost = v1::Attempt { token: attempt.token + 1000, ..attempt.clone() };
    let held = v1::HelloInstance { held: vec![attempt, lost.clone()], ..instance("worker", "work", 1) };
    let mut worker = server.worker(hello(vec![held])).await.unwrap();
    match worker.heard().await.1 {
        Says::Cancel(cancel) => assert_eq!(cancel.attempt, Some(lost)),
        other => panic!("expected that the false claim is cancelled, found {other:?}"),
    }
    worker.say(0, complete(&task, "7")).await;
    assert_eq!(server.ended(run).await.output.as_deref(), Some("7"));
}

#[tokio::test]
async fn a_cancelled_run_cancels_its_attempts() {
    let server = Server::start().await;
    let mut worker = server.one(1).await;
    let run = server.run("work", &json!(1)).await;
    let task = worker.task().await;
    server.engine.cancel("default", run, "enough", false).await.unwrap();
    match worker.heard().await.1 {
        Says::Cancel(cancel) => assert_eq!(cancel.attempt, task.attempt),
        other => panic!("expected a cancellation, found {other:?}"),
    }
    assert_eq!(server.ended(run).await.status, RunStatus::Cancelled);
}

#[tokio::test]
async fn any_message_speaks_for_all_instances_of_the_stream() {
    let server = Server::with(None, hasty(), ServeConfig::default()).await;
    let instances = vec![instance("worker", "work", 1), instance("second", "other", 1)];
    let mut worker = server.worker(hello(instances)).await.unwrap();
    let interval = worker.welcome.heartbeat_interval_us;
    assert_eq!(interval, 200_000);
    let run = server.run("other", &json!(1)).await;
    let (number, said) = worker.heard().await;
    let Says::Task(task) = said else { panic!("a task: {said:?}") };
    assert_eq!(number, 1);
    // For longer than the heartbeat timeout only the other instance sends messages.
    let mut beat = tokio::time::interval(std::time::Duration::from_micros(interval / 2));
    for tasks in 1..12 {
        beat.tick().await;
        worker.say(0, Kind::Credit(v1::Credit { tasks })).await;
    }
    worker.say(1, complete(&task, "1")).await;
    assert_eq!(server.ended(run).await.status, RunStatus::Completed);
    // And then of none: what they hold is given to others, and the stream ends by name.
    let next = server.run("other", &json!(2)).await;
    let Says::Task(task) = worker.heard().await.1 else { panic!("a task") };
    let status = worker.end().await;
    assert_eq!((status.code(), error_of(&status).code), (tonic::Code::Unavailable, Code::SessionLost));
    drop((next, task));
}

#[tokio::test]
async fn a_worker_that_leaves_is_let_go() {
    let server = Server::start().await;
    let mut worker = server.one(1).await;
    worker.say(0, Kind::Leaving(v1::Leaving {})).await;
    assert!(matches!(worker.heard().await, (0, Says::Drain(_))));
    let run = server.run("work", &json!(1)).await;
    worker.leave().await;
    let mut next = server.one(1).await;
    let task = next.task().await;
    assert_eq!((task.run, task.number), (run.to_string(), 1));
}

#[tokio::test]
async fn an_agent_that_is_removed_leaves_the_others_of_its_stream_alone() {
    let server = Server::start().await;
    let instances = vec![instance("worker", "work", 1), instance("second", "other", 1)];
    let mut worker = server.worker(hello(instances)).await.unwrap();
    server.engine.remove_agent("default", "second", None, true).await.unwrap();
    assert!(matches!(worker.heard().await, (1, Says::Drain(_))));
    let run = server.run("work", &json!(1)).await;
    let task = worker.task().await;
    worker.say(0, complete(&task, "1")).await;
    assert_eq!(server.ended(run).await.status, RunStatus::Completed);
    server.engine.remove_agent("default", "worker", None, true).await.unwrap();
    assert!(matches!(worker.heard().await, (0, Says::Drain(_))));
    assert!(worker.next().await.unwrap().is_none(), "a stream without instances ends well");
}

#[tokio::test]
async fn a_stopping_engine_waits_and_ends_the_streams() {
    let server = Server::start().await;
    let mut worker = server.one(1).await;
    server.run("work", &json!(1)).await;
    let task = worker.task().await;
    let engine = server.engine.clone();
    let stopping = tokio::spawn(async move { engine.shutdown(std::time::Duration::from_secs(20)).await });
    // It is not drained: it reconnects to the next server.
    worker.say(0, complete(&task, "1")).await;
    let status = worker.end().await;
    assert_eq!((status.code(), error_of(&status).code), (tonic::Code::Unavailable, Code::Stopping));
    soon("the end of the engine", stopping).await.unwrap();
    let refused = server.worker(hello(vec![instance("worker", "work", 1)])).await.err().unwrap();
    assert_eq!((refused.code(), error_of(&refused).code), (tonic::Code::Unavailable, Code::Stopping));
    server.close().await;
}

#[tokio::test]
async fn a_task_whose_journal_does_not_fit_fails_by_name() {
    let grace = Config { grace: Span::from_millis(1), ..Config::default() };
    let server = Server::with(None, grace, ServeConfig::default()).await;
    let mut worker = server.one(1).await;
    let run = server.run("work", &json!(1)).await;
    let task = worker.task().await;
    let large = format!("\"{}\"", "z".repeat(limits::PAYLOAD_BYTES_MAX - 2));
    for index in 0..3 {
        let name = format!("effect {index}");
        let effect = JournalEntry {
            title: None,
            request: JournalRequest::Run { name },
            after: Vec::new(),
            result: Some(Ok(Payload::inline(large.as_bytes()))),
        };
        worker.say(0, record(&task, index, effect)).await;
        assert_eq!(worker.recorded().await.index, index);
    }
    worker.say(0, record(&task, 3, entry(JournalRequest::Signal { name: "go".to_owned(), schema: None }, None))).await;
    worker.recorded().await;
    worker.say(0, Kind::Park(v1::Park { attempt: task.attempt.clone(), waiting: vec![3] })).await;
    server.signal(run, "go", "null").await;
    let ended = server.ended(run).await;
    let error = ended.error.unwrap();
    assert!(error.message.contains("journal") && error.message.contains("142606336"), "{error:?}");
}
