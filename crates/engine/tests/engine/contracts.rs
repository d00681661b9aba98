//! Schemas on both sides of a task, and what watchers see of agents and of attempts under way.
//!
//! For: sessions as workers use them, over the door. Not for: timing.
//! Invariant: every wait in here ends with an event, not with a clock.

use crate::support::{NS, agent, hello, parts};
use consort_engine::{Config, Handle, Locality, Session, StartRequest, WatchEvent, view::RunView};
use consort_log::MemoryLogDisk;
use consort_store::MemoryStore;
use consort_types::{
    Code, EffectClass, Error, Payload,
    registry::{AgentFilter, Health},
    worker::{AgentDeclaration, Delta, FromWorker, Live, TaskOffer, ToWorker},
};
use serde_json::{Value, json};

const ONE: &str = "workflow: w\nsteps:\n  a: { capability: x, with: \"${{ input }}\", retry: { attempts: 3, backoff: { initial: 1ms, max: 1ms } } }\noutput: ${{ steps.a.output }}\ninput: { n: {} }\n";

async fn open() -> Handle {
    let (disk, store) = (MemoryLogDisk::new(), MemoryStore::new());
    let handle = Handle::open(parts(&disk, &store), Config::default()).await.unwrap();
    handle.deploy(NS, ONE).await.unwrap();
    handle
}

fn declared(input: Value, output: Value) -> AgentDeclaration {
    let mut agent = agent("a", &[("x", EffectClass::Idempotent)]);
    agent.capabilities[0].input_schema = input;
    agent.capabilities[0].output_schema = output;
    agent
}

fn number_in(field: &str) -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": { field: {"type": "integer"} },
        "required": [field],
    })
}

async fn attach(handle: &Handle, agent: AgentDeclaration, held: &[TaskOffer]) -> Session {
    let held = held.iter().map(|offer| (offer.task, offer.token)).collect();
    handle.attach(hello(agent, 8, held), Locality::Remote).await.unwrap()
}

async fn start(handle: &Handle, input: &Value) -> consort_types::RunId {
    let request = StartRequest {
        namespace: NS.into(),
        workflow: "w".into(),
        input: Some(Payload::from_value(input)),
        ..StartRequest::default()
    };
    handle.start(request).await.unwrap().run
}

async fn task(session: &mut Session) -> TaskOffer {
    loop {
        for message in session.receive().await.expect("the engine runs") {
            if let ToWorker::Task(offer) = message {
                return *offer;
            }
        }
    }
}

async fn complete(session: &Session, offer: &TaskOffer, output: &Value) {
    let (task, token, output) = (offer.task, offer.token, Payload::from_value(output));
    session.sender().send(FromWorker::Complete { task, token, output }).await.unwrap();
}

fn error(view: &RunView) -> &Error {
    view.summary.error.as_ref().unwrap()
}

#[tokio::test]
async fn an_input_that_does_not_fit_never_reaches_the_agent() {
    let handle = open().await;
    let mut session = attach(&handle, declared(number_in("n"), true.into()), &[]).await;
    let bad = start(&handle, &json!({"n": "seven"})).await;
    let good = start(&handle, &json!({"n": 7})).await;
    let offer = task(&mut session).await;
    assert_eq!(offer.input.bytes().unwrap(), br#"{"n":7}"#, "only the good one comes");
    complete(&session, &offer, &json!(1)).await;
    handle.wait_end(NS, good).await.unwrap();
    let view = handle.wait_end(NS, bad).await.unwrap();
    let error = error(&view);
    assert!(error.message.contains("`$.n` is a text"), "{error}");
    let steps = handle.steps(NS, bad, None, 9).await.unwrap();
    assert_eq!((steps.items[0].error.as_ref().unwrap().code, steps.items[0].attempt), (Code::BadInput, 1));
}

#[tokio::test]
async fn an_output_that_does_not_fit_fails_for_good_with_its_path() {
    let handle = open().await;
    let schema = json!({"type": "array", "items": number_in("n")});
    let mut session = attach(&handle, declared(true.into(), schema), &[]).await;
    for large in [false, true] {
        let run = start(&handle, &json!({"n": 1})).await;
        let offer = task(&mut session).await;
        let filler = if large { "x".repeat(100_000) } else { String::new() };
        complete(&session, &offer, &json!([{"n": 1, "f": filler}, {"n": "two"}])).await;
        let view = handle.wait_end(NS, run).await.unwrap();
        let error = error(&view);
        assert!(error.message.contains("`$[1].n` is a text"), "{error}");
        let steps = handle.steps(NS, run, None, 9).await.unwrap();
        assert_eq!((steps.items[0].error.as_ref().unwrap().code, steps.items[0].attempt), (Code::BadOutput, 1));
    }
    let run = start(&handle, &json!({"n": 1})).await;
    let offer = task(&mut session).await;
    complete(&session, &offer, &json!([{"n": 2}])).await;
    assert_eq!(handle.wait_end(NS, run).await.unwrap().output, Some(Payload::from_value(&json!([{"n": 2}]))));
}

#[tokio::test]
async fn outputs_are_checked_after_a_reconnect_too() {
    let handle = open().await;
    let agent = declared(true.into(), number_in("n"));
    let mut first = attach(&handle, agent.clone(), &[]).await;
    let run = start(&handle, &json!({"n": 1})).await;
    let offer = task(&mut first).await;
    drop(first);
    let second = attach(&handle, agent, std::slice::from_ref(&offer)).await;
    complete(&second, &offer, &json!({"n": null})).await;
    let view = handle.wait_end(NS, run).await.unwrap();
    assert!(error(&view).message.contains("`$.n` is null"), "{}", error(&view));
}

#[tokio::test]
async fn a_schema_that_cannot_be_used_is_refused_where_the_agent_joins() {
    let handle = open().await;
    let elsewhere = json!({"properties": {"more": {"$ref": "https://example.org/schema"}}});
    for (schema, reason) in [(json!({"type": "numbr"}), "`/type`"), (elsewhere, "only places in this schema")] {
        let joined = handle.attach(hello(declared(true.into(), schema), 1, Vec::new()), Locality::Remote).await;
        let error = joined.err().unwrap();
        assert!(error.code == Code::BadRequest && error.message.contains(reason), "{error}");
        assert!(error.message.contains("the output schema of `x`"), "{error}");
    }
    assert!(handle.agents(NS, AgentFilter::default()).await.unwrap().is_empty(), "it was not registered");
}

#[tokio::test]
async fn who_watches_late_gets_the_end_of_what_was_said_first_and_once() {
    let handle = open().await;
    let mut session = attach(&handle, declared(true.into(), true.into()), &[]).await;
    let run = start(&handle, &json!({"n": 1})).await;
    let offer = task(&mut session).await;
    let (task, token) = (offer.task, offer.token);
    let say = |text: &str| FromWorker::Stream { task, token, delta: Delta::Text { text: text.into() } };
    let sender = session.sender();
    for report in [say("one "), say("two "), FromWorker::Heartbeat { task, token, progress: Some("busy".into()) }] {
        sender.send(report).await.unwrap();
    }
    let mut watch = handle.watch(NS, run, None).await.unwrap();
    sender.send(say("three")).await.unwrap();
    let (mut text, mut messages) = (String::new(), Vec::new());
    while !text.ends_with("three") {
        match watch.next().await.unwrap().unwrap() {
            WatchEvent::Progress(progress) => match progress.live {
                Live::Text { text: more } => text.push_str(&more),
                Live::Message { message } => messages.push(message),
                Live::Json { .. } => panic!("nothing of the kind was sent"),
            },
            WatchEvent::Entry(_) => {}
            WatchEvent::Ended(_) => panic!("the run has not ended"),
        }
    }
    assert_eq!((text.as_str(), messages), ("one two three", vec!["busy".to_owned()]));
    complete(&session, &offer, &json!(1)).await;
    handle.wait_end(NS, run).await.unwrap();
    let mut later = handle.watch(NS, run, None).await.unwrap();
    while let Some(event) = later.next().await {
        assert!(!matches!(event.unwrap(), WatchEvent::Progress(_)), "it is dropped with the attempt");
    }
}

#[tokio::test]
async fn agents_are_followed_as_they_come_work_and_go() {
    let handle = open().await;
    let mut watch = handle.watch_agents(NS, AgentFilter::default()).await.unwrap();
    assert!(watch.next().await.unwrap().unwrap().is_empty());
    let mut session = attach(&handle, declared(true.into(), true.into()), &[]).await;
    let views = watch.next().await.unwrap().unwrap();
    assert_eq!((views[0].health, views[0].instances.len()), (Health::Healthy, 1));
    start(&handle, &json!({"n": 1})).await;
    let offer = task(&mut session).await;
    complete(&session, &offer, &json!(1)).await;
    drop(session);
    let views = loop {
        let views = watch.next().await.unwrap().unwrap();
        if views[0].health == Health::Lost {
            break views;
        }
    };
    assert_eq!((views[0].skills[0].completed, views[0].instances.len()), (1, 0));
    assert!(views[0].seen.is_some() && views[0].weight == 100);
    handle.stop_now().await;
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn queues_and_limits_are_shown_through_the_door() {
    let handle = open().await;
    start(&handle, &json!({"n": 1})).await;
    let limit = consort_types::registry::TaskLimit { concurrency: Some(4), ..Default::default() };
    handle.set_quota(NS, consort_types::registry::LimitScope::Namespace, limit).await.unwrap();
    let queues = handle.queues(NS).await.unwrap();
    assert_eq!((queues.len(), queues[0].waiting, queues[0].capability.as_deref()), (1, 1, Some("x")));
    assert_eq!(queues[0].reason.as_deref(), Some("no instance has the capability `x`"));
    let limits = handle.quotas(NS).await.unwrap();
    assert_eq!((limits.len(), limits[0].taken, limits[0].limited), (1, 0, 0));
    assert!(handle.queues("other").await.unwrap().is_empty());
    assert_eq!(handle.queues("not a name").await.unwrap_err().code, Code::BadName);
}
