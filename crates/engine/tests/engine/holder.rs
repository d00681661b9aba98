//! Who may report on a task, and who may claim it.
//!
//! For: reports and claims of workers that do not hold the task, in every verb, and instances that do not read. Not
//! for: fencing by tokens alone (see `partition`).
//! Invariant: what is refused leaves no record and no trace in the state.

use crate::support::{NS, World, agent, hello, json, parts, start_command};
use consort_core::{
    Command,
    command::{RegisterAgent, RemoveAgent},
};
use consort_engine::{Config, Handle, InstanceId, Locality, StartRequest};
use consort_log::MemoryLogDisk;
use consort_store::MemoryStore;
use consort_types::{
    Code, EffectClass, Error, Payload, RunId, Span, StepInstanceId, Token, limits,
    worker::{Delta, FromWorker, Hello, JournalEntry, JournalRequest, TaskOffer, ToWorker},
};

const ONE: &str =
    "workflow: w\nsteps:\n  a: { capability: x, retry: { attempts: 3 } }\noutput: \"${{ steps.a.output }}\"\n";
const X: &[(&str, EffectClass)] = &[("x", EffectClass::Idempotent)];
const WRITES: &[(&str, EffectClass)] = &[("x", EffectClass::Write)];

/// Every verb about an attempt.
fn verbs(task: StepInstanceId, token: Token) -> Vec<FromWorker> {
    let error = Error::new(Code::AgentFailed, "forged");
    let request = JournalRequest::Run { name: "forged".into() };
    let entry = JournalEntry { title: None, request, after: Vec::new(), result: Some(Ok(Payload::null())) };
    vec![
        FromWorker::Complete { task, token, output: json("\"forged\"") },
        FromWorker::Fail { task, token, error, retryable: false, retry_after: None },
        FromWorker::Record { task, token, index: 0, entry },
        FromWorker::Park { task, token, waiting: vec![0] },
        FromWorker::Heartbeat { task, token, progress: Some("forged".into()) },
        FromWorker::Stream { task, token, delta: Delta::Text { text: "forged".into() } },
    ]
}

/// Another agent, of this namespace, on this worker.
fn stranger(world: &mut World, namespace: &str, name: &str, held: Vec<(StepInstanceId, Token)>) -> InstanceId {
    let declared = agent(name, &[("y", EffectClass::Read)]);
    world.ask(Command::RegisterAgent(RegisterAgent::new(namespace, &declared, Locality::Remote))).unwrap();
    let other = Hello { namespace: namespace.into(), worker: "two".into(), ..hello(declared, 8, held) };
    world.attach(&other, Locality::Remote)
}

/// Sends every verb from an instance, each of which must be refused and leave nothing behind.
fn assert_refused(world: &mut World, liar: InstanceId, task: StepInstanceId, token: Token) {
    world.pass(Span::from_millis(200));
    for report in verbs(task, token) {
        let (records, applied) = (world.records(), world.applied());
        world.partition.report(liar, report.clone(), world.now);
        world.step();
        let told = world.told(liar);
        let fenced = matches!(&told[..], [ToWorker::Refused { task: about, token: of, error }]
            if (*about, *of) == (task, token) && matches!(error.code, Code::Fenced | Code::TaskNotFound));
        assert!(fenced, "{report:?}: {told:?}");
        assert_eq!((world.records(), world.applied()), (records, applied), "{report:?} left a record");
    }
    assert!(world.partition.views().tail(task.run).is_empty(), "nothing of it is shown");
}

fn taken() -> (World, InstanceId, TaskOffer) {
    let mut world = World::with(ONE);
    let holder = world.join(X, Locality::Remote);
    world.start(1);
    let offer = world.one(holder);
    (world, holder, offer)
}

#[test]
fn reports_of_another_namespace_or_agent_are_refused_without_a_record() {
    for (namespace, name) in [("blue", "a"), (NS, "b"), ("blue", "b")] {
        let (mut world, holder, offer) = taken();
        let liar = stranger(&mut world, namespace, name, Vec::new());
        assert_refused(&mut world, liar, offer.task, offer.token);
        assert_eq!(world.told(holder), vec![], "the holder continues undisturbed");
        world.complete(holder, &offer, "1");
        assert_eq!(world.status(offer.task.run), "completed 1");
        assert_refused(&mut world, liar, offer.task, offer.token);
    }
}

#[test]
fn another_instance_of_the_agent_does_not_report_for_its_holder() {
    let (mut world, holder, offer) = taken();
    let other = world.attach(&hello(agent("a", X), 1, Vec::new()), Locality::Remote);
    assert_refused(&mut world, other, offer.task, offer.token);
    world.complete(holder, &offer, "1");
    assert_eq!(world.status(offer.task.run), "completed 1");
}

#[test]
fn tasks_that_wait_and_tasks_that_do_not_exist_cannot_be_reported() {
    let mut world = World::with(ONE);
    let run = world.start(1);
    let liar = stranger(&mut world, NS, "b", Vec::new());
    let task = StepInstanceId { run, scope: 0, index: 0 };
    for token in 0..=world.records() {
        assert_refused(&mut world, liar, task, Token(token));
    }
    assert_refused(&mut world, liar, StepInstanceId { index: 77, ..task }, Token(1));
    let holder = world.join(X, Locality::Remote);
    assert_eq!(world.one(holder).attempt, 1, "no guess has moved the fence");
}

#[test]
fn claims_are_granted_to_the_agent_alone_and_not_while_its_holder_is_there() {
    let (mut world, holder, offer) = taken();
    let held = vec![(offer.task, offer.token)];
    let refused = |world: &mut World, liar: InstanceId| {
        let told = world.told(liar);
        assert!(matches!(&told[..], [ToWorker::Cancel { task, .. }] if *task == offer.task), "{told:?}");
    };
    for (namespace, name) in [("blue", "a"), (NS, "b"), ("blue", "b")] {
        let liar = stranger(&mut world, namespace, name, held.clone());
        refused(&mut world, liar);
    }
    // Of the agent, but of another worker, or of one that does not say which it is.
    for worker in ["two", ""] {
        let other = Hello { worker: worker.into(), ..hello(agent("a", X), 1, held.clone()) };
        let other = world.attach(&other, Locality::Remote);
        refused(&mut world, other);
        world.partition.detach(other, world.now);
    }
    assert_eq!(world.told(holder), vec![], "the holder keeps it");
    // Its own worker has reconnected before the engine has noticed.
    let back = world.attach(&hello(agent("a", X), 1, held.clone()), Locality::Remote);
    assert!(matches!(&world.told(holder)[..], [ToWorker::Cancel { .. }]));
    assert_refused(&mut world, holder, offer.task, offer.token);
    // Once the connection is known to be gone, any worker of the agent may claim it, and no other.
    world.partition.detach(back, world.now);
    let liar = stranger(&mut world, NS, "b", held.clone());
    refused(&mut world, liar);
    let other = Hello { worker: "three".into(), ..hello(agent("a", X), 1, held) };
    let other = world.attach(&other, Locality::Remote);
    assert_eq!(world.told(other), vec![]);
    world.complete(other, &offer, "1");
    assert_eq!(world.status(offer.task.run), "completed 1");
}

#[test]
fn a_task_that_was_never_handed_out_cannot_be_claimed_but_one_whose_hand_out_was_lost_can() {
    let mut world = World::with(ONE);
    let run = world.start(1);
    let task = StepInstanceId { run, scope: 0, index: 0 };
    let token = world.partition.machine().unwrap().offer(task).unwrap().unwrap().token;
    let declared = agent("a", X);
    world.ask(Command::RegisterAgent(RegisterAgent::new(NS, &declared, Locality::Remote))).unwrap();
    let early = Hello { concurrency: 1, ..hello(declared.clone(), 1, vec![(task, token)]) };
    let early = world.attach(&early, Locality::Remote);
    let told = world.told(early);
    assert!(matches!(&told[..], [ToWorker::Cancel { .. }, ToWorker::Task(_)]), "{told:?}");
    // The hand-out is lazy: the process dies before it is recorded.
    world.crash(0);
    let liar = stranger(&mut world, NS, "b", vec![(task, token)]);
    assert!(matches!(&world.told(liar)[..], [ToWorker::Cancel { .. }]), "it could not have been given the task");
    let back = world.attach(&hello(declared, 1, vec![(task, token)]), Locality::Remote);
    assert_eq!(world.told(back), vec![]);
    world.partition.report(back, FromWorker::Complete { task, token, output: json("1") }, world.now);
    world.step();
    assert_eq!(world.status(run), "completed 1");
}

#[test]
fn a_repeated_report_of_the_holder_gets_the_first_answer_after_a_reconnect_and_after_a_restart() {
    for restart in [false, true] {
        let (mut world, holder, offer) = taken();
        world.complete(holder, &offer, "1");
        if restart {
            world.crash(0);
        } else {
            world.partition.detach(holder, world.now);
        }
        let back = world.attach(&hello(agent("a", X), 1, vec![(offer.task, offer.token)]), Locality::Remote);
        assert!(matches!(&world.told(back)[..], [ToWorker::Cancel { .. }]), "it is over");
        let records = world.records();
        world.complete(back, &offer, "2");
        assert_eq!(world.told(back), vec![], "the first answer was that it was taken");
        assert_eq!((world.status(offer.task.run).as_str(), world.records()), ("completed 1", records));
    }
}

/// A `write` task whose instance has left for good, and whose outcome is unknown.
fn lost_write() -> (World, RunId, TaskOffer) {
    let mut world = World::with(ONE);
    let first = world.join(WRITES, Locality::Remote);
    let run = world.start(1);
    let offer = world.one(first);
    world.partition.detach(first, world.now);
    world.pass(Span::from_secs(60));
    assert_eq!(world.partition.machine().unwrap().tasks().inbox(NS, None, 9).unwrap().items.len(), 1, "it is unknown");
    (world, run, offer)
}

#[test]
fn the_former_holder_of_a_lost_write_says_what_became_of_it_and_a_stranger_does_not() {
    let (mut world, run, offer) = lost_write();
    let liar = stranger(&mut world, NS, "b", Vec::new());
    assert_refused(&mut world, liar, offer.task, offer.token);
    let back = world.attach(&hello(agent("a", WRITES), 1, Vec::new()), Locality::Remote);
    world.complete(back, &offer, "1");
    assert_eq!(world.status(run), "completed 1");
}

#[test]
fn a_worker_that_returns_with_a_lost_write_in_its_hands_finishes_it() {
    let (mut world, run, offer) = lost_write();
    let (task, token) = (offer.task, offer.token);
    let back = world.attach(&hello(agent("a", WRITES), 1, vec![(task, token)]), Locality::Remote);
    assert_eq!(world.told(back), vec![], "to break it off would make its outcome truly unknown");
    let alive = FromWorker::Heartbeat { task, token, progress: Some("charged, now confirming".into()) };
    world.partition.report(back, alive, world.now);
    world.step();
    assert_eq!(world.told(back), vec![]);
    world.complete(back, &offer, "1");
    assert_eq!(world.status(run), "completed 1");
    assert_eq!(world.partition.machine().unwrap().tasks().inbox(NS, None, 9).unwrap().items, vec![]);
}

#[test]
fn an_instance_that_does_not_read_is_handed_nothing_more_and_keeps_its_credit() {
    let mut world = World::with("workflow: w\nsteps:\n  a: { capability: x, with: \"${{ input }}\" }\n");
    let declared = agent("a", X);
    world.ask(Command::RegisterAgent(RegisterAgent::new(NS, &declared, Locality::Remote))).unwrap();
    let deaf = world.attach(&hello(declared.clone(), 10_000, Vec::new()), Locality::Remote);
    world.deaf.insert(deaf);
    let large = format!("{{\"text\":\"{}\"}}", "x".repeat(30_000));
    for run in 1..=250 {
        world.ask(start_command(run, &large)).unwrap();
    }
    let given = world.given(deaf);
    let bytes: u64 = given.iter().map(|offer| offer.input.len()).sum();
    let max = limits::INSTANCE_UNREAD_BYTES_MAX as u64;
    assert!(bytes < max && bytes + 2 * 30_000 > max, "{} tasks with {bytes} bytes wait for it", given.len());
    let good = world.attach(&hello(declared, 10_000, Vec::new()), Locality::Remote);
    assert_eq!(world.given(good).len(), 250 - given.len(), "another one gets the rest");
    let next = world.ask(start_command(251, &large));
    assert!(next.is_ok() && world.given(deaf).is_empty());
    world.deaf.remove(&deaf);
    world.partition.has_read(deaf, usize::MAX);
    world.partition.detach(good, world.now);
    world.pass(Span::from_secs(11));
    assert!(!world.given(deaf).is_empty(), "it reads again");
}

#[test]
fn an_instance_whose_own_reports_flood_it_is_let_go() {
    let (mut world, holder, offer) = taken();
    world.deaf.insert(holder);
    let text = "y".repeat(31_000);
    for index in 0..2_000 {
        let request = JournalRequest::Run { name: "big".into() };
        let result = Some(Ok(Payload::inline(format!("\"{text}\"").into_bytes())));
        let entry = JournalEntry { title: None, request, after: Vec::new(), result };
        let report = FromWorker::Record { task: offer.task, token: offer.token, index, entry };
        world.partition.report(holder, report, world.now);
        world.step();
        if !world.dropped.is_empty() {
            break;
        }
    }
    assert_eq!(world.dropped, [holder]);
    let waiting: usize = world.told(holder).iter().map(ToWorker::weight).sum();
    assert!(waiting <= limits::INSTANCE_BACKLOG_BYTES_MAX + 64 * 1024, "{waiting} bytes waited");
}

#[test]
fn an_agent_that_is_being_removed_cannot_join_and_one_that_serves_is_not_removed() {
    let (mut world, holder, _) = taken();
    let remove =
        |force| Command::RemoveAgent(RemoveAgent { namespace: NS.into(), name: "a".into(), version: None, force });
    assert_eq!(world.ask(remove(false)).unwrap_err().code, Code::AgentConnected);
    world.partition.detach(holder, world.now);
    let ticket = world.send(remove(false));
    // The removal waits for its group: an instance that joined now would serve an agent that is no longer registered.
    let joining = world.partition.attach(&hello(agent("a", X), 1, Vec::new()), Locality::Remote, world.now);
    assert_eq!(joining.unwrap_err().code, Code::AgentNotFound);
    world.step();
    assert!(world.replies.remove(&ticket).unwrap().is_ok());
}

#[tokio::test]
async fn a_remote_worker_is_refused_the_name_of_a_built_in_agent() {
    let (disk, store) = (MemoryLogDisk::new(), MemoryStore::new());
    let handle = Handle::open(parts(&disk, &store), Config::default()).await.unwrap();
    let own = handle.attach(hello(agent("basic", X), 1, Vec::new()), Locality::Local).await.unwrap();
    let error = handle.attach(hello(agent("basic", X), 1, Vec::new()), Locality::Remote).await.err().unwrap();
    assert!(error.code == Code::AgentReserved && error.hint.is_some(), "{error}");
    let elsewhere = Hello { namespace: "blue".into(), ..hello(agent("basic", X), 1, Vec::new()) };
    let other = handle.attach(elsewhere, Locality::Remote).await.unwrap();
    // Each namespace is told of its own agents alone.
    for (namespace, count) in [(NS, 1), ("blue", 1), ("green", 0)] {
        let status = handle.status_of(namespace).await.unwrap();
        assert_eq!((status.agents.len(), status.instances), (count, 2), "{namespace}");
        assert!(status.agents.iter().all(|agent| agent.namespace == namespace));
    }
    assert!(handle.status().await.unwrap().agents.is_empty());
    drop((own, other));
}

#[tokio::test]
async fn an_agent_does_not_speak_for_consort_and_passes_failures_of_calls_on() {
    for (said, kept) in [(Code::Damaged, Code::AgentFailed), (Code::ChildFailed, Code::ChildFailed)] {
        let (disk, store) = (MemoryLogDisk::new(), MemoryStore::new());
        let handle = Handle::open(parts(&disk, &store), Config::default()).await.unwrap();
        handle.deploy(NS, ONE).await.unwrap();
        let mut session = handle.attach(hello(agent("a", X), 1, Vec::new()), Locality::Remote).await.unwrap();
        let request = StartRequest {
            namespace: NS.into(),
            workflow: "w".into(),
            input: Some(json("{}")),
            ..StartRequest::default()
        };
        let run = handle.start(request).await.unwrap().run;
        let [ToWorker::Task(offer)] = &session.receive().await.unwrap()[..] else { panic!("a task") };
        let (task, token, error) = (offer.task, offer.token, Error::new(said, "it broke"));
        let report = FromWorker::Fail { task, token, error, retryable: false, retry_after: None };
        session.sender().send(report).await.unwrap();
        let error = handle.wait_end(NS, run).await.unwrap().summary.error.unwrap();
        assert!(error.message.contains("it broke"), "{error}");
        let steps = handle.steps(NS, run, None, 10).await.unwrap().items;
        assert_eq!(steps[0].error.as_ref().unwrap().code, kept);
    }
}

#[test]
fn a_queue_says_where_the_built_in_agents_are() {
    let mut world = World::with(ONE);
    let declared = agent("basic", X);
    world.ask(Command::RegisterAgent(RegisterAgent::new("home", &declared, Locality::Local))).unwrap();
    world.attach(&Hello { namespace: "home".into(), ..hello(declared, 1, Vec::new()) }, Locality::Local);
    world.start(1);
    let reason = world.partition.views().queues(NS, world.now)[0].reason.clone().unwrap();
    assert_eq!(reason, "no instance has the capability `x`; the built-in agents serve the namespace `home`");
}
