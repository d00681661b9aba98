//! Versions of an agent side by side, and code that does not fit a journal.
//!
//! For: where tasks with a journal go. Not for: the rules of the machine about them (`core`).
//! Invariant: no test waits; the clock moves only when the test sets it.

use crate::support::{NS, World, agent, hello, json};
use consort_core::{Command, command::RegisterAgent};
use consort_engine::{InstanceId, Locality};
use consort_types::{
    Code, EffectClass, Error, Span,
    registry::AgentFilter,
    worker::{AgentDeclaration, FromWorker, JournalEntry, JournalRequest, TaskOffer, ToWorker},
};

const ONE: &str = "workflow: w\nsteps:\n  a: { capability: x }\noutput: \"${{ steps.a.output }}\"\n";

fn version(version: &str) -> AgentDeclaration {
    AgentDeclaration { version: version.into(), ..agent("a", &[("x", EffectClass::Idempotent)]) }
}

fn join(world: &mut World, of: &str) -> InstanceId {
    let declared = version(of);
    world.ask(Command::RegisterAgent(RegisterAgent::new(NS, &declared, Locality::Remote))).unwrap();
    world.attach(&hello(declared, 8, Vec::new()), Locality::Remote)
}

/// Records a wait for a signal, and leaves the worker.
fn record_and_park(world: &mut World, instance: InstanceId, offer: &TaskOffer) {
    let (task, token) = (offer.task, offer.token);
    let entry = JournalEntry {
        title: None,
        request: JournalRequest::Signal { name: "go".into(), schema: None },
        after: Vec::new(),
        result: None,
    };
    world.partition.report(instance, FromWorker::Record { task, token, index: 0, entry }, world.now);
    world.partition.report(instance, FromWorker::Park { task, token, waiting: vec![0] }, world.now);
    world.step();
    world.told(instance);
}

fn signal(world: &mut World, run: consort_types::RunId) {
    let (namespace, name, payload) = (NS.to_owned(), "go".to_owned(), json("1"));
    world.ask(Command::SignalRun(consort_core::command::SignalRun { namespace, run, name, payload })).unwrap();
}

fn diverge(world: &mut World, instance: InstanceId, offer: &TaskOffer) {
    let error = Error::new(Code::JournalDiverged, "entry 0 is recorded as signal `go`, but found signal `went`");
    let (task, token) = (offer.task, offer.token);
    world.partition.report(
        instance,
        FromWorker::Fail { task, token, error, retryable: false, retry_after: None },
        world.now,
    );
    world.step();
}

/// A run whose task has a journal of version 1, and no worker.
fn parked() -> (World, InstanceId, consort_types::RunId) {
    let mut world = World::with(ONE);
    let old = join(&mut world, "1");
    let run = world.start(1);
    let offer = world.one(old);
    record_and_park(&mut world, old, &offer);
    (world, old, run)
}

/// The same, offered to its version again, whose code has diverged.
fn diverged() -> (World, InstanceId, consort_types::RunId) {
    let (mut world, old, run) = parked();
    signal(&mut world, run);
    let offer = world.one(old);
    diverge(&mut world, old, &offer);
    (world, old, run)
}

#[test]
fn a_journal_goes_on_at_the_version_that_wrote_it_even_while_that_one_drains() {
    let (mut world, old, run) = parked();
    let new = join(&mut world, "2");
    let drain = consort_core::command::SetAgent {
        namespace: NS.into(),
        name: "a".into(),
        version: Some("1".into()),
        change: consort_core::command::AgentChange::Drain,
    };
    world.ask(Command::SetAgent(drain)).unwrap();
    signal(&mut world, run);
    assert_eq!(world.told(new), [], "the new version did not write it");
    assert_eq!(world.one(old).journal.len(), 1);
    world.start(2);
    assert_eq!(world.one(new).journal.len(), 0, "new work goes to the version that does not drain");
}

#[test]
fn while_its_version_is_away_it_waits_for_it_and_then_another_may_try() {
    let (mut world, old, run) = parked();
    let new = join(&mut world, "2");
    world.partition.detach(old, world.now);
    signal(&mut world, run);
    world.pass(Span::from_secs(10));
    assert_eq!(world.told(new), []);
    let queue = world.partition.views().queues(NS, world.now);
    assert!(queue[0].reason.as_deref().unwrap_or_default().contains("`a@1`"), "{queue:?}");
    // It reconnects in time.
    let again = join(&mut world, "1");
    let offer = world.one(again);
    world.partition.detach(again, world.now);
    world.pass(Span::from_secs(11));
    let _ = offer;
    assert_eq!(world.told(new), [], "the wait begins anew");
    let wake = world.partition.next_wake().expect("the end of the wait is a reason to wake up");
    assert!(wake <= world.now.after(Span::from_secs(61)));
    // The instance of version 2 has been silent for too long by then: another one connects.
    world.pass(Span::from_secs(61));
    let new = join(&mut world, "2");
    let offer = world.one(new);
    assert_eq!(offer.journal.len(), 1);
    world.complete(new, &offer, "5");
    assert_eq!(world.status(run), "completed 5");
}

#[test]
fn code_that_does_not_fit_waits_for_code_that_does() {
    let (mut world, old, run) = diverged();
    assert_eq!(world.status(run), "running");
    let told = world.told(old);
    assert!(!told.iter().any(|message| matches!(message, ToWorker::Task(_))), "it is not tried again: {told:?}");
    let fixed = join(&mut world, "1.1");
    let offer = world.one(fixed);
    assert_eq!((offer.journal.len(), offer.attempt), (1, 2));
    world.complete(fixed, &offer, "3");
    assert_eq!(world.status(run), "completed 3");
}

#[test]
fn operators_see_how_many_tasks_hang_on_a_version_and_do_not_remove_it_by_mistake() {
    let (mut world, old, run) = parked();
    let pinned = |world: &mut World| -> Vec<(String, u64)> {
        let now = world.now;
        let all = world.partition.views().agents(NS, &AgentFilter::default(), now).unwrap();
        all.into_iter().map(|view| (view.declaration.version, view.pinned)).collect()
    };
    join(&mut world, "2");
    assert_eq!(pinned(&mut world), [("1".to_owned(), 1), ("2".to_owned(), 0)]);
    world.partition.detach(old, world.now);
    world.pass(Span::from_secs(11));
    let remove = |force| {
        let (namespace, name, version) = (NS.to_owned(), "a".to_owned(), Some("1".to_owned()));
        Command::RemoveAgent(consort_core::command::RemoveAgent { namespace, name, version, force })
    };
    let refused = world.ask(remove(false)).unwrap_err();
    assert_eq!(refused.code, Code::AgentPinned);
    assert!(refused.message.contains("`1` tasks"), "{refused}");
    world.ask(remove(true)).unwrap();
    signal(&mut world, run);
    world.step();
    assert_eq!(world.status(run), "running");
}

#[test]
fn pins_and_divergences_survive_a_crash() {
    let (mut world, _, run) = diverged();
    world.flush();
    world.crash(0);
    assert_eq!(world.status(run), "running");
    let back = join(&mut world, "1");
    let offer = world.one(back);
    assert_eq!((offer.journal.len(), offer.attempt), (1, 2), "an instance that reconnects may have other code");
    world.complete(back, &offer, "4");
    assert_eq!(world.status(run), "completed 4");
}
