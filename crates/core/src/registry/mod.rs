//! The registry: which workflows and agents there are.
//!
//! For: the commands, rules, rows and views of workflows and agents. Not for: which instances are connected (the
//! dispatcher knows).
//! Invariant: what is registered lasts until it is removed.
//!
//! The tests of its commands are the scenarios in `tests/registry.rs` and `tests/tasks.rs`.

pub(crate) mod agents;
pub(crate) mod delete_workflow;
pub(crate) mod deploy;
pub(crate) mod keys;
pub(crate) mod register_agent;
pub(crate) mod remove_agent;
pub(crate) mod retire_workflow;
pub(crate) mod roll_back;
pub(crate) mod rows;
pub(crate) mod set_agent;
pub(crate) mod uses;
pub(crate) mod views;
pub(crate) mod workflows;
