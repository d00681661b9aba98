//! Workers and clients against the real engine, over real connections.
//!
//! For: what the SDK promises to those who use it from afar. Not for: the transport's corners (see `tests/suite`).
//! Invariant: nothing is waited for by the clock: gates and signals say when to go on.

mod clients;
mod support;
mod tasks;
