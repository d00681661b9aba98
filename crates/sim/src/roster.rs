//! The worker instances of a world, as they were made.
//!
//! For: which namespace and agent an instance serves, and how many tasks it requests. Not for: what it does with them
//! (see `actors::worker`).
//! Invariant: nothing here changes during a simulation.

use consort_engine::Locality;

/// The namespaces of the world.
pub(crate) const NAMESPACES: [&str; 2] = ["tenant_a", "tenant_b"];

/// The position of a namespace in the list.
pub(crate) fn position(namespace: &str) -> usize {
    NAMESPACES.iter().position(|known| *known == namespace).unwrap_or(0)
}

/// One instance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pub(crate) namespace: usize,
    pub(crate) agent: usize,
    pub(crate) locality: Locality,
    /// How many tasks it requests at most.
    pub(crate) max_concurrent: u32,
}

impl Identity {
    /// Whether both serve the same agent of the same namespace.
    pub(crate) fn is_same_agent(&self, other: &Self) -> bool {
        self.namespace == other.namespace && self.agent == other.agent
    }
}

/// All instances; an instance is named by its position.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roster(pub(crate) Vec<Identity>);

impl Roster {
    pub(crate) fn get(&self, instance: usize) -> &Identity {
        &self.0[instance]
    }

    /// Whether two instances serve the same agent of the same namespace.
    pub(crate) fn is_same_agent(&self, one: usize, other: usize) -> bool {
        self.0[one].is_same_agent(&self.0[other])
    }
}
