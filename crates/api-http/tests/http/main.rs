//! The interface, over real connections on loopback, with an engine in memory and agents by hand.
//!
//! For: what a client sees. Not for: the rules of runs (core has those).
//! Invariant: no test depends on how long anything takes.

mod ballots;
mod bus;
mod contract;
mod edges;
mod limits;
mod locks;
mod registry;
mod schedules;
mod support;
mod watch;
