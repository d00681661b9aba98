//! Steps that end, or are to end, while their effect is under way.
//!
//! For: cancellations, time-outs, deadlines and ends from above of a running `write` attempt, and workers that die with
//! their task. Not for: the same of steps that repeat without harm (`scenarios`).
//! Invariant: every test ends with the checks of `World::verify`.

#[allow(dead_code, reason = "each test file uses its part of the harness")]
mod support;

use consort_core::rows::{Ask, RunStatus, StepState};
use consort_types::{Code, EffectClass, Span, limits, worker::JournalRequest};
use support::{NS, World};

/// A booking that is to be undone, and a second one that runs.
fn booking(settings: &str) -> World {
    let mut world = World::new();
    world.deploy(&format!(
        "workflow: w\nsteps:\n  hotel: {{ capability: book, compensate: {{ capability: undo }} }}\n  car: {{ capability: \
         book, needs: hotel, compensate: {{ capability: undo }}{settings} }}\n"
    ));
    world.act("start {}");
    world.act("write hotel");
    world.act("done hotel 1");
    world.act("write car");
    world
}

fn status(world: &mut World) -> RunStatus {
    let run = world.runs[0];
    world.machine.run_view(NS, run).unwrap().summary.status
}

fn state(world: &mut World, path: &str) -> StepState {
    let run = world.runs[0];
    let page = world.machine.steps(NS, run, None, 1000).unwrap();
    page.items.into_iter().find(|step| step.path == path).unwrap().state
}

fn asked(world: &mut World) -> Vec<Ask> {
    world.machine.tasks().inbox(NS, None, 10).unwrap().items.into_iter().map(|item| item.ask).collect()
}

/// Every compensation that is due is done, until the run has ended.
fn undo_all(world: &mut World, expected: &[&str]) {
    for path in expected {
        world.act(&format!("done compensate/{path}"));
    }
    assert!(status(world).is_terminal(), "{}", world.show());
    world.verify();
}

#[test]
fn a_cancelled_run_waits_for_the_report_of_a_write_and_undoes_it() {
    let mut world = booking("");
    world.act("cancel");
    assert_eq!((status(&mut world), state(&mut world, "car")), (RunStatus::Cancelling, StepState::Taken));
    world.act("done car 2");
    assert_eq!(state(&mut world, "car"), StepState::Completed);
    undo_all(&mut world, &["car", "hotel"]);
    assert_eq!(status(&mut world), RunStatus::Cancelled);
}

#[test]
fn a_write_that_reports_a_failure_is_cancelled_and_not_tried_again() {
    let mut world = booking(", retry: { attempts: 5 }");
    world.act("cancel");
    world.act("fail car");
    assert_eq!(state(&mut world, "car"), StepState::Cancelled);
    undo_all(&mut world, &["hotel"]);
}

#[test]
fn one_that_does_not_report_within_the_grace_is_a_question_and_the_run_waits_for_the_answer() {
    for (answer, undone) in [("3", vec!["car", "hotel"]), ("retry", vec!["hotel"]), ("fail", vec!["hotel"])] {
        let mut world = booking(", on_unknown: retry");
        world.act("cancel");
        world.tick(Span::from_secs(limits::WRITE_GRACE_SECONDS));
        assert_eq!((state(&mut world, "car"), asked(&mut world)), (StepState::Unknown, vec![Ask::UnknownOutcome]));
        world.act("force");
        assert_eq!(asked(&mut world), [Ask::UnknownOutcome], "by force the question stays");
        world.act(&format!("resolve car {answer}"));
        undo_all(&mut world, &undone);
    }
}

#[test]
fn a_worker_that_is_lost_meanwhile_leaves_the_question_at_once() {
    let mut world = booking("");
    world.act("cancel");
    world.act("lose car");
    assert_eq!(asked(&mut world), [Ask::UnknownOutcome]);
    world.act("resolve car 3");
    undo_all(&mut world, &["car", "hotel"]);
}

#[test]
fn what_is_asked_already_stays_asked_when_the_run_is_cancelled() {
    let mut world = booking("");
    world.act("lose car");
    world.act("cancel");
    assert_eq!((status(&mut world), asked(&mut world)), (RunStatus::Cancelling, vec![Ask::UnknownOutcome]));
    world.act("resolve car 3");
    undo_all(&mut world, &["car", "hotel"]);
}

#[test]
fn a_deadline_waits_for_the_report_and_takes_what_was_done() {
    let mut world = booking(", deadline: 3s");
    world.tick(Span::from_secs(3));
    assert_eq!(state(&mut world, "car"), StepState::Taken);
    world.act("done car 2");
    assert_eq!(status(&mut world), RunStatus::Completed);
    world.verify();

    let mut world = booking(", deadline: 3s, retry: { attempts: 3 }");
    world.tick(Span::from_secs(3));
    world.act("fail car");
    let run = world.runs[0];
    undo_all(&mut world, &["hotel"]);
    let error = world.machine.run_view(NS, run).unwrap().summary.error.unwrap();
    assert_eq!(error.code, Code::DeadlinePassed);
}

#[test]
fn a_write_below_a_step_that_ends_is_awaited_by_the_run() {
    let group = "workflow: w\nsteps:\n  trip:\n    deadline: 5s\n    steps:\n      car: { capability: book, compensate: { \
                 capability: undo } }\n      look: { capability: look }\n";
    for reported in [true, false] {
        let mut world = World::new();
        world.deploy(group);
        world.act("start {}");
        world.act("write trip/car");
        world.tick(Span::from_secs(5));
        assert_eq!(state(&mut world, "trip"), StepState::Failed);
        assert_eq!(state(&mut world, "trip/look"), StepState::Cancelled);
        assert_eq!(status(&mut world), RunStatus::Running, "it waits for the booking");
        if reported {
            world.act("done trip/car 1");
        } else {
            world.tick(Span::from_secs(limits::WRITE_GRACE_SECONDS));
            world.act("resolve trip/car 1");
        }
        undo_all(&mut world, &["trip/car"]);
        assert_eq!(status(&mut world), RunStatus::Failed);
    }
}

#[test]
fn an_effect_that_is_awaited_by_the_run_keeps_its_reconciler() {
    let group = "workflow: w\nsteps:\n  trip:\n    deadline: 5s\n    steps:\n      car: { capability: book, \
                 on_unknown: reconcile with look, compensate: { capability: undo } }\n";
    let answers = [
        ("done trip/car/reconcile {\"decision\":\"done\",\"output\":1}", None, vec!["trip/car"]),
        ("done trip/car/reconcile \"retry\"", None, vec![]),
        ("fatal trip/car/reconcile", Some("resolve trip/car 1"), vec!["trip/car"]),
        ("cancel", Some("resolve trip/car retry"), vec![]),
    ];
    for (answer, decision, undone) in answers {
        let mut world = World::new();
        world.deploy(group);
        world.act("start {}");
        world.act("write trip/car");
        world.act("lose trip/car");
        world.tick(Span::from_secs(5));
        assert_eq!(state(&mut world, "trip"), StepState::Failed);
        assert_eq!(
            state(&mut world, "trip/car/reconcile"),
            StepState::Ready,
            "the step above does not need it, the run does"
        );
        world.act(answer);
        if let Some(decision) = decision {
            assert_eq!(asked(&mut world), [Ask::UnknownOutcome], "{answer}");
            world.act(decision);
        }
        undo_all(&mut world, &undone);
    }
}

#[test]
fn a_call_of_code_that_writes_is_awaited_though_its_caller_has_ended() {
    let mut world = World::new();
    world.deploy("workflow: w\nsteps:\n  code: { capability: code }\n");
    world.act("start {}");
    world.taken("code", EffectClass::Idempotent);
    let call = JournalRequest::Call { capability: "book".into(), input: consort_types::Payload::null(), options: None };
    world.record("code", 0, call, None).unwrap();
    world.act("write code/call:0");
    world.act("done code 1");
    assert_eq!((state(&mut world, "code"), status(&mut world)), (StepState::Completed, RunStatus::Running));
    world.act("done code/call:0 2");
    assert_eq!(status(&mut world), RunStatus::Completed);
    world.verify();
}

#[test]
fn code_that_is_awaited_begins_nothing_more() {
    let mut world = World::new();
    world.deploy("workflow: w\nsteps:\n  code: { capability: code }\n");
    world.act("start {}");
    world.act("write code");
    world.act("cancel");
    let effect = JournalRequest::Run { name: "mail".into() };
    world.record("code", 0, effect, Some("1")).unwrap();
    world.record("code", 1, JournalRequest::Signal { name: "go".into(), schema: None }, None).unwrap();
    let (run, task) = (world.runs[0], world.task(0, "code"));
    let journal = world.machine.tasks().journal(NS, run, task, None, 10).unwrap().items;
    assert_eq!(journal[1].entry.error.as_ref().map(|error| error.code), Some(Code::Cancelled));
    world.park("code", &[1]).unwrap();
    assert_eq!((state(&mut world, "code"), status(&mut world)), (StepState::Cancelled, RunStatus::Cancelled));
    world.verify();
}

#[test]
fn a_task_that_kills_its_workers_ends_after_three_of_them() {
    for (settings, deaths) in [("", 3), (", retry: { losses: 5 }", 5), (", retry: { attempts: 1 }", 3)] {
        let mut world = World::new();
        world.deploy(&format!("workflow: w\nsteps:\n  bad: {{ capability: bad{settings} }}\n"));
        world.act("start {}");
        for _ in 1..deaths {
            world.act("take bad");
            world.act("die bad");
        }
        assert_eq!(status(&mut world), RunStatus::Running);
        world.act("take bad");
        // A server that is restarted, or a worker that is asked to leave, does not count.
        world.act("lose bad");
        world.act("take bad");
        world.act("die bad");
        let run = world.runs[0];
        let error = world.machine.run_view(NS, run).unwrap().summary.error.unwrap();
        assert_eq!(error.code, Code::InstanceLost);
        assert!(error.message.starts_with(&format!("its worker died {deaths} times")), "{}", error.message);
        world.verify();
    }
}

#[test]
fn a_task_that_gets_on_between_deaths_is_not_ended() {
    let mut world = World::new();
    world.deploy("workflow: w\nsteps:\n  code: { capability: code }\n");
    world.act("start {}");
    for index in 0..6 {
        world.act("take code");
        world.act("die code");
        world.act("take code");
        world.act("die code");
        world.act("take code");
        world.record("code", index, JournalRequest::Run { name: format!("step-{index}") }, Some("1")).unwrap();
    }
    world.act("done code 1");
    assert_eq!(status(&mut world), RunStatus::Completed);
    world.verify();
}

#[test]
fn an_author_says_which_failures_are_tried_again_and_for_how_long() {
    let mut world = World::new();
    world.deploy(
        "workflow: w\nretry: { max_elapsed: 10s, backoff: { initial: 1s, factor: 1 } }\nsteps:\n  slow: { capability: \
         slow, timeout: 1s, retry: { attempts: 9, on: [timeout] } }\n  long: { capability: long }\n",
    );
    world.act("start {}");
    world.act("fail slow");
    assert_eq!(state(&mut world, "slow"), StepState::Failed, "a failure is none of those");
    let mut failures = 0;
    while state(&mut world, "long") != StepState::Failed {
        world.act("fail long");
        failures += 1;
        world.tick(Span::from_secs(2));
    }
    assert!((4..=8).contains(&failures), "{failures} failures in 10 s");
    world.verify();
}
