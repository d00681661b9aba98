//! The deterministic machine: folds records into tables and returns effects.
//!
//! For: every rule of what a run, a task, an agent or a signal may do. Not for: clocks, chance, threads, I/O,
//! or carrying effects out (the engine does).
//! Invariant: the state is a pure function of the records applied; equal records give equal bytes (law 4).

mod cache;
pub mod command;
mod effect;
mod fold;
pub mod keys;
mod machine;
mod next_timer;
pub mod rows;
mod run;
mod state;
pub mod tables;
pub mod view;

pub use command::{Command, Reply};
pub use effect::{AttemptEnd, Effect, LiveTask};
pub use machine::{Applied, Machine, Taken};
pub use run::LateReport;
pub use tables::{Backing, Changes, EncodedChanges};
