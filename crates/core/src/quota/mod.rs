//! Quotas: limits on tasks, and what is set and counted for namespaces.
//!
//! For: the commands, rules and rows of quotas. Not for: enforcing limits on tasks (the dispatcher does).
//! Invariant: an empty limit is not kept.
//!
//! The tests of its commands are the scenarios in `tests/registry.rs`.

pub(crate) mod namespace;
pub(crate) mod recount;
pub(crate) mod retain;
pub(crate) mod rows;
pub(crate) mod set_limit;
pub(crate) mod set_retention;
