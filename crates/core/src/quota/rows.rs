//! The rows of limits and namespaces.
//!
//! For: what operators have set, and what is counted for a namespace. Not for: enforcing limits on tasks (the
//! dispatcher does).
//! Invariant: an empty row is not kept.

use consort_types::{RunId, registry::TaskLimit};
use minicbor::{Decode, Encode};

use crate::tables::Row;

/// A limit on tasks of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Limit {
    /// Its values.
    #[n(0)]
    pub limit: TaskLimit,
}

impl Row for Limit {}

/// The settings of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub struct Namespace {
    /// How long a run is kept after its end; `None` keeps it.
    #[n(0)]
    pub retention: Option<consort_types::Span>,
    /// Its runs that have not ended.
    #[n(1)]
    pub runs_active: u64,
    /// What it holds; folders of earlier versions are counted when they are opened.
    #[n(2)]
    #[cbor(default)]
    pub counts: NamespaceCounts,
}

/// What a namespace holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct NamespaceCounts {
    /// Runs that are kept, ended or not.
    #[n(0)]
    pub runs: u64,
    /// Versions of agents.
    #[n(1)]
    pub agents: u64,
    /// Deployed workflows.
    #[n(2)]
    pub workflows: u64,
    /// Bytes of the inputs and outputs of its runs.
    #[n(3)]
    pub bytes: u64,
    /// Ballots that are kept, ended or not. (The numbers between are those of other things that a namespace holds.)
    #[n(8)]
    #[cbor(default)]
    pub ballots: u64,
}

impl Row for Namespace {}

/// How far the retention of a namespace was applied to runs that have ended before it was set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Retaining {
    /// The last run that was looked at, in the order of the listing; `None` before the first.
    #[n(0)]
    pub after: Option<RunId>,
}

impl Row for Retaining {}
