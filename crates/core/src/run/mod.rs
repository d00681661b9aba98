//! Runs: from the start to the end, and the steps between.
//!
//! For: the commands, rules, rows and views of runs. Not for: the attempts of a task (see `task`).
//! Invariant: terminal states are final, and nothing outlives its run (law 7).
//!
//! The tests of its commands are the scenarios in `tests/scenarios.rs`, `tests/calls.rs`, `tests/costs.rs` and
//! `tests/edges.rs`; those of the legal moves are in `tests/transitions.rs`.
//!
//! Rules are functions of an `ApplyContext`. They know each other in one direction only: from `tick` and `pending` at the
//! top, by `cancel`, `step` and `finish`, down to `scope`, `lifecycle` and `locate`; what leads upwards goes by the
//! context's pending work.

pub(crate) mod advance;
pub(crate) mod approval;
pub(crate) mod around;
pub(crate) mod auction;
pub(crate) mod beside;
pub(crate) mod cancel;
pub(crate) mod child_runs;
pub(crate) mod close;
pub(crate) mod compensate;
pub(crate) mod consensus;
pub(crate) mod defer;
pub(crate) mod delete;
pub(crate) mod environment;
pub(crate) mod fan_out;
pub(crate) mod finish;
pub(crate) mod fork;
pub(crate) mod give_up;
pub(crate) mod granted;
pub(crate) mod instance;
pub(crate) mod iterate;
pub(crate) mod keep_journal;
pub(crate) mod keys;
pub(crate) mod lifecycle;
pub(crate) mod locate;
pub(crate) mod locked;
pub(crate) mod made;
pub(crate) mod open_effect;
pub(crate) mod pause;
pub(crate) mod pending;
pub(crate) mod publish;
pub(crate) mod reads;
pub(crate) mod resume;
pub(crate) mod rows;
pub(crate) mod scope;
pub(crate) mod share;
pub(crate) mod signal;
pub(crate) mod start;
pub(crate) mod step;
pub(crate) mod stop;
pub(crate) mod tick;
pub(crate) mod trace;
pub(crate) mod transitions;
pub(crate) mod update;
pub(crate) mod views;
pub(crate) mod wait;
