//! The rows of workflows and agents.
//!
//! For: deployed revisions, declarations, and what operators have set for versions of agents. Not for: what is observed
//! of agents (the dispatcher has that, in memory).
//! Invariant: what an operator set for a version of an agent outlives its declarations.

pub use consort_types::registry::AgentState;
use consort_types::{BlobHash, Payload, Time, worker::AgentDeclaration};
use consort_workflow::CompiledWorkflow;
use minicbor::{Decode, Encode};

use crate::tables::Row;

impl Row for CompiledWorkflow {
    fn weight(&self) -> usize {
        128 + self.normal_form.len() + self.source.len()
    }
}

/// A deployed revision of a workflow, or (at number 0) which revision is the newest.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct WorkflowRevision {
    /// Its content hash.
    #[n(0)]
    pub hash: BlobHash,
    /// The revision.
    #[n(1)]
    pub revision: u32,
    /// When it was deployed.
    #[n(2)]
    pub at: Time,
    /// The version that its author wrote, if any.
    #[n(3)]
    pub version: Option<String>,
    /// What it does, in its author's words.
    #[n(4)]
    pub description: String,
}

impl Row for WorkflowRevision {}

/// A version of an agent that has joined.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Agent {
    /// Its declaration, as JSON of `AgentDeclaration`.
    #[n(0)]
    pub declaration: Payload,
    /// When it joined, or last changed its declaration.
    #[n(1)]
    pub since: Time,
    /// Its settings by operators.
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

impl Row for Agent {
    fn weight(&self) -> usize {
        128 + self.declaration.bytes().map_or(0, <[u8]>::len)
    }
}
