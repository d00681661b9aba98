//! What operators say about agents, and people about what tasks ask them.
//!
//! For: draining, weights, removal, limits and questions, through the handle and the partition. Not for: how work is
//! shared out (the dispatcher's tests do that).
//! Invariant: every wait in here ends with an event, not with a clock.

use crate::support::{NS, World, agent, hello, json, parts};
use consort_core::{
    Command,
    command::{RegisterAgent, RemoveAgent},
};
use consort_engine::{Config, Decision, EventBus, Handle, Locality, Partition, Session, StartRequest, view::NewEvent};
use consort_log::MemoryLogDisk;
use consort_store::MemoryStore;
use consort_types::{
    Code, EffectClass, Payload, Result, Span, Time,
    event::EventAttributes,
    limits,
    registry::{LimitScope, TaskLimit},
    worker::{
        AgentDeclaration, FromWorker, JournalEntry, JournalRequest, SubscriptionDeclaration, TaskOffer, ToWorker,
    },
};

const ONE: &str = "workflow: w\nsteps:\n  a: { capability: x }\noutput: ${{ steps.a.output }}\n";
const X: &[(&str, EffectClass)] = &[("x", EffectClass::Idempotent)];

async fn join(handle: &Handle, version: &str) -> Session {
    let mut declared = agent("writer", X);
    version.clone_into(&mut declared.version);
    handle.attach(hello(declared, 8, Vec::new()), Locality::Remote).await.unwrap()
}

async fn next_task(session: &mut Session) -> TaskOffer {
    while let Some(messages) = session.receive().await {
        for message in messages {
            if let ToWorker::Task(offer) = message {
                return *offer;
            }
        }
    }
    panic!("a task was expected")
}

/// What operators said, as another start finds it: `NAME@VERSION weight`, with a star where it drains.
fn states(disk: &MemoryLogDisk, store: &MemoryStore) -> Vec<String> {
    let mut partition = Partition::open(parts(disk, store), Config::default(), 9, Time(0)).unwrap();
    let states = partition.machine().unwrap().registry().agent_states().unwrap().into_iter();
    let show = |draining: bool| if draining { "*" } else { "" };
    states
        .map(|(_, name, version, state)| format!("{name}@{version} {}{}", state.weight, show(state.draining)))
        .collect()
}

#[tokio::test]
async fn what_operators_say_survives_a_restart() {
    let (disk, store) = (MemoryLogDisk::new(), MemoryStore::new());
    let handle = Handle::open(parts(&disk, &store), Config::default()).await.unwrap();
    for version in ["1.0", "1.1", "2.0"] {
        drop(join(&handle, version).await);
    }
    handle.drain_agent(NS, "writer", None).await.unwrap();
    handle.resume_agent(NS, "writer", Some("2.0")).await.unwrap();
    handle.weigh_agent(NS, "writer", "1.1", 10).await.unwrap();
    drop(join(&handle, "1.1").await);
    handle.remove_agent(NS, "writer", Some("1.0"), true).await.unwrap();
    let two = TaskLimit { concurrency: Some(2), ..TaskLimit::default() };
    handle.set_quota(NS, LimitScope::Capability("x".to_owned()), two).await.unwrap();
    handle.set_quota(NS, LimitScope::Namespace, two).await.unwrap();
    handle.remove_quota(NS, LimitScope::Namespace).await.unwrap();
    handle.stop_now().await;
    drop(handle);
    assert_eq!(states(&disk, &store), ["writer@1.1 10*", "writer@2.0 100"]);
    let mut partition = Partition::open(parts(&disk, &store), Config::default(), 9, Time(0)).unwrap();
    let limits = partition.machine().unwrap().registry().limits().unwrap();
    assert_eq!(limits, [(NS.to_owned(), LimitScope::Capability("x".to_owned()), two)]);
}

#[tokio::test]
async fn requests_about_agents_that_mean_nothing_are_refused() {
    let (disk, store) = (MemoryLogDisk::new(), MemoryStore::new());
    let handle = Handle::open(parts(&disk, &store), Config::default()).await.unwrap();
    let _session = join(&handle, "1.0").await;
    let long = "v".repeat(limits::NAME_BYTES_MAX + 1);
    let over = limits::AGENT_WEIGHT_MAX + 1;
    for (refused, code) in [
        (handle.drain_agent(NS, "writter", None).await, Code::AgentNotFound),
        (handle.resume_agent(NS, "writer", Some("9")).await, Code::AgentNotFound),
        (handle.drain_agent("other", "writer", None).await, Code::AgentNotFound),
        (handle.drain_agent(NS, "no name", None).await, Code::BadName),
        (handle.drain_agent(NS, "writer", Some(&long)).await, Code::LimitReached),
        (handle.weigh_agent(NS, "writer", "1.0", over).await, Code::LimitReached),
        (handle.remove_agent(NS, "nobody", None, true).await, Code::AgentNotFound),
        (handle.remove_agent(NS, "writer", None, false).await, Code::AgentConnected),
        (handle.remove_quota("no name", LimitScope::Namespace).await, Code::BadName),
    ] {
        let error = refused.unwrap_err();
        assert!(error.code == code && error.hint.is_some(), "{error:?}");
    }
    let mut crowded = hello(agent("b", X), 1, Vec::new());
    crowded.labels = (0..=limits::LABELS_MAX).map(|n| (format!("l{n}"), String::new())).collect();
    assert_eq!(handle.attach(crowded, Locality::Local).await.err().unwrap().code, Code::LimitReached);
}

#[tokio::test]
async fn an_agent_removed_by_force_is_let_go_and_may_come_back() {
    let (disk, store) = (MemoryLogDisk::new(), MemoryStore::new());
    let handle = Handle::open(parts(&disk, &store), Config::default()).await.unwrap();
    let (mut old, mut new) = (join(&handle, "1.0").await, join(&handle, "2.0").await);
    handle.remove_agent(NS, "writer", Some("1.0"), true).await.unwrap();
    assert_eq!(old.receive().await, Some(vec![ToWorker::Drain]));
    assert_eq!(old.receive().await, None, "it is connected no more");
    let connected: Vec<_> = handle.status_of(NS).await.unwrap().agents.into_iter().map(|agent| agent.version).collect();
    assert_eq!(connected, ["2.0"], "the other version serves on");
    drop(old);
    let mut again = join(&handle, "1.0").await;
    handle.remove_agent(NS, "writer", None, true).await.unwrap();
    for session in [&mut again, &mut new] {
        assert_eq!(session.receive().await, Some(vec![ToWorker::Drain]));
    }
    handle.remove_agent(NS, "writer", None, false).await.unwrap_err();
    drop((again, new));
    let mut back = join(&handle, "3.0").await;
    handle.deploy(NS, ONE).await.unwrap();
    let request =
        StartRequest { namespace: NS.into(), workflow: "w".into(), input: Some(json("{}")), ..StartRequest::default() };
    handle.start(request).await.unwrap();
    assert_eq!(next_task(&mut back).await.capability, "x");
}

#[test]
fn tasks_of_an_agent_removed_by_force_go_to_others() {
    let mut world = World::with(ONE);
    let mut other = agent("b", X);
    other.version = "7".to_owned();
    let first = world.join(X, Locality::Remote);
    let run = world.start(1);
    assert_eq!(world.one(first).attempt, 1);
    world.ask(Command::RegisterAgent(RegisterAgent::new(NS, &other, Locality::Remote))).unwrap();
    let second = world.attach(&hello(other, 8, Vec::new()), Locality::Remote);
    let remove = RemoveAgent { namespace: NS.into(), name: "a".into(), version: Some("1".into()), force: true };
    world.ask(Command::RemoveAgent(remove)).unwrap();
    assert_eq!((world.told(first), world.dropped.as_slice()), (vec![ToWorker::Drain], [first].as_slice()));
    world.pass(Config::default().grace.0.checked_add(1).map(Span).unwrap());
    let offer = world.one(second);
    assert_eq!(offer.attempt, 2);
    world.complete(second, &offer, "5");
    assert_eq!(world.status(run), "completed 5");
}

#[test]
fn an_agent_that_is_not_known_does_not_join() {
    let mut world = World::with(ONE);
    let error = world.partition.attach(&hello(agent("a", X), 1, Vec::new()), Locality::Local, world.now).unwrap_err();
    assert_eq!(error.code, Code::AgentNotFound);
}

#[tokio::test]
async fn a_question_of_a_task_is_answered_through_the_inbox() {
    let (disk, store) = (MemoryLogDisk::new(), MemoryStore::new());
    let handle = Handle::open(parts(&disk, &store), Config::default()).await.unwrap();
    handle.deploy(NS, ONE).await.unwrap();
    let mut session = join(&handle, "1.0").await;
    let request = StartRequest {
        namespace: NS.into(),
        workflow: "w".into(),
        input: Some(json("{}")),
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
        ..StartRequest::default()
    };
    let run = handle.start(request).await.unwrap().run;
    let offer = next_task(&mut session).await;
    assert!(offer.traceparent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{}", offer.traceparent);
    let (task, token) = (offer.task, offer.token);
    // A detail of this size is kept apart from the journal.
    let detail = Payload::inline(format!("\"{}\"", "d".repeat(limits::INLINE_BYTES_MAX + 1)).into_bytes());
    let request = JournalRequest::Approval { prompt: "send it?".to_owned(), detail: detail.clone() };
    let entry = JournalEntry { title: None, request, after: Vec::new(), result: None };
    session.sender().send(FromWorker::Record { task, token, index: 0, entry }).await.unwrap();
    session.sender().send(FromWorker::Park { task, token, waiting: vec![0] }).await.unwrap();
    while !matches!(session.receive().await.unwrap()[..], [ToWorker::Recorded { index: 0, .. }, ..]) {}
    let asked = handle.inbox(NS, None, 10).await.unwrap().items.remove(0);
    assert_eq!((asked.step.as_str(), asked.title.as_str()), ("a/call:0", "send it?"));
    let shown = handle.payload(NS, asked.details.unwrap()).await.unwrap();
    assert_eq!(&*shown, detail.bytes().unwrap());
    handle.decide(NS, asked.task, Decision::Reject, "ann", Some("not today".to_owned())).await.unwrap();
    let offer = next_task(&mut session).await;
    let answer = offer.journal[0].result.clone().unwrap().unwrap();
    let report = FromWorker::Complete { task: offer.task, token: offer.token, output: answer };
    session.sender().send(report).await.unwrap();
    let view = handle.wait_end(NS, run).await.unwrap();
    let expected = r#"{"approved":false,"by":"ann","comment":"not today"}"#;
    assert_eq!(view.output.unwrap().bytes(), Some(expected.as_bytes()));
}

/// An agent with the capability `x`, whose input has this type.
fn takes(name: &str, version: &str, kind: &str) -> AgentDeclaration {
    let mut declared = agent(name, X);
    version.clone_into(&mut declared.version);
    declared.capabilities[0].input_schema = serde_json::json!({ "type": kind });
    declared
}

async fn attach(handle: &Handle, declared: AgentDeclaration) -> Result<Session> {
    handle.attach(hello(declared, 8, Vec::new()), Locality::Remote).await
}

/// An agent that is handed events by its capability `x`.
fn handed(filter: &str) -> AgentDeclaration {
    let subscription = SubscriptionDeclaration {
        name: "orders".to_owned(),
        topic: "orders.>".to_owned(),
        capability: "x".to_owned(),
        filter: Some(filter.to_owned()),
        order_by: None,
        max_deliveries: None,
        back_off: None,
        timeout: None,
        max_in_flight: None,
        keep: None,
        from_start: false,
    };
    AgentDeclaration { subscriptions: vec![subscription], ..agent("shop", X) }
}

fn order(id: &str, total: u32) -> NewEvent {
    let attributes = EventAttributes {
        id: id.to_owned(),
        source: "/test".to_owned(),
        kind: "orders.made".to_owned(),
        topic: "orders.made".to_owned(),
        ..EventAttributes::default()
    };
    NewEvent { attributes, data: Some(json(&format!("{{\"total\":{total}}}"))) }
}

#[tokio::test]
async fn an_agent_is_handed_the_events_that_it_declares() {
    let (disk, store) = (MemoryLogDisk::new(), MemoryStore::new());
    let handle = Handle::open(parts(&disk, &store), Config::default()).await.unwrap();
    let wrong = attach(&handle, handed("event.data.total >")).await.map(drop).unwrap_err();
    assert_eq!(wrong.code, Code::BadTrigger);
    assert!(wrong.message.starts_with("subscription `orders` of agent `shop`: "), "{wrong}");
    let mut elsewhere = handed("true");
    elsewhere.subscriptions[0].capability = "y".to_owned();
    assert_eq!(attach(&handle, elsewhere).await.map(drop).unwrap_err().code, Code::BadRequest);
    let mut session = attach(&handle, handed("event.data.total > 100")).await.unwrap();
    let bus = EventBus::of(&handle);
    bus.publish(NS, vec![order("small", 7), order("large", 700)]).await.unwrap();
    let offer = next_task(&mut session).await;
    let input: serde_json::Value = serde_json::from_slice(offer.input.bytes().unwrap()).unwrap();
    assert_eq!((offer.capability.as_str(), &input["id"]), ("x", &"large".into()));
    let found = bus.subscription(NS, "shop.orders").await.unwrap();
    assert_eq!((found.in_flight, found.filtered, found.owner.unwrap().version.as_str()), (1, 1, "1"));
    let report = FromWorker::Complete { task: offer.task, token: offer.token, output: json("null") };
    session.sender().send(report).await.unwrap();
    loop {
        // The report is recorded in its own time.
        let found = bus.subscription(NS, "shop.orders").await.unwrap();
        if found.acknowledged == 1 {
            assert_eq!((found.in_flight, found.open), (0, 0));
            break;
        }
    }
}

#[tokio::test]
async fn a_version_declares_one_thing_while_instances_of_it_are_connected() {
    let (disk, store) = (MemoryLogDisk::new(), MemoryStore::new());
    let handle = Handle::open(parts(&disk, &store), Config::default()).await.unwrap();
    let first = attach(&handle, takes("stock", "1", "string")).await.unwrap();
    let second = attach(&handle, takes("stock", "1", "string")).await.unwrap();
    let error = attach(&handle, takes("stock", "1", "integer")).await.map(drop).unwrap_err();
    assert_eq!(error.code, Code::AgentClash);
    assert_eq!(
        error.message,
        "agent `stock` declares another version `1` than `2` connected instances: the input schema of `x` differs"
    );
    // Another version may declare what it wants, and what people read may change.
    let other = attach(&handle, takes("stock", "2", "integer")).await.unwrap();
    let mut said = takes("stock", "1", "string");
    said.description = "says more".to_owned();
    let third = attach(&handle, said).await.unwrap();
    let shown = handle.agent(NS, "stock", Some("1")).await.unwrap().remove(0);
    assert_eq!((shown.declaration.description.as_str(), shown.instances.len()), ("says more", 3));
    assert_eq!(shown.declaration.capabilities[0].input_schema["type"], "string");
    // Once all of them are disconnected, what comes next is what the version declares.
    drop((first, second, third));
    let replaced = loop {
        // The engine notices in its own time that they have left.
        if handle.agent(NS, "stock", Some("1")).await.unwrap()[0].instances.is_empty() {
            break attach(&handle, takes("stock", "1", "integer")).await.unwrap();
        }
    };
    let shown = handle.agent(NS, "stock", Some("1")).await.unwrap().remove(0);
    assert_eq!(
        (&shown.declaration.capabilities[0].input_schema["type"], shown.instances.len()),
        (&"integer".into(), 1)
    );
    drop((other, replaced));
}

#[tokio::test]
async fn capabilities_that_agents_declare_otherwise_are_warned_of() {
    let (disk, store) = (MemoryLogDisk::new(), MemoryStore::new());
    let handle = Handle::open(parts(&disk, &store), Config::default()).await.unwrap();
    let one = attach(&handle, takes("stock", "1", "string")).await.unwrap();
    let same = attach(&handle, takes("store", "1", "string")).await.unwrap();
    let warnings = async |name: &str| handle.agent(NS, name, None).await.unwrap().remove(0).warnings;
    assert!(warnings("stock").await.is_empty() && warnings("store").await.is_empty());
    let other = attach(&handle, takes("other", "3", "integer")).await.unwrap();
    for (name, by) in [("stock", "other@3"), ("store", "other@3"), ("other", "stock@1")] {
        let found = warnings(name).await;
        let begins = format!("`x` has another input schema at `{by}`");
        assert!(found.len() == 1 && found[0].starts_with(&begins), "{name}: {found:?}");
    }
    drop(other);
    while !handle.agent(NS, "other", None).await.unwrap()[0].instances.is_empty() {}
    assert!(warnings("stock").await.is_empty(), "what is not connected takes no task");
    drop((one, same));
}
