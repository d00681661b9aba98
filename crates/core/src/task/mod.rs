//! Tasks: attempts, journals, and decisions about them.
//!
//! For: the commands, rules, rows and views of tasks. Not for: the steps that tasks do the work of (see `run`).
//! Invariant: an outcome is recorded at most once (law 2), and only for the current fencing token (law 3).
//!
//! The tests of its commands are the scenarios in `tests/tasks.rs` and `tests/calls.rs`.

pub(crate) mod answer;
pub(crate) mod attempt;
pub(crate) mod back_off;
pub(crate) mod calls;
pub(crate) mod complete;
pub(crate) mod detail;
pub(crate) mod diverged;
pub(crate) mod effect_key;
pub(crate) mod fail;
pub(crate) mod forget;
pub(crate) mod inbox;
pub(crate) mod keys;
pub(crate) mod lost;
pub(crate) mod offer;
pub(crate) mod park;
pub(crate) mod pin;
pub(crate) mod question;
pub(crate) mod record;
pub(crate) mod rows;
pub(crate) mod taken;
pub(crate) mod task_spec;
pub(crate) mod unknown_outcome;
