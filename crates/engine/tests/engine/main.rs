//! The engine's tests, by what they are about.
//!
//! For: one binary, so that a change of the engine links once. Not for: what a module says of itself.
//! Invariant: no test waits for a clock or reaches beyond this process.

mod ballots;
mod bounds;
mod contracts;
mod events;
mod handle;
mod holder;
mod overload;
mod partition;
mod pipeline;
mod registry;
mod rules;
mod support;
mod versions;
