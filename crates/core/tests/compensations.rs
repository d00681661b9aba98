//! Compensations that fail, wait, and are decided.
//!
//! For: how often a compensation is tried, what happens when it gives up, and how a person ends it. Not for: which steps
//! are undone, in which order (`scenarios`).
//! Invariant: every test ends with the checks of `World::verify`.

#[allow(dead_code, reason = "each test file uses its part of the harness")]
mod support;

use consort_core::{
    Command, Effect,
    command::{CancelRun, DeleteRun, Resolution, ResolveUnknown},
    rows::Ask,
    view::InboxView,
};
use consort_types::{Code, Error, Payload, Result, Span, task::ReadyTask};
use support::{NS, World};

/// A step that is to be undone, and one that fails behind it.
fn workflow(undo: &str) -> String {
    format!(
        "workflow: w\nsteps:\n  pay:\n    capability: pay\n    compensate: {{ capability: refund{undo} }}\n  ship: {{ \
         capability: ship, needs: pay }}\n"
    )
}

/// The refund is due.
fn refunding(undo: &str) -> World {
    let mut world = World::new();
    world.deploy(&workflow(undo));
    world.act("start {}");
    world.act("done pay {\"id\":7}");
    world.act("fatal ship");
    world
}

fn inbox(world: &mut World) -> Vec<InboxView> {
    world.machine.tasks().inbox(NS, None, 10).unwrap().items
}

fn decide(world: &mut World, resolution: Resolution, comment: Option<&str>) -> Result<()> {
    let task = inbox(world)[0].task;
    let (namespace, by, comment) = (NS.to_owned(), "ann".to_owned(), comment.map(str::to_owned));
    world.apply(&Command::ResolveUnknown(ResolveUnknown { namespace, task, resolution, by, comment })).map(drop)
}

fn cancel(world: &mut World, force: bool) -> Result<()> {
    let (namespace, run, reason) = (NS.to_owned(), world.runs[0], "the shop is closed".to_owned());
    world.apply(&Command::CancelRun(CancelRun { namespace, run, reason, force })).map(drop)
}

fn run(world: &mut World) -> String {
    world.show().lines().next().unwrap_or_default().to_owned()
}

fn newest(world: &World) -> ReadyTask {
    let found = world.effects.iter().rev().find_map(|effect| match effect {
        Effect::Ready(ready) => Some(ready.clone()),
        _ => None,
    });
    found.expect("a task was made ready")
}

#[test]
fn a_refund_that_is_down_is_tried_until_it_works() {
    let mut world = refunding("");
    for _ in 0..40 {
        world.act("fail compensate/pay");
        world.tick(Span::from_secs(90));
    }
    assert_eq!(inbox(&mut world), []);
    assert!(run(&mut world).starts_with("run compensating"), "{}", world.show());
    world.act("done compensate/pay");
    assert!(run(&mut world).starts_with("run failed"), "{}", world.show());
    world.verify();
}

#[test]
fn its_author_says_how_often_how_long_and_where() {
    let undo = ", with: { id: \"${{ steps.pay.output.id }}\" }, retry: { attempts: 2, backoff: { initial: 5s } }, timeout: \
                1m, route: { version: \"^2\", labels: { id: \"no-${{ steps.pay.output.id }}\" } }";
    let mut world = refunding(undo);
    let route = newest(&world).route.expect("it has a route");
    assert_eq!(route.version.as_deref(), Some("^2"));
    assert_eq!(route.labels.get("id").map(String::as_str), Some("no-7"), "as seen from the step that it undoes");
    world.act("fail compensate/pay");
    world.tick(Span::from_secs(7));
    // The second attempt does not end in time, and is the last.
    world.act("take compensate/pay");
    world.tick(Span::from_secs(61));
    assert_eq!(inbox(&mut world)[0].ask, Ask::GaveUp);
    world.verify();
}

#[test]
fn one_that_cannot_work_is_put_before_a_person_and_not_lost() {
    let mut world = refunding("");
    world.act("fatal compensate/pay");
    let item = inbox(&mut world).remove(0);
    assert_eq!(item.ask, Ask::GaveUp);
    assert!(
        item.title.starts_with("`compensate/pay` has given up, and what it was to undo may stand"),
        "{}",
        item.title
    );
    assert!(run(&mut world).starts_with("run compensating"), "{}", world.show());
    decide(&mut world, Resolution::Retry, None).unwrap();
    world.act("fatal compensate/pay");
    decide(&mut world, Resolution::Done(Payload::null()), Some("by hand")).unwrap();
    assert!(run(&mut world).starts_with("run failed"), "{}", world.show());
    assert_eq!(inbox(&mut world), []);
    world.verify();
}

#[test]
fn leaving_it_undone_is_one_decision_with_its_reason() {
    let mut world = refunding("");
    world.act("fatal compensate/pay");
    decide(&mut world, Resolution::Fail, Some("the customer is gone")).unwrap();
    assert!(run(&mut world).starts_with("run failed"), "{}", world.show());
    let steps = world.machine.steps(NS, world.runs[0], None, 10).unwrap().items;
    let undo = steps.iter().find(|step| step.path == "compensate/pay").expect("it is shown");
    let error = undo.error.as_ref().expect("it failed");
    assert!(error.message.starts_with("`ann` left it undone (the customer is gone)"), "{error}");
    world.verify();
}

#[test]
fn an_input_that_cannot_be_evaluated_is_no_lost_refund() {
    let mut world = refunding(", with: { id: \"${{ steps.pay.output.ident }}\" }");
    let item = inbox(&mut world).remove(0);
    assert!(item.title.contains("ident"), "{}", item.title);
    let refused = decide(&mut world, Resolution::Retry, None).unwrap_err();
    assert_eq!(refused.code, Code::Expression, "it fails again at once: {refused}");
    decide(&mut world, Resolution::Done(Payload::null()), None).unwrap();
    assert!(run(&mut world).starts_with("run failed"), "{}", world.show());
    world.verify();
}

#[test]
fn a_run_whose_refund_has_no_agent_can_be_ended_and_no_two_commands_point_at_each_other() {
    let mut world = refunding("");
    let refused: Error = cancel(&mut world, false).unwrap_err();
    assert_eq!(refused.code, Code::StepState);
    assert!(refused.hint.unwrap_or_default().contains("--force"));
    let delete = DeleteRun { namespace: NS.to_owned(), run: world.runs[0] };
    let refused = world.apply(&Command::DeleteRun(delete)).unwrap_err();
    assert!(refused.hint.unwrap_or_default().contains("consort inbox"));
    cancel(&mut world, true).unwrap();
    assert!(inbox(&mut world)[0].title.contains("the shop is closed"));
    let again = cancel(&mut world, true).unwrap_err();
    assert!(again.hint.unwrap_or_default().contains("consort inbox"), "it waits for a person already");
    decide(&mut world, Resolution::Fail, Some("written off")).unwrap();
    assert!(run(&mut world).starts_with("run failed"), "{}", world.show());
    world.verify();
}

/// The key of an open task.
fn key(world: &mut World, path: &str) -> String {
    let (task, _) = world.find(path);
    world.machine.offer(task).unwrap().unwrap().idempotency_key
}

#[test]
fn a_retry_repeats_no_payment_whose_refund_was_given_up() {
    let mut world = refunding("");
    world.act("fatal compensate/pay");
    decide(&mut world, Resolution::Fail, Some("refund by hand")).unwrap();
    world.act("fork");
    assert_eq!(world.task_state(1, "pay"), "completed", "it is taken over");
    world.act("done 2:ship");
    assert!(world.show().contains("run completed"), "{}", world.show());
    world.verify();
}

#[test]
fn the_key_follows_the_effect_until_it_was_undone() {
    let mut world = World::new();
    world.deploy(&workflow(""));
    world.act("start {}");
    let pay = key(&mut world, "pay");
    world.act("take pay");
    world.act("lose pay");
    assert_eq!(key(&mut world, "pay"), pay, "all attempts have one key");
    world.act("done pay {\"id\":7}");
    assert_ne!(key(&mut world, "ship"), pay, "other steps have other keys");
    world.act("fatal ship");
    let refund = key(&mut world, "compensate/pay");
    world.act("done compensate/pay");
    world.act("fork");
    assert_ne!(key(&mut world, "2:pay"), pay, "it was undone, so that this is another payment");
    world.act("done 2:pay {\"id\":8}");
    world.act("fatal 2:ship");
    assert_ne!(key(&mut world, "2:compensate/pay"), refund);
    world.verify();
}

#[test]
fn what_failed_and_is_retried_has_the_key_of_its_first_try() {
    let mut world = World::new();
    world.deploy("workflow: w\nsteps:\n  a: { capability: a }\n  pay: { capability: pay, needs: a }\n");
    world.act("start {}");
    world.act("done a");
    let first = key(&mut world, "pay");
    world.act("fatal pay");
    for n in 2..4 {
        world.fork(n - 2, None, None).unwrap();
        let again = key(&mut world, &format!("{n}:pay"));
        assert_eq!(again, first, "fork {n}");
        world.act(&format!("fatal {n}:pay"));
    }
    world.act("start {}");
    world.act("done 4:a");
    assert_ne!(key(&mut world, "4:pay"), first, "another run is another payment");
    world.verify();
}

#[test]
fn a_fan_out_that_was_undone_in_part_is_not_repeated_without_a_word() {
    let mut world = World::new();
    world.deploy(
        "workflow: w\nsteps:\n  pay: { for_each: [1, 2], capability: pay, compensate: { capability: refund } }\n  ship: { \
         capability: ship, needs: pay }\n",
    );
    world.act("start {}");
    world.act("done pay[0]");
    world.act("done pay[1]");
    world.act("fatal ship");
    world.act("fatal compensate/pay[1]");
    decide(&mut world, Resolution::Fail, None).unwrap();
    world.act("done compensate/pay[0]");
    let refused = world.fork(0, None, None).unwrap_err();
    assert_eq!(refused.code, Code::StepState);
    assert!(refused.message.contains("`pay` would be done again, but 1 of its 2 effects"), "{refused}");
    world.fork(0, Some("pay"), None).unwrap();
    assert_eq!(world.task_state(1, "pay[0]"), "queued");
    world.verify();
}
