//! The keys of ballots.
//!
//! For: votes, and the timers of ballots. Not for: ballots by name (a key of a name has those) or by number (a record's).
//! Invariant: the number of a ballot is the record that opened it, so it is never used again; its votes are in the order
//! of rounds and voters.

use consort_types::{Position, Seq, StepInstanceId};

use crate::{
    key::{Parts, put_text},
    run::keys::timer_of,
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

/// What the timers of a ballot have in the place of a task: its number.
pub(crate) fn timer_task(ballot: Seq) -> StepInstanceId {
    timer_of(Position { seq: ballot, n: 0 })
}
