//! The worker against a fake engine, on tokio's paused clock.
//!
//! For: all that agents' code and engines can rely on. Not for: the inside of a module.
//! Invariant: no test waits for real time.

mod chaos;
mod journal;
mod life;
mod rig;
