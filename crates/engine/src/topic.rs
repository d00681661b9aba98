//! What can be watched.
//!
//! For: the one name of a thing whose changes wake subscribers. Not for: what has changed (the subscriber reads it).
//! Invariant: a topic is a plain value: naming one costs nothing where it has no watcher.

use consort_core::Coordinated;
use consort_types::{BlobHash, RunId, Seq, state::SpaceId};

/// What can be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// A run: its revision is the last record that changed it; its live messages are the progress of its attempts.
    Run(RunId),
    /// Whatever agents are shown with, in all namespaces.
    Agents,
    /// A space of shared state: its revision is the last record that changed one of its keys.
    Space(SpaceId),
    /// A lock or a barrier, by the hash of its kind, namespace and name: its revision is the last record that changed it.
    Coordination(BlobHash),
    /// A ballot, by its number: its revision is the last record that changed it.
    Ballot(Seq),
    /// The events of a namespace and the deliveries of its subscriptions, by the hash of its name: its revision is the
    /// last record that changed them.
    Events(BlobHash),
    /// The subscriptions that push to webhooks, of all namespaces: its revision is the last record that changed one.
    Pushes,
}

impl Topic {
    /// The events of a namespace.
    pub(crate) fn events(namespace: &str) -> Self {
        Self::Events(BlobHash::of(namespace.as_bytes()))
    }

    /// The topic of a lock or barrier.
    pub(crate) fn coordinated(of: &Coordinated) -> Self {
        let (kind, namespace, name) = match of {
            Coordinated::Lock { namespace, name } => ("lock", namespace, name),
            Coordinated::Barrier { namespace, name } => ("barrier", namespace, name),
        };
        Self::Coordination(BlobHash::of(format!("{kind}\0{namespace}\0{name}").as_bytes()))
    }
}
