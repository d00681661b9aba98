//! Ballots: agreement among voters about an opinion.
//!
//! For: questions, votes, rounds and decisions as durable rows, with their commands, rules and views. Not for: agreement
//! among machines (the log has one writer), nor for asking the voters (their own clients, or a workflow, do).
//! Invariant: a ballot is decided once, and its decision is the one that its recorded votes give; a voter has one vote in
//! a round; an ended ballot changes no more until it is deleted.
//!
//! The tests of its commands are the scenarios in `tests/ballots.rs`; the rules of counting are tested in
//! `tests/ballot_tally.rs`.

pub(crate) mod cast;
pub(crate) mod close;
pub(crate) mod delete;
pub(crate) mod keys;
pub(crate) mod open;
pub(crate) mod rounds;
pub(crate) mod rows;
pub(crate) mod tally;
pub(crate) mod verdict;
pub(crate) mod views;
