//! Workers and clients against the real engine, over real connections.
//!
//! For: what the SDK promises over a network. Not for: the transport's corners (see `tests/suite`).
//! Invariant: no test waits for a time: gates and signals control what happens next.

mod clients;
mod replicas;
mod support;
mod tasks;
