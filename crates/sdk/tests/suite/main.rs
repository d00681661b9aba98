//! The worker against a fake engine, on tokio's paused clock.
//!
//! For: all that agents' code and engines can rely on. Not for: the inside of a module.
//! Invariant: no test waits for real time (in `remote`, real sockets are waited for).

mod calls;
mod chaos;
mod forgotten;
mod journal;
mod life;
mod patches;
mod remote;
mod rig;
