//! The keys of ballots.
//!
//! For: votes, and the timers of ballots. Not for: ballots by name (a key of a name has those) or by number (a record's).
//! Invariant: the number of a ballot is the record that opened it, so it is never used again; its votes are in the order
//! of rounds and voters.

use consort_types::{RunId, Seq, StepInstanceId};

use crate::{
    key::{NamedKey, Parts, put_text},
    tables::Key,
};

/// A vote.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VoteKey {
    /// The ballot's number.
    pub ballot: Seq,
    /// The round, from 1.
    pub round: u32,
    /// The voter.
    pub voter: String,
}

impl VoteKey {
    /// The least key of a round.
    pub(crate) fn first(ballot: Seq, round: u32) -> Self {
        Self { ballot, round, voter: String::new() }
    }
}

impl Key for VoteKey {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.ballot.0.to_be_bytes());
        out.extend(self.round.to_be_bytes());
        put_text(out, &self.voter);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let key = Self { ballot: Seq(parts.u64()?), round: parts.u32()?, voter: parts.text()? };
        parts.end(key)
    }
}

/// Where a ballot is by its name.
pub(crate) fn name_key(namespace: &str, name: &str) -> NamedKey {
    NamedKey { namespace: namespace.to_owned(), name: name.to_owned(), number: 0 }
}

/// What the timers of a ballot name in the place of a task: they belong to no run, and have the ballot's number.
#[expect(clippy::cast_possible_truncation, reason = "the two halves of the number")]
pub(crate) fn timer_task(ballot: Seq) -> StepInstanceId {
    StepInstanceId { run: RunId([0; 16]), scope: (ballot.0 >> 32) as u32, index: ballot.0 as u32 }
}

/// The ballot that a timer is of.
pub(crate) fn timer_ballot(task: StepInstanceId) -> Seq {
    Seq(u64::from(task.scope) << 32 | u64::from(task.index))
}
