//! Tasks that are pinned to the version that wrote their journal, and tasks whose code has diverged from it.
//!
//! For: the rules of the machine about them. Not for: which instance gets what (`dispatch`), or comparing code and journal
//! (the SDKs).
//! Invariant: every test ends with the checks of `World::verify`.

#[allow(dead_code, reason = "each test file uses its part of the harness")]
mod support;

use consort_core::{
    Command, Effect,
    command::{Resolution, ResolveUnknown, RetryDiverged, TaskFail},
    rows::Ask,
};
use consort_types::{Code, Error, Payload, StepInstanceId, Token, task::ReadyTask, worker::JournalRequest};
use support::{NS, World, holder};

const ONE: &str = "workflow: w\nsteps:\n  a: { capability: x }\noutput: \"${{ steps.a.output }}\"\n";

/// A run whose task has recorded one entry, at version 1 of agent `a`, and then diverges.
fn diverged() -> World {
    let mut world = World::new();
    world.deploy(ONE);
    world.act("start {}");
    world.act("take a");
    let price = JournalRequest::Run { name: "price".into() };
    world.record("a", 0, price, Some("7")).unwrap();
    diverge(&mut world);
    world
}

fn diverge(world: &mut World) {
    let (task, token) = world.find("a");
    report(world, task, token).unwrap();
}

fn report(world: &mut World, task: StepInstanceId, token: Token) -> consort_types::Result<()> {
    let error = Error::new(Code::JournalDiverged, "entry 0 is recorded as run `price`, but found run `cost`");
    let by = holder();
    let fail = TaskFail { task, token, error, retryable: false, retry_after: None, taken: None, by, version: None };
    world.apply(&Command::TaskFail(fail)).map(drop)
}

fn state(world: &mut World) -> String {
    let steps = world.machine.steps(NS, world.runs[0], None, 10).unwrap().items;
    steps[0].state.as_str().to_owned()
}

fn decide(world: &mut World, resolution: Resolution) -> consort_types::Result<()> {
    let task = world.machine.tasks().inbox(NS, None, 10).unwrap().items[0].task;
    let (namespace, by, comment) = (NS.to_owned(), "ann".to_owned(), None);
    let decision = ResolveUnknown { namespace, task, resolution, by, comment };
    world.apply(&Command::ResolveUnknown(decision)).map(drop)
}

fn newest(world: &World) -> &ReadyTask {
    let found = world.effects.iter().rev().find_map(|effect| match effect {
        Effect::Ready(ready) => Some(ready),
        _ => None,
    });
    found.expect("a task was made ready")
}

fn come(world: &mut World, version: &str) {
    let (namespace, agent, version) = (NS.to_owned(), "a".to_owned(), version.to_owned());
    world.apply(&Command::RetryDiverged(RetryDiverged { namespace, agent, version, after: None })).unwrap();
}

#[test]
fn code_that_differs_from_its_journal_suspends_the_task_and_nothing_ends() {
    let mut world = diverged();
    assert_eq!(state(&mut world), "diverged");
    let item = &world.machine.tasks().inbox(NS, None, 10).unwrap().items[0];
    assert_eq!(item.ask, Ask::Diverged);
    assert!(item.title.contains("`a` waits for code that fits its journal"), "{}", item.title);
    assert!(item.title.contains("found run `cost`"), "{}", item.title);
    assert_eq!(world.show().lines().next(), Some("run running"));
    world.verify();
}

#[test]
fn it_goes_on_with_its_journal_when_code_comes_that_fits() {
    let mut world = diverged();
    come(&mut world, "2");
    assert_eq!(newest(&world).written_by, Some(("a".to_owned(), "2".to_owned())));
    let (task, token) = world.find("a");
    let offer = world.machine.offer(task).unwrap().unwrap();
    assert_eq!((offer.journal.len(), offer.attempt, offer.token), (1, 2, token), "what was recorded stays");
    assert_eq!(world.machine.tasks().inbox(NS, None, 10).unwrap().items, []);
    // It does not fit either: the task waits again, for the next one.
    diverge(&mut world);
    assert_eq!(state(&mut world), "diverged");
    come(&mut world, "3");
    world.act("done a 7");
    assert_eq!(world.show().lines().next(), Some("run completed 7"));
    come(&mut world, "4");
    world.verify();
}

#[test]
fn a_person_decides_to_retry_to_pass_over_or_to_fail() {
    for (resolution, expected) in [
        (Resolution::Done(Payload::inline(b"9".as_slice())), "run completed 9"),
        (Resolution::Fail, "run failed"),
        (Resolution::Retry, "run running"),
    ] {
        let mut world = diverged();
        decide(&mut world, resolution.clone()).unwrap();
        assert!(world.show().starts_with(expected), "{resolution:?}: {}", world.show());
        if resolution == Resolution::Retry {
            assert_eq!(newest(&world).written_by, None, "any version may try");
            world.act("done a 1");
        }
        world.verify();
    }
}

#[test]
fn a_divergence_is_no_failure_and_a_cancelled_run_leaves_nothing_behind() {
    let mut world = diverged();
    world.act("cancel");
    assert!(world.show().starts_with("run cancelled"), "{}", world.show());
    assert_eq!(world.machine.tasks().inbox(NS, None, 10).unwrap().items, []);
    come(&mut world, "2");
    world.verify();
}

#[test]
fn without_a_journal_there_is_nothing_to_diverge_from() {
    let mut world = World::new();
    world.deploy(ONE);
    world.act("start {}");
    world.act("take a");
    diverge(&mut world);
    assert!(world.show().starts_with("run failed"), "{}", world.show());
    world.verify();
}
