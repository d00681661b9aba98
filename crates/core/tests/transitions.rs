//! The legal moves of step instances and runs.
//!
//! For: what is refused, and the tables in `ARCHITECTURE.md`. Not for: when moves are made (`scenarios`).
//! Invariant: the tables in the documentation are those of the code.

use std::{
    collections::BTreeSet,
    fmt::{Debug, Write as _},
};

use consort_core::rows::{RunStatus, StepState};

const ARCHITECTURE: &str = include_str!("../../../ARCHITECTURE.md");

fn table<S: Copy + Debug>(title: &str, all: &[S], word: fn(S) -> &'static str, next: fn(S) -> &'static [S]) -> String {
    let mut table = format!("| {title} | shown as | may become |\n|---|---|---|\n");
    for state in all {
        let next: Vec<String> = next(*state).iter().map(|state| format!("{state:?}")).collect();
        let next = if next.is_empty() { "nothing: it is final".to_owned() } else { next.join(", ") };
        let _ = writeln!(table, "| {state:?} | `{}` | {next} |", word(*state));
    }
    table
}

#[test]
fn the_documentation_has_the_tables() {
    let steps = table("step instance", &StepState::ALL, StepState::as_str, StepState::successors);
    assert!(ARCHITECTURE.contains(&steps), "put this into ARCHITECTURE.md:\n{steps}");
    let runs = table("run", &RunStatus::ALL, RunStatus::as_str, RunStatus::successors);
    assert!(ARCHITECTURE.contains(&runs), "put this into ARCHITECTURE.md:\n{runs}");
}

#[test]
fn nothing_leaves_a_terminal_state_or_returns_to_the_first() {
    for from in StepState::ALL {
        assert_eq!(from.is_terminal(), from.successors().is_empty(), "{from:?}");
        assert!(!from.may_become(StepState::Pending), "{from:?}");
    }
    for from in RunStatus::ALL {
        let left = from.successors().iter().any(|to| *to != RunStatus::Deleted);
        assert_eq!(from.is_terminal(), !left, "{from:?}");
        assert!(!from.may_become(RunStatus::Running), "{from:?}");
    }
}

#[test]
fn what_an_active_instance_may_not_become_is_refused() {
    use StepState::{
        Approval, Backoff, Cancelled, Completed, Diverged, Failed, GaveUp, Open, Parked, Pending, Ready, Skipped,
        Taken, Unknown, Waiting,
    };
    let refused = |from: StepState| -> BTreeSet<StepState> {
        StepState::ALL.into_iter().filter(|to| !from.may_become(*to)).collect()
    };
    let not_begun = [Taken, Parked, Backoff, Unknown, Diverged, Completed];
    assert_eq!(refused(Pending), [Pending].into_iter().chain(not_begun).collect());
    assert_eq!(refused(Ready), [Pending, Unknown, Waiting, Approval, Skipped].into());
    assert_eq!(refused(Taken), [Pending, Taken, Waiting, Approval, Skipped].into());
    for idle in [Parked, Backoff] {
        let expected =
            [Pending, Taken, Parked, Backoff, Unknown, Diverged, Waiting, Approval, Completed, Skipped].into();
        assert_eq!(refused(idle), expected, "{idle:?}");
    }
    assert_eq!(refused(Unknown), [Pending, Taken, Unknown, Waiting, Approval, Skipped].into());
    for (waits, others) in [(Waiting, 4), (Approval, 0), (Open, 1), (GaveUp, 2), (Diverged, 3)] {
        assert!([Completed, Failed, Cancelled].into_iter().all(|end| waits.may_become(end)), "{waits:?}");
        assert_eq!(refused(waits).len(), StepState::ALL.len() - 3 - others, "{waits:?}");
    }
    // What has waited for a lock begins then.
    assert!([Ready, Waiting, Approval, Open].into_iter().all(|begun| Waiting.may_become(begun)));
    assert!(Open.may_become(GaveUp) && GaveUp.may_become(Ready) && Diverged.may_become(Ready));
}

#[test]
fn what_an_active_run_may_not_become_is_refused() {
    use RunStatus::{Cancelled, Cancelling, Compensating, Completed, Deleted, Failed, Running};
    let refused = |from: RunStatus| -> BTreeSet<RunStatus> {
        RunStatus::ALL.into_iter().filter(|to| !from.may_become(*to)).collect()
    };
    assert_eq!(refused(Running), [Running, Cancelled, Deleted].into());
    assert_eq!(refused(Cancelling), [Running, Completed, Failed, Deleted].into());
    assert_eq!(refused(Compensating), [Running, Cancelling, Compensating, Completed, Deleted].into());
}

#[test]
fn the_language_knows_the_words_of_steps_that_have_ended() {
    let ended: Vec<&str> =
        StepState::ALL.into_iter().filter(|state| state.is_terminal()).map(StepState::as_str).collect();
    assert_eq!(ended, consort_workflow::STEP_STATUSES);
}
