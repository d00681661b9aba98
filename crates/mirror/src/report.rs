//! What a mirror tells of what it does.
//!
//! For: events as they happen, and the counts at the end. Not for: how they are shown.
//! Invariant: what is counted was done and answered, each once in the life of a process.

use consort_peering::Side;
use serde::Serialize;

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Another process mirrors under this name; this one waits for its turn.
    StandingBy {
        /// The name.
        name: String,
    },
    /// Both sides are reached, and changes are carried from now on.
    Connected {
        /// The other side.
        to: String,
        /// Whether it continued behind the cursor; without that, everything is compared.
        resumed: bool,
    },
    /// A side is lost; it is tried again.
    Lost {
        /// Which.
        side: Side,
        /// Why.
        reason: String,
    },
    /// Both sides are equal at this position of the state store.
    Settled {
        /// The position.
        position: String,
    },
    /// A value went out.
    Out {
        /// The key.
        key: String,
        /// Its version in the state store; 0 where it was removed.
        version: u64,
    },
    /// A value came in.
    In {
        /// The key.
        key: String,
        /// The version that it got; 0 where it was removed.
        version: u64,
    },
    /// Both sides had changed a key; the policy of the space decided.
    Conflict {
        /// The key.
        key: String,
    },
    /// The two servers have other policies for their spaces: each decides by its own.
    PoliciesDiffer {
        /// The space on the other side.
        space: String,
    },
    /// A key or value is not carried.
    Refused {
        /// The key.
        key: String,
        /// Why.
        reason: String,
    },
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Values and removals that went out.
    pub out: u64,
    /// Values and removals that came in.
    #[serde(rename = "in")]
    pub taken: u64,
    /// Conflicts that the policy of the space decided.
    pub conflicts: u64,
    /// Keys and values that were not carried.
    pub refused: u64,
    /// Comparisons of everything.
    pub compared: u64,
    /// Losses of a side.
    pub lost: u64,
}
