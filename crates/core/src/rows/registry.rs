//! The rows of agents and limits.
//!
//! For: what operators and agents have said about who may do what, and how much of it. Not for: what is observed
//! (the engine's dispatcher has that, in memory).
//! Invariant: what an operator said about a version of an agent outlives its declarations.

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

/// What operators said about a version of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AgentState {
    /// Its share of the work beside other versions of the agent, from 0 to
    /// [`consort_types::limits::AGENT_WEIGHT_MAX`]; 0 gives it nothing.
    #[n(0)]
    pub weight: u32,
    /// Whether its instances get nothing more.
    #[n(1)]
    pub draining: bool,
}

impl AgentState {
    /// The weight of a version about which nothing was said.
    pub const WEIGHT_DEFAULT: u32 = 100;
}

impl Default for AgentState {
    fn default() -> Self {
        Self { weight: Self::WEIGHT_DEFAULT, draining: false }
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
