//! Fuzzing: parsers and machines fed with generated inputs.
//!
//! For: every place where bytes from outside are read, and the machine under hostile sequences of commands. Not for:
//! faults of disks and processes (see the simulator and the crash tests).
//! Invariant: an input is a list of bytes and nothing else, so every finding is a small file that can be run again.
//!
//! The driver ([`fuzz`]) is our own: it runs on stable Rust as a plain test, without instrumentation. A target reports
//! what an input made it do (its *trace*), and inputs with a trace that was not seen before are kept and changed
//! further; that takes the place of coverage.

mod chance;
mod choices;
mod driver;
mod mutate;
pub mod targets;

pub use choices::Choices;
pub use driver::{Plan, Summary, Target, fuzz};
