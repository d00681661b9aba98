//! Every target, for about a second; `scripts/fuzz` runs them for longer.
//!
//! For: the fixtures each time, and some new inputs. Not for: long searches.
//! Invariant: without `CONSORT_FUZZ_SEED` the inputs are the same each time, though not how many of them there is
//! time for.

use std::time::Duration;

use consort_fuzz::{Plan, Target, fuzz, targets};

fn check(target: &Target) {
    let plan = Plan::from_environment(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures"), env!("CARGO_TARGET_TMPDIR"));
    let summary = fuzz(target, &plan);
    println!("fuzz {summary}");
    assert!(summary.inputs > 20, "too slow to find anything: {summary}");
    assert!(summary.traces > 1, "all inputs behaved the same: {summary}");
    assert!(summary.slowest < Duration::from_secs(30), "{summary}");
}

macro_rules! targets {
    ($($name:ident),+) => {
        $(#[test]
        fn $name() {
            check(&targets::$name::TARGET);
        })+

        #[test]
        fn every_target_is_run() {
            let names: Vec<&str> = targets::ALL.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),+]);
        }
    };
}

targets!(log, definition, expression, body, record, machine, rows, texts);
