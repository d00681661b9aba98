//! The keys of auctions.
//!
//! For: what is remembered of an agent at a capability. Not for: auctions themselves (the key of their scope is theirs).
//! Invariant: what is remembered of one agent lies side by side.

use crate::key::key_of_texts;

/// An agent at a capability that it was awarded tasks of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AwardKey {
    /// The namespace.
    pub namespace: String,
    /// The agent.
    pub agent: String,
    /// The capability.
    pub capability: String,
}

impl AwardKey {
    pub(crate) fn of(namespace: &str, agent: &str, capability: &str) -> Self {
        Self { namespace: namespace.to_owned(), agent: agent.to_owned(), capability: capability.to_owned() }
    }

    /// A key behind all of the same agent: no name has a zero byte.
    pub(crate) fn last(namespace: &str, agent: &str) -> Self {
        Self::of(namespace, &format!("{agent}\0"), "")
    }
}

key_of_texts!(AwardKey: namespace, agent, capability);
