//! Searching: runs by time, code and text, and the steps that failed.
//!
//! For: what a listing finds, and how its pages continue. Not for: labels, workflows and states (`tasks`).
//! Invariant: every test ends with the checks of `World::verify`.

#[allow(dead_code, reason = "each test file uses its part of the harness")]
mod support;

use consort_core::view::{FailedStep, FailedSteps, RunFilter};
use consort_types::{Code, RunId, Time};
use support::{NS, World};

const FORGIVING: &str = "
workflow: w
input: { what: string }
steps:
  pay: { capability: pay, continue_on_error: true }
  tell: { capability: tell, needs: pay, with: { what: '${{ input.what }}' } }
";

/// Three runs: one completed though a step failed, one failed, one still running.
fn three() -> World {
    let mut world = World::new();
    world.deploy(FORGIVING);
    for what in ["Green Tea", "say \\\"hi\\\"", "coffee"] {
        world.start("w", &format!("{{\"what\": \"{what}\"}}"), None).unwrap();
    }
    world.act("fatal 1:pay");
    world.act("done 1:tell \"told\"");
    world.act("done 2:pay 1");
    world.act("fatal 2:tell");
    world
}

fn found(world: &mut World, filter: &RunFilter) -> Vec<usize> {
    let page = world.machine.list_runs(NS, filter, None, 10).unwrap();
    assert_eq!(page.next, None);
    let number = |run: RunId| world.runs.iter().position(|known| *known == run).unwrap() + 1;
    page.items.iter().map(|found| number(found.run)).collect()
}

fn failed(world: &mut World, filter: &RunFilter, capability: Option<&str>) -> Vec<FailedStep> {
    FailedSteps::of(&mut world.machine).list(NS, filter, capability, None, 10).unwrap().items
}

#[test]
fn runs_are_found_by_text_code_and_time() {
    let mut world = three();
    let text = |text: &str| RunFilter { text: Some(text.to_owned()), ..RunFilter::default() };
    for (wanted, runs) in [
        ("green t", &[1][..]),
        ("TOLD", &[1]),
        ("say \"hi\"", &[2]),
        ("TELL broke", &[2]),
        ("e", &[3, 2, 1]),
        ("x", &[]),
    ] {
        assert_eq!(found(&mut world, &text(wanted)), runs, "{wanted}");
    }
    let code = |code| RunFilter { code: Some(code), ..RunFilter::default() };
    assert_eq!(found(&mut world, &code(Code::AgentFailed)), [2, 1], "a step that was forgiven is found too");
    assert_eq!(found(&mut world, &code(Code::TimedOut)), [0; 0]);
    let second = world.machine.run_view(NS, world.runs[1]).unwrap().summary.created;
    assert_eq!(found(&mut world, &RunFilter { since: Some(second), ..RunFilter::default() }), [3, 2]);
    assert_eq!(found(&mut world, &RunFilter { until: Some(second), ..RunFilter::default() }), [1]);
    let none = RunFilter { since: Some(second), until: Some(Time(second.0)), ..RunFilter::default() };
    assert_eq!(found(&mut world, &none), [0; 0]);
    world.verify();
}

#[test]
fn steps_that_failed_are_listed_with_what_they_call() {
    let mut world = three();
    let all = failed(&mut world, &RunFilter { children: true, ..RunFilter::default() }, None);
    let seen: Vec<_> = all.iter().map(|at| (at.run, at.step.path.as_str(), at.capability.as_deref())).collect();
    assert_eq!(seen, [(world.runs[1], "tell", Some("tell")), (world.runs[0], "pay", Some("pay"))]);
    assert_eq!((all[1].step.attempt, all[1].step.error.as_ref().unwrap().message.as_str()), (1, "1:pay broke"));
    assert_eq!(failed(&mut world, &RunFilter::default(), Some("pay")).len(), 1);
    assert_eq!(failed(&mut world, &RunFilter { code: Some(Code::TimedOut), ..RunFilter::default() }, None), []);
    let first = FailedSteps::of(&mut world.machine).list(NS, &RunFilter::default(), None, None, 1).unwrap();
    let second =
        FailedSteps::of(&mut world.machine).list(NS, &RunFilter::default(), None, first.next.as_deref(), 1).unwrap();
    assert_eq!((first.items, second.items, second.next), (all[..1].to_vec(), all[1..].to_vec(), None));
    assert!(
        FailedSteps::of(&mut world.machine)
            .list("other", &RunFilter::default(), None, None, 9)
            .unwrap()
            .items
            .is_empty()
    );
    world.verify();
}

#[test]
fn a_step_is_its_own_failure_and_not_that_of_those_below() {
    let mut world = World::new();
    world.deploy("workflow: w\nsteps:\n  group:\n    steps:\n      a: { capability: x }\n");
    world.act("start {}");
    world.act("fatal group/a");
    let paths: Vec<_> = failed(&mut world, &RunFilter::default(), None).into_iter().map(|at| at.step.path).collect();
    assert_eq!(paths, ["group/a"]);
    world.verify();
}

#[test]
fn a_page_ends_within_a_long_run_and_the_next_continues_there() {
    let mut world = World::new();
    world.deploy("workflow: w\ninput: { n: { type: array } }\nsteps:\n  a: { for_each: '${{ input.n }}', max_parallel: 1, capability: x }\n");
    let items: Vec<u32> = (0..1_100).collect();
    world.start("w", &serde_json::json!({ "n": items }).to_string(), None).unwrap();
    for n in 0..1_050 {
        world.complete(&format!("a[{n}]"), "1");
    }
    world.act("fatal a[1050]");
    // The run's own error is found at once, a code that no step has only behind all its steps.
    let code = |code| RunFilter { code: Some(code), ..RunFilter::default() };
    assert_eq!(found(&mut world, &code(Code::AgentFailed)), [1]);
    let first = world.machine.list_runs(NS, &code(Code::TimedOut), None, 10).unwrap();
    assert!(first.items.is_empty() && first.next.as_deref().is_some_and(|next| next.contains('.')), "{first:?}");
    let second = world.machine.list_runs(NS, &code(Code::TimedOut), first.next.as_deref(), 10).unwrap();
    assert_eq!((second.items.len(), second.next), (0, None));
    let first = FailedSteps::of(&mut world.machine).list(NS, &RunFilter::default(), None, None, 10).unwrap();
    let second =
        FailedSteps::of(&mut world.machine).list(NS, &RunFilter::default(), None, first.next.as_deref(), 10).unwrap();
    assert_eq!((first.items.len(), second.items.len(), second.items[0].step.path.as_str()), (0, 1, "a[1050]"));
    assert_eq!(world.machine.list_runs(NS, &RunFilter::default(), Some("x.y"), 1).unwrap_err().code, Code::BadCursor);
}
