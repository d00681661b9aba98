//! Scenarios of the machine: given a workflow, when this happens, then the state is this.
//!
//! For: the rules of runs and steps, through the interface that the engine uses. Not for: durability or speed.
//! Invariant: every scenario ends with the checks of `World::verify`.

#[allow(dead_code, reason = "each test file uses its part of the harness")]
mod support;

use support::check;

const CHAIN: &str = "
workflow: w
steps:
  a: { capability: x }
  b: { capability: x, with: { from: \"${{ steps.a.output }}\" } }
output: ${{ steps.b.output }}
";

#[test]
fn a_chain_runs_step_by_step() {
    check(CHAIN, &["start {}", "done a 1"], "run running\n  a completed\n  b queued");
    check(CHAIN, &["start {}", "done a 1", "done b 2"], "run completed 2\n  a completed\n  b completed");
}

#[test]
fn a_failed_step_skips_what_needs_it() {
    check(
        CHAIN,
        &["start {}", "fatal a"],
        "
        run failed C0304
          a failed C0304
          b skipped C0309",
    );
}

#[test]
fn independent_steps_go_on_when_one_fails() {
    check(
        "
workflow: w
steps:
  a: { capability: x }
  b: { capability: x }
  c: { capability: x, needs: [b] }
",
        &["start {}", "fatal a", "done b 1", "done c 2"],
        "
        run failed C0304
          a failed C0304
          b completed
          c completed",
    );
}

#[test]
fn status_functions_choose_handlers() {
    let source = "
workflow: w
steps:
  a: { capability: x }
  on_failure: { capability: x, needs: [a], if: '${{ failure() }}' }
  ever: { capability: x, needs: [a], if: '${{ always() }}' }
  fine: { capability: x, needs: [a], if: '${{ success() }}' }
";
    check(
        source,
        &["start {}", "fatal a", "done on_failure 1", "done ever 2"],
        "
        run failed C0304
          a failed C0304
          on_failure completed
          ever completed
          fine skipped C0309",
    );
    check(
        source,
        &["start {}", "done a 0", "done ever 2", "done fine 3"],
        "
        run completed {\"a\":0,\"ever\":2,\"fine\":3,\"on_failure\":null}
          a completed
          on_failure skipped
          ever completed
          fine completed",
    );
}

#[test]
fn a_condition_skips_without_failing() {
    check(
        "
workflow: w
input: { go: { type: boolean } }
steps:
  a: { capability: x, if: '${{ input.go }}' }
  b: { capability: x, needs: [a] }
output: ${{ steps.a.status }}
",
        &["start {\"go\":false}", "done b 1"],
        "
        run completed \"skipped\"
          a skipped
          b completed",
    );
}

#[test]
fn continue_on_error_lets_the_run_go_on() {
    check(
        "
workflow: w
steps:
  a: { capability: x, continue_on_error: true }
  b: { capability: x, needs: [a] }
output: ${{ steps.a.error.message }}
",
        &["start {}", "fatal a", "done b 1"],
        "
        run completed \"a broke\"
          a failed C0304
          b completed",
    );
}

#[test]
fn failed_attempts_are_retried_by_the_policy() {
    let source = "
workflow: w
steps:
  a: { capability: x, retry: { attempts: 3, backoff: { initial: 1s, factor: 2, max: 30s } } }
";
    check(source, &["start {}", "fail a"], "run running\n  a backoff");
    check(source, &["start {}", "fail a", "tick 700ms"], "run running\n  a backoff");
    check(
        source,
        &["start {}", "fail a", "tick 2s", "fail a", "tick 3s", "done a 7"],
        "run completed {\"a\":7}\n  a completed attempt 3",
    );
    check(
        source,
        &["start {}", "fail a", "tick 2s", "fail a", "tick 3s", "fail a"],
        "run failed C0304\n  a failed attempt 3 C0304",
    );
    check(source, &["start {}", "fatal a"], "run failed C0304\n  a failed C0304");
}

#[test]
fn lost_attempts_are_repeated_and_do_not_count_as_failures() {
    let source = "workflow: w\nsteps:\n  a: { capability: x }\n";
    check(
        source,
        &["start {}", "take a", "lose a", "take a", "lose a", "done a 1"],
        "run completed {\"a\":1}\n  a completed attempt 3",
    );
}

#[test]
fn the_outcome_of_a_lost_write_is_asked_for() {
    let source = "workflow: w\nsteps:\n  a: { capability: x, effect: write }\n";
    check(source, &["start {}", "write a", "lose a"], "run running\n  a unknown");
    check(source, &["start {}", "write a", "lose a", "resolve a 5"], "run completed {\"a\":5}\n  a completed");
    check(
        source,
        &["start {}", "write a", "lose a", "resolve a retry", "write a", "done a 6"],
        "run completed {\"a\":6}\n  a completed attempt 2",
    );
    check(source, &["start {}", "write a", "lose a", "resolve a fail"], "run failed C0304\n  a failed C0304");
    let cancelled = ["start {}", "write a", "lose a", "cancel"];
    check(source, &cancelled, "run cancelling C0312\n  a unknown");
    let decided = [&cancelled[..], &["resolve a retry"]].concat();
    check(source, &decided, "run cancelled C0312\n  a cancelled C0312");
}

#[test]
fn the_author_can_decide_unknown_outcomes_beforehand() {
    let source =
        |rule: &str| format!("workflow: w\nsteps:\n  a: {{ capability: x, effect: write, on_unknown: {rule} }}\n");
    check(&source("retry"), &["start {}", "write a", "lose a"], "run running\n  a queued attempt 2");
    check(&source("fail"), &["start {}", "write a", "lose a"], "run failed C0308\n  a failed C0308");
    let reconcile = source("reconcile with look");
    let lost = ["start {}", "write a", "lose a"];
    let with = |last: &'static str| [&lost[..], &[last]].concat();
    check(
        &reconcile,
        &with("done a/reconcile {\"decision\":\"done\",\"output\":9}"),
        "run completed {\"a\":9}\n  a completed\n  a/reconcile completed",
    );
    check(
        &reconcile,
        &with("done a/reconcile \"retry\""),
        "run running\n  a queued attempt 2\n  a/reconcile completed",
    );
    check(&reconcile, &with("fatal a/reconcile"), "run running\n  a unknown\n  a/reconcile failed C0304");
}

#[test]
fn attempts_time_out() {
    let source = "workflow: w\nsteps:\n  a: { capability: x, timeout: 5s, retry: { attempts: 2 } }\n";
    check(source, &["start {}", "take a", "tick 4s"], "run running\n  a running");
    check(source, &["start {}", "take a", "tick 10s"], "run running\n  a queued attempt 2");
    check(
        source,
        &["start {}", "take a", "tick 10s", "take a", "tick 6s"],
        "run failed C0305\n  a failed attempt 2 C0305",
    );
    let write = "workflow: w\nsteps:\n  a: { capability: x, timeout: 5s, effect: write }\n";
    check(write, &["start {}", "write a", "tick 6s"], "run running\n  a unknown");
}

#[test]
fn a_deadline_covers_all_attempts() {
    let source = "workflow: w\nsteps:\n  a: { capability: x, deadline: 5s, retry: { attempts: 9 } }\n";
    check(source, &["start {}", "fail a", "tick 6s"], "run failed C0306\n  a failed attempt 2 C0306");
}

#[test]
fn a_run_times_out_as_cancelled() {
    let source = "workflow: w\ntimeout: 10s\nsteps:\n  a: { capability: x }\n";
    check(source, &["start {}", "take a", "tick 11s"], "run cancelled C0312\n  a cancelled C0312");
}

const FAN: &str = "
workflow: w
input: { items: { type: array } }
steps:
  each: { for_each: '${{ input.items }}', max_parallel: 2, capability: x, with: { i: '${{ index }}', v: '${{ item }}' } }
output: ${{ steps.each.output }}
";

#[test]
fn a_fan_out_keeps_item_order_and_its_window() {
    check(
        FAN,
        &["start {\"items\":[5,6,7]}", "done each[1] 61"],
        "
        run running
          each running
          each[0] queued
          each[1] completed
          each[2] queued",
    );
    check(
        FAN,
        &["start {\"items\":[5,6,7]}", "done each[1] 61", "done each[2] 71", "done each[0] 51"],
        "
        run completed [51,61,71]
          each completed
          each[0] completed
          each[1] completed
          each[2] completed",
    );
    check(FAN, &["start {\"items\":[]}"], "run completed []\n  each completed");
}

#[test]
fn a_failed_item_stops_new_ones() {
    check(
        FAN,
        &["start {\"items\":[5,6,7]}", "fatal each[0]", "done each[1] 1"],
        "
        run failed C0304
          each failed C0304
          each[0] failed C0304
          each[1] completed",
    );
}

#[test]
fn what_is_not_a_list_fails_the_fan_out() {
    check(
        "
workflow: w
input: { items: {} }
steps:
  each: { for_each: '${{ input.items }}', capability: x }
",
        &["start {\"items\":3}"],
        "run failed C0104\n  each failed C0104",
    );
}

const LOOP: &str = "
workflow: w
steps:
  improve:
    repeat: { until: '${{ steps.review.output >= 8 }}', max: 3 }
    steps:
      write: { capability: x, with: { before: '${{ loop.previous }}', n: '${{ loop.index }}' } }
      review: { capability: x, with: { text: '${{ steps.write.output }}' } }
output: ${{ steps.improve.output.write }}
";

#[test]
fn a_loop_repeats_until_its_condition() {
    check(
        LOOP,
        &[
            "start {}",
            "done improve#1/write \"t1\"",
            "done improve#1/review 5",
            "done improve#2/write \"t2\"",
            "done improve#2/review 9",
        ],
        "
        run completed \"t2\"
          improve completed
          improve#1 completed
          improve#2 completed
          improve#1/write completed
          improve#1/review completed
          improve#2/write completed
          improve#2/review completed",
    );
}

#[test]
fn a_loop_ends_at_its_limit_and_with_a_failure() {
    let source = "workflow: w\nsteps:\n  a: { repeat: { max: 2 }, capability: x }\n";
    check(
        source,
        &["start {}", "done a#1 1", "done a#2 2"],
        "run completed {\"a\":2}\n  a completed\n  a#1 completed\n  a#2 completed",
    );
    check(source, &["start {}", "fatal a#1"], "run failed C0304\n  a failed C0304\n  a#1 failed C0304");
}

#[test]
fn a_loop_can_pause_between_iterations() {
    let source = "workflow: w\nsteps:\n  a: { repeat: { max: 2, delay: 10s }, capability: x }\n";
    check(source, &["start {}", "done a#1 1", "tick 9s"], "run running\n  a running\n  a#1 completed");
    check(source, &["start {}", "done a#1 1", "tick 11s"], "run running\n  a running\n  a#1 completed\n  a#2 queued");
    check(source, &["start {}", "done a#1 1", "cancel"], "run cancelled C0312\n  a cancelled C0312\n  a#1 completed");
}

#[test]
fn each_item_may_repeat() {
    check(
        "
workflow: w
steps:
  a:
    for_each: [1, 2]
    repeat: { until: '${{ output > 1 }}', max: 5 }
    capability: x
",
        &["start {}", "done a[0]#1 2", "done a[1]#1 1", "done a[1]#2 3"],
        "
        run completed {\"a\":[2,3]}
          a completed
          a[0] completed
          a[1] completed
          a[0]#1 completed
          a[1]#1 completed
          a[1]#2 completed",
    );
}

#[test]
fn waits_end_in_log_time() {
    let source = "workflow: w\nsteps:\n  a: { wait: { for: 30s } }\n  b: { capability: x, needs: [a] }\n";
    check(source, &["start {}", "tick 29s"], "run running\n  a waiting\n  b pending");
    check(source, &["start {}", "tick 31s"], "run running\n  a completed\n  b queued");
    let until = "workflow: w\nsteps:\n  a: { wait: { until: '1970-01-01T01:00:00Z' } }\n";
    check(until, &["start {}", "tick 1m"], "run running\n  a waiting");
    check(until, &["start {}", "tick 1h"], "run completed {\"a\":null}\n  a completed");
}

#[test]
fn signals_reach_the_one_that_waits() {
    let source = "workflow: w\nsteps:\n  a: { wait: { signal: go, timeout: 1m } }\n  b: { wait: { signal: go } }\n";
    check(
        source,
        &["start {}", "signal go 1", "signal go 2"],
        "run completed {\"a\":1,\"b\":2}\n  a completed\n  b completed",
    );
    check(source, &["start {}", "tick 61s", "signal go 1"], "run failed C0305\n  a failed C0305\n  b completed");
    let later = "workflow: w\nsteps:\n  x: { capability: x }\n  a: { needs: [x], wait: { signal: go } }\n";
    check(
        later,
        &["start {}", "signal go 7", "done x 0"],
        "run completed {\"a\":7,\"x\":0}\n  x completed\n  a completed",
    );
    check(
        later,
        &["start {}", "signal go 7", "cancel"],
        "run cancelled C0312\n  x cancelled C0312\n  a cancelled C0312",
    );
}

#[test]
fn people_approve_and_reject() {
    let source = "
workflow: w
steps:
  ask: { approve: { title: 'Ship it?', timeout: 1h } }
  ship: { capability: x, needs: [ask] }
output: ${{ steps.ask.output.by }}
";
    check(
        source,
        &["start {}", "approve ask fine", "done ship 1"],
        "run completed \"ann\"\n  ask completed\n  ship completed",
    );
    check(source, &["start {}", "reject ask no"], "run failed C0310\n  ask failed C0310\n  ship skipped C0309");
    check(source, &["start {}", "tick 61m"], "run failed C0305\n  ask failed C0305\n  ship skipped C0309");
    check(
        source,
        &["start {}", "reject ask", "approve ask"],
        "
        run failed C0310
          ask failed C0310
          ship skipped C0309
        refused C0206 `RUN1.0.0` does not wait for an approval",
    );
}

#[test]
fn cancel_reaches_everything_and_lets_clean_up_run() {
    let source = "
workflow: w
steps:
  a: { for_each: [1, 2, 3], max_parallel: 2, capability: x }
  b: { capability: x, needs: [a] }
  tidy: { capability: x, needs: [a], if: '${{ always() }}' }
";
    let stopped = "
          a[0] cancelled C0312
          a[1] cancelled C0312";
    check(
        source,
        &["start {}", "cancel"],
        &format!(
            "run cancelling C0312\n  a cancelled C0312\n  b cancelled C0312\n  tidy queued{}",
            stopped.replace("          ", "  ")
        ),
    );
    check(
        source,
        &["start {}", "cancel", "done tidy 1"],
        &format!(
            "run cancelled C0312\n  a cancelled C0312\n  b cancelled C0312\n  tidy completed{}",
            stopped.replace("          ", "  ")
        ),
    );
    check(
        source,
        &["start {}", "cancel", "force"],
        &format!(
            "run cancelled C0312\n  a cancelled C0312\n  b cancelled C0312\n  tidy cancelled C0312{}",
            stopped.replace("          ", "  ")
        ),
    );
}

#[test]
fn completed_steps_are_compensated_in_reverse() {
    let source = "
workflow: w
steps:
  a: { capability: x, compensate: { capability: undo, with: { what: '${{ steps.a.output }}' } } }
  b: { capability: x, needs: [a], compensate: { capability: undo } }
  c: { capability: x, needs: [b] }
";
    let begun = ["start {}", "done a 1", "done b 2", "fatal c"];
    let with = |rest: &[&'static str]| [&begun[..], rest].concat();
    check(
        source,
        &with(&[]),
        "run compensating C0304\n  a completed\n  b completed\n  c failed C0304\n  compensate/b queued",
    );
    check(
        source,
        &with(&["done compensate/b null", "done compensate/a null"]),
        "run failed C0304\n  a completed\n  b completed\n  c failed C0304\n  compensate/b completed\n  compensate/a completed",
    );
    check(
        source,
        &with(&["fatal compensate/b", "resolve compensate/b fail", "done compensate/a null"]),
        "run failed C0304\n  a completed\n  b completed\n  c failed C0304\n  compensate/b failed C0304\n  compensate/a completed",
    );
}

#[test]
fn a_refused_command_changes_nothing() {
    check(
        CHAIN,
        &["start {}", "done a 1", "done b 2", "cancel", "pause", "signal go 1"],
        "
        run completed 2
          a completed
          b completed
        refused C0202 run `RUN1` has ended: it is completed
        refused C0202 run `RUN1` has ended: it is completed
        refused C0202 run `RUN1` has ended: it is completed",
    );
}

#[test]
fn forks_take_over_what_does_not_run_anew() {
    check(
        CHAIN,
        &["start {}", "done a 1", "fatal b", "fork"],
        "
        run failed C0304
          a completed
          b failed C0304
        run running
          a completed copied
          b queued",
    );
    check(
        CHAIN,
        &["start {}", "done a 1", "done b 2", "fork b", "done 2:b 3"],
        "
        run completed 2
          a completed
          b completed
        run completed 3
          a completed copied
          b completed",
    );
    // A step that was skipped stays skipped, in the journal too.
    check(
        "workflow: w\nsteps:\n  a: { capability: x, if: \"${{ input != {} }}\" }\n  b: { capability: x }\n",
        &["start {}", "fatal b", "fork"],
        "
        run failed C0304
          a skipped
          b failed C0304
        run running
          a skipped copied
          b queued",
    );
    check(
        CHAIN,
        &["start {}", "done a 1", "done b 2", "fork a"],
        "
        run completed 2
          a completed
          b completed
        run running
          a queued
          b pending",
    );
    check(
        CHAIN,
        &["start {}", "done a 1", "done b 2", "fork", "fork zzz"],
        "
        run completed 2
          a completed
          b completed
        refused C0206 every step of run `RUN1` has completed
        refused C0205 workflow `w` has no top-level step `zzz`",
    );
}

#[test]
fn ended_runs_are_deleted_by_hand_and_by_retention() {
    check(CHAIN, &["start {}", "done a 1", "done b 2", "delete", "tick 1s"], "run gone");
    check(
        CHAIN,
        &["retention 1h", "start {}", "done a 1", "done b 2", "tick 59m"],
        "run completed 2\n  a completed\n  b completed",
    );
    check(CHAIN, &["retention 1h", "start {}", "done a 1", "done b 2", "tick 61m"], "run gone");
    // It counts for runs that have ended before, from their end on; the one that is set last decides.
    let ended = ["start {}", "done a 1", "done b 2", "tick 30m"];
    let then = |more: &[&'static str]| [&ended, more].concat();
    check(CHAIN, &then(&["retention 1h", "tick 1s", "tick 31m"]), "run gone");
    check(CHAIN, &then(&["retention 10m", "tick 1s", "tick 1s"]), "run gone");
    check(CHAIN, &then(&["retention 1h", "tick 1s", "tick 20m"]), "run completed 2\n  a completed\n  b completed");
    check(
        CHAIN,
        &then(&["retention 1h", "tick 1s", "retention 3h", "tick 1s", "tick 1h"]),
        "run completed 2\n  a completed\n  b completed",
    );
    check(CHAIN, &then(&["retention 3h", "tick 1s", "retention 1h", "tick 1s", "tick 1h"]), "run gone");
    check(
        CHAIN,
        &["start {}", "delete"],
        "
        run running
          a queued
          b pending
        refused C0203 run `RUN1` is running, and only an ended run can be deleted",
    );
}

#[test]
fn each_item_is_compensated_with_its_own_output() {
    let source = "
workflow: w
steps:
  a: { for_each: [1, 2], capability: x, compensate: { capability: undo, with: { what: '${{ steps.a.output }}', item: '${{ item }}' } } }
  b: { capability: x, needs: [a] }
";
    let mut world = support::World::new();
    world.deploy(source);
    for line in ["start {}", "done a[0] 10", "done a[1] 20", "fatal b"] {
        world.act(line);
    }
    let (task, _) = world.find("compensate/a[1]");
    let offer = world.machine.offer(task).unwrap().unwrap();
    assert_eq!(offer.input.bytes(), Some(&b"{\"item\":2,\"what\":20}"[..]));
    assert_eq!(offer.capability, "undo");
    world.verify();
}

#[test]
fn runs_that_multiply_are_spread_over_many_records_and_cancelled_whole() {
    let mut world = support::World::new();
    world.deploy("workflow: w\nsteps: { a: { workflow: w }, b: { workflow: w }, c: { workflow: w } }\n");
    world.act("start");
    let (first, _) = world.machine.run_counts();
    assert!((500..5_000).contains(&first), "{first} runs in one record");
    world.tick_once();
    assert!(world.machine.run_counts().0 > first);
    world.act("cancel");
    world.go_on();
    assert_eq!(world.machine.run_counts().0, 0, "cancel reaches every descendant (law 7)");
}
