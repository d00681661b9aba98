//! The keys of the registry.
//!
//! For: versions of agents, and uses of workflows' contents. Not for: revisions of workflows (`NamedKey` is their key).
//! Invariant: the versions of an agent lie side by side, and so do the uses of a content.

use consort_types::BlobHash;

use crate::{
    key::{Parts, key_of_texts, put_text},
    tables::Key,
};

/// A version of an agent in a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AgentKey {
    /// The namespace.
    pub namespace: String,
    /// The agent.
    pub name: String,
    /// Its version, as the author wrote it.
    pub version: String,
}

impl AgentKey {
    /// The least key behind this one.
    #[must_use]
    pub fn next(&self) -> Self {
        Self { version: format!("{}\0", self.version), ..self.clone() }
    }
}

key_of_texts!(AgentKey: namespace, name, version);

/// A workflow's content in a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DefinitionKey {
    /// The content.
    pub hash: BlobHash,
    /// The namespace.
    pub namespace: String,
}

impl Key for DefinitionKey {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.hash.0);
        put_text(out, &self.namespace);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let key = Self { hash: parts.take().map(BlobHash)?, namespace: parts.text()? };
        parts.end(key)
    }
}
