//! The rows of agents and limits.
//!
//! For: what operators and agents have said about who may do what, and how much of it. Not for: what is observed
//! (the engine's dispatcher has that, in memory).
//! Invariant: what an operator said about a version of an agent outlives its declarations.

pub use consort_types::registry::AgentState;
use consort_types::{Payload, Time, registry::TaskLimit, worker::AgentDeclaration};
use minicbor::{Decode, Encode};

use crate::tables::Row;

/// A version of an agent that has joined.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Agent {
    /// Its declaration, as JSON of `AgentDeclaration`.
    #[n(0)]
    pub declaration: Payload,
    /// When it joined, or last changed its declaration.
    #[n(1)]
    pub since: Time,
    /// What operators said about it.
    #[n(2)]
    pub state: AgentState,
    /// Whether it is built in: it was declared by an instance in the engine's process.
    #[n(3)]
    pub built_in: bool,
}

impl Agent {
    /// The declaration; `None` where the row was written by a newer version.
    pub fn declaration(&self) -> Option<AgentDeclaration> {
        serde_json::from_slice(self.declaration.bytes()?).ok()
    }
}

/// A limit on tasks of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Limit {
    /// What it says.
    #[n(0)]
    pub limit: TaskLimit,
}

impl Row for Agent {
    fn weight(&self) -> usize {
        128 + self.declaration.bytes().map_or(0, <[u8]>::len)
    }
}
impl Row for Limit {}
