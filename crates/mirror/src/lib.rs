//! Mirrors a space of the state store to and from Redis and etcd, live and both ways.
//!
//! For: a process beside a server (`consort state mirror`), with the connectors it needs. Not for: the state store itself,
//! and not for the command line.
//! Invariant: what both sides last agreed upon about a key is noted on the other side, together with the key, so that
//! whatever is killed, each side's later change is told from an echo; every write compares with what was read.

mod cursor;
mod decide;
mod etcd;
mod incoming;
mod mirror;
mod options;
mod peer;
mod recover;
mod redis;
mod report;
mod settle;
mod source;
mod values;

pub use consort_peering::{Direction, Side};
pub use mirror::Mirror;
pub use options::{Address, Options};
pub use report::{Counts, Event};
