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

/// A deployed revision of a workflow, or (at number 0) the revision that its name takes.
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
    /// At number 0: the newest revision, where an earlier one is current.
    #[n(5)]
    pub newest: Option<u32>,
    /// At number 0: since when the workflow takes no new starts.
    #[n(6)]
    pub retired: Option<Time>,
}

impl WorkflowRevision {
    /// The newest revision, as the row at number 0 knows it.
    pub(crate) fn newest(&self) -> u32 {
        self.newest.unwrap_or(self.revision)
    }
}

impl Row for WorkflowRevision {}

/// What uses a workflow's content in a namespace. An empty row is not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct DefinitionUse {
    /// Deployed revisions that have this content.
    #[n(0)]
    pub revisions: u64,
    /// Runs that are pinned to it, ended or not, or that start it by its name.
    #[n(1)]
    pub runs: u64,
    /// Of the runs that are pinned to it: those that have not ended.
    #[n(2)]
    pub active: u64,
}

impl Row for DefinitionUse {}

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
