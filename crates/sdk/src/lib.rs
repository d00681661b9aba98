//! The Rust agent SDK: agents and their capabilities, the task context, the worker that runs them.
//!
//! For: writing agents and hosting them, in the engine's process or (over a transport that implements
//! [`Connect`]) far from it. Not for: scheduling, retries or storage; those are the engine's.
//! Invariant: agent code is the same whatever carries the messages, and everything that leaves this crate
//! is a message of [`consort_types::worker`].

mod agent;
mod attempt;
mod back_off;
mod beside;
mod call;
#[cfg(feature = "remote")]
pub mod client;
mod connection;
mod context;
mod drive;
mod error;
mod journal;
mod live;
mod outbox;
#[cfg(feature = "remote")]
mod remote;
mod replay_check;
mod session;
mod state;
pub mod testing;
mod worker;

pub use agent::{Agent, Capability, Handler, Subscription};
pub use beside::{Update, UpdateAnswer};
pub use call::{CallOptions, all, race};
#[cfg(feature = "remote")]
pub use client::{Client, Replica};
pub use connection::{Connect, Connection};
/// The words of Consort that its interfaces are made of: errors with their codes, spans, effect classes.
pub use consort_types as types;
pub use context::{Answer, Approval, TaskContext};
pub use error::TaskError;
#[cfg(feature = "remote")]
pub use remote::Remote;
/// The version of `schemars` whose `JsonSchema` the inputs and outputs of handlers implement.
pub use schemars;
pub use state::{PutOptions, StateSpace, StateTransaction, StateValue, StateWritten};
pub use worker::Worker;

/// The guide's examples are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/agents.md")]
struct Guide;
