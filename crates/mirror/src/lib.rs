//! Mirrors a space of the state store to and from Redis, etcd and other servers of Consort, live and both ways.
//!
//! For: a process beside a server (`consort state mirror`), with the connectors it needs. Not for: the state store itself,
//! and not for the command line.
//! Invariant: what both sides last agreed upon about a key is noted where the key is written, together with the key, so
//! that whatever is killed, each side's later change is told from an echo; every write compares with what was read.

mod agreement;
mod carry;
mod cursor;
mod decide;
mod etcd;
mod far;
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
pub use options::{Address, Options, ServerAddress};
pub use report::{Counts, Event};
