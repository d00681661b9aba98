//! Schedules: starting a run or publishing an event at planned instants.
//!
//! For: which instants are acted on, and what each comes to: it is acted on, waits, is skipped, is missed or fails. Not
//! for: which instants a cron expression or a time zone means: that changes with the releases of a library, so it is
//! planned outside and recorded (see [`plan`]).
//! Invariant: each planned instant is decided once, in the order of the plan, and counted; a schedule has at most one
//! timer, and what is too much for one record is left to it.
//!
//! The tests of its commands are the scenarios in `tests/schedules.rs`.

pub(crate) mod act;
pub(crate) mod by_hand;
pub(crate) mod due;
pub(crate) mod plan;
pub(crate) mod rows;
pub(crate) mod set;
pub(crate) mod views;
