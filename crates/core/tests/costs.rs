//! What one record costs, and how work that is too much for one continues.
//!
//! For: bounds on the work that follows from a record, whatever a run is made of. Not for: how runs end (`scenarios`).
//! Invariant: every record of every world stays within `Applied::UNITS_MAX`; the helper asserts it.

#[allow(dead_code, reason = "each file of tests uses a part of the helper")]
mod support;

use std::fmt::Write as _;

use consort_core::{
    Applied, Command, Effect,
    command::{CancelRun, PauseRun},
};
use consort_types::{Code, Payload, limits};
use support::{NS, World};

fn started(source: &str) -> World {
    let mut world = World::new();
    world.deploy(source);
    world.act("start {}");
    world
}

/// A world in which a tenth of what a record may do is done.
fn started_small(source: &str) -> World {
    let mut world = World::limited(limits::WORK_PER_RECORD_MAX / 10, limits::EXPRESSION_COST_MAX);
    world.deploy(source);
    world.act("start {}");
    world
}

fn status(world: &mut World, run: usize) -> &'static str {
    let id = world.runs[run];
    world.machine.run_view(NS, id).unwrap().summary.status.as_str()
}

/// The most units that a record does while every ready task is completed.
fn complete_all(world: &mut World) -> usize {
    let mut most = 0;
    while let Some((task, token)) = world.ready.iter().next().map(|(task, token)| (*task, *token)) {
        world.report(task, token, "1").unwrap();
        most = most.max(world.units);
    }
    most
}

#[test]
fn the_end_of_a_group_costs_the_same_in_a_wide_run() {
    let most = |count: u32| {
        let mut world = started(&format!(
            "workflow: w\nsteps:\n  g:\n    for_each: '${{{{ range({count}) }}}}'\n    max_parallel: {count}\n    steps: {{ a: {{ capability: x }}, b: {{ capability: x, needs: [a] }} }}\n"
        ));
        world.go_on();
        // The last one joins the outputs of all.
        let (last, token) = world.ready.iter().next_back().map(|(task, token)| (*task, *token)).unwrap();
        world.ready.remove(&last);
        let most = complete_all(&mut world);
        world.report(last, token, "1").unwrap();
        complete_all(&mut world);
        assert_eq!(status(&mut world, 0), "completed");
        most
    };
    assert_eq!(most(600), most(20));
}

const WAITS: &str = "
workflow: w
steps:
  g:
    for_each: '${{ range(30) }}'
    steps:
      a: { for_each: '${{ range(30) }}', wait: 1h }
      tidy: { capability: x, needs: [a], if: '${{ always() }}' }
";

#[test]
fn a_cancellation_goes_over_records_and_clean_up_comes_after_it() {
    let mut world = started_small(WAITS);
    world.go_on();
    world.effects.clear();
    world.act("cancel");
    let id = world.runs[0];
    assert!(world.effects.contains(&Effect::Hold { run: id, held: true }), "nothing of it is assigned meanwhile");
    assert!(world.machine.is_held(id).unwrap());
    let mut records = 0;
    while world.machine.is_held(id).unwrap() {
        assert!(world.ready.is_empty(), "clean-up begins when every step was notified");
        // The process dies after each record.
        world.reopen();
        world.tick_once();
        records += 1;
    }
    assert!(records >= 2, "900 waits are too much for {records} records");
    world.go_on();
    assert_eq!((world.ready.len(), status(&mut world, 0)), (30, "cancelling"));
    complete_all(&mut world);
    world.go_on();
    assert_eq!(status(&mut world, 0), "cancelled");
    world.verify();
}

#[test]
fn a_forced_cancellation_takes_clean_up_along() {
    let mut world = started_small(WAITS);
    world.go_on();
    world.act("cancel");
    world.act("force");
    world.go_on();
    assert_eq!((world.ready.len(), status(&mut world, 0)), (0, "cancelled"));
    assert_eq!(world.machine.run_counts().0, 0);
    world.verify();
}

#[test]
fn a_step_that_ends_early_ends_after_what_is_below_it() {
    let source = WAITS.replace(
        "steps:\n  g:\n",
        "steps:\n  after: { capability: y, needs: [g], if: '${{ always() }}' }\n  g:\n    deadline: 5s\n",
    );
    let mut world = started_small(&source);
    world.go_on();
    let due = world.machine.next_timer().unwrap().unwrap();
    world.advance_to(due);
    world.tick_once();
    let ended = |world: &mut World| world.task_state(0, "g");
    assert_eq!(ended(&mut world), "running", "900 waits below it are too much for one record");
    let mut records = 1;
    while ended(&mut world) == "running" {
        assert!(world.ready.is_empty(), "nothing starts while steps are being stopped");
        world.reopen();
        world.tick_once();
        records += 1;
    }
    assert!(records >= 3, "{records}");
    world.go_on();
    assert_eq!((ended(&mut world), world.ready.len()), ("failed", 1), "what needs it is considered then");
    complete_all(&mut world);
    world.go_on();
    assert_eq!(status(&mut world, 0), "failed");
    let (live, _) = world.machine.live_tasks(None, 10).unwrap();
    assert!(live.is_empty());
    world.verify();
}

#[test]
fn a_step_that_ended_early_does_not_end_again() {
    // The report of the caller and its deadline fall on one another.
    let mut world = World::limited(5, limits::EXPRESSION_COST_MAX);
    world.deploy("workflow: w\nsteps:\n  a: { capability: x, deadline: 5s }\n");
    world.act("start {}");
    world.go_on();
    let (task, token) = world.find("a");
    for index in 0..12 {
        let request = consort_types::worker::JournalRequest::Call {
            capability: "y".to_owned(),
            input: Payload::null(),
            options: None,
        };
        world.record("a", index, request, None).unwrap();
        world.go_on();
    }
    world.report(task, token, "7").unwrap();
    assert!(world.report(task, token, "8").is_err(), "the first report counts");
    world.go_on();
    assert_eq!(status(&mut world, 0), "completed");
    assert!(world.show().starts_with("run completed {\"a\":7}"), "{}", world.show());
    world.verify();
}

#[test]
fn pausing_reaches_runs_at_any_depth_without_recursion() {
    let mut world = World::limited(6, limits::EXPRESSION_COST_MAX);
    world.deploy("workflow: leaf\nsteps: { a: { capability: x } }\n");
    let mut below = "leaf".to_owned();
    for depth in 0..12 {
        let name = format!("w{depth}");
        world.deploy(&format!("workflow: {name}\nsteps:\n  s: {{ workflow: {below} }}\n  t: {{ workflow: leaf }}\n"));
        below = name;
    }
    world.start(&below, "{}", None).unwrap();
    world.go_on();
    let runs: Vec<_> = world.ready.keys().map(|task| task.run).collect();
    assert_eq!(runs.len(), 13);
    for paused in [true, false, true] {
        let run = world.runs[0];
        world.apply(&Command::PauseRun(PauseRun { namespace: NS.to_owned(), run, paused })).unwrap();
        world.go_on();
        assert!(runs.iter().all(|run| world.machine.is_held(*run).unwrap() == paused));
    }
    world.act("cancel");
    world.go_on();
    assert_eq!(world.machine.run_counts().0, 0);
    world.verify();
}

#[test]
fn a_workflow_that_starts_itself_many_times_ends_by_itself() {
    let mut world = World::new();
    world.machine.limit_descendants(500);
    world.deploy("workflow: w\nsteps: { a: { for_each: '${{ range(100) }}', workflow: w } }\n");
    world.act("start {}");
    let records = world.go_on();
    assert_eq!(world.machine.run_counts(), (0, 501));
    assert!(records < 20, "where no more runs may be started, one step says so and not each: {records} records");
    let text = world.show();
    assert!(text.starts_with("run failed C0313"), "{text}");
}

#[test]
fn a_fork_bomb_is_cancelled_in_pieces() {
    let mut world = started("workflow: w\nsteps: { a: { for_each: '${{ range(100) }}', workflow: w } }\n");
    world.tick_once();
    assert!(world.machine.run_counts().0 > 500);
    let (namespace, run) = (NS.to_owned(), world.runs[0]);
    let cancel = CancelRun { namespace, run, reason: "enough".to_owned(), force: false };
    world.apply(&Command::CancelRun(cancel)).unwrap();
    assert!(world.units <= Applied::UNITS_MAX);
    world.go_on();
    assert_eq!((world.machine.run_counts().0, status(&mut world, 0)), (0, "cancelled"));
}

#[test]
fn runs_are_counted_for_each_namespace() {
    let mut world = started("workflow: w\nsteps: { a: { capability: x } }\n");
    world.act("retention 1h");
    world.start("w", "{}", None).unwrap();
    world.complete("1:a", "1");
    world.complete("2:a", "1");
    assert_eq!(world.machine.run_counts(), (0, 2));
    world.act("tick 2h");
    assert_eq!(world.show(), "run gone\nrun gone\n", "the count has kept the retention");
    world.verify();
}

#[test]
fn expressions_of_one_record_share_a_budget() {
    let mut source = "workflow: w\nsteps:\n".to_owned();
    for step in 0..6 {
        let _ =
            writeln!(source, "  s{step}: {{ capability: x, with: {{ v: '${{{{ size(range(2000).map(v, 1)) }}}}' }} }}");
    }
    let mut world = World::limited(limits::WORK_PER_RECORD_MAX, 6_000);
    world.deploy(&source);
    world.act("start {}");
    let mut begun = vec![world.ready.len()];
    while begun.last() != Some(&6) {
        world.tick_once();
        begun.push(world.ready.len());
    }
    assert!(begun[0] < 3 && begun.windows(2).all(|pair| pair[1] > pair[0] && pair[1] - pair[0] < 3), "{begun:?}");
    complete_all(&mut world);
    assert_eq!(status(&mut world, 0), "completed");
}

#[test]
fn a_template_of_many_expressions_has_the_budget_of_one() {
    let heavy = "${{ size(range(600000).map(v, 1)) }}";
    let mut world = started(&format!(
        "workflow: w\nsteps:\n  a: {{ capability: x, with: {{ p: '{heavy}', q: '{heavy}', r: '{heavy}' }} }}\n"
    ));
    world.go_on();
    let text = world.show();
    assert!(text.contains(&format!("a failed {}", Code::ExpressionBudget)), "{text}");
}

#[test]
fn a_long_document_counts_in_each_record_once() {
    let mut source = "workflow: w\ninput: { x: { type: string } }\nsteps:\n".to_owned();
    for step in 0..4 {
        let _ = writeln!(
            source,
            "  s{step}: {{ if: '${{{{ size(input.x) > 0 }}}}', capability: x, with: {{ v: '${{{{ input.x }}}}' }} }}"
        );
    }
    let mut world = World::limited(limits::WORK_PER_RECORD_MAX, 4_000);
    world.deploy(&source);
    let input = format!("{{\"x\":\"{}\"}}", "t".repeat(100_000));
    world.start("w", &input, None).unwrap();
    let mut begun = vec![world.ready.len()];
    while begun.last() != Some(&4) {
        assert_eq!(world.go_on_once(), 1, "each record gets on");
        begun.push(world.ready.len());
    }
    assert_eq!(begun, [1, 2, 3, 4], "a record that has read a long document, or written one, does no more");
    complete_all(&mut world);
    assert_eq!(status(&mut world, 0), "completed");
    world.verify();
}
