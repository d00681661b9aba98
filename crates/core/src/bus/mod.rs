//! The event bus: events of a namespace, subscriptions, retention and triggers.
//!
//! For: publishing events in one order, handing them out to consumers until they are acknowledged, removing old ones, and
//! acting on them. Not for: what an event is (see `consort_types::event`), or holding requests open
//! until one comes (the engine does).
//! Invariant: an event is a row, once; a subscription is a cursor and a row for each delivery that is open or dead, never
//! a copy of its backlog. Whatever is too much for one record is left to a timer that is due at once.
//!
//! The tests of its commands are the scenarios in `tests/bus.rs` and `tests/handed.rs`; those of steps that wait are in `tests/event_waits.rs`.

pub(crate) mod dead;
pub(crate) mod declared;
pub(crate) mod delivery;
pub(crate) mod due;
pub(crate) mod fetch;
pub(crate) mod fire;
pub(crate) mod hand;
pub(crate) mod keys;
pub(crate) mod publish;
pub(crate) mod push;
pub(crate) mod retention;
pub(crate) mod rows;
pub(crate) mod schedule;
pub(crate) mod settle;
pub(crate) mod shown;
pub(crate) mod stream;
pub(crate) mod subscription;
pub(crate) mod take;
pub(crate) mod trigger;
pub(crate) mod views;
pub(crate) mod waiters;
pub(crate) mod waiting;
