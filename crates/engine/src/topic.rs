//! What can be watched.
//!
//! For: the one name of a thing whose changes wake subscribers. Not for: what has changed (the subscriber reads it).
//! Invariant: a topic is a plain value: naming one costs nothing where nobody watches it.

use consort_types::{RunId, state::SpaceId};

/// What can be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// A run: its revision is the last record that changed it; its live messages are the progress of its attempts.
    Run(RunId),
    /// Whatever agents are shown with, in all namespaces.
    Agents,
    /// A space of shared state: its revision is the last record that changed one of its keys.
    Space(SpaceId),
}
