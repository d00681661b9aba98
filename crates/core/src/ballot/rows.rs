//! The rows of ballots.
//!
//! For: what was asked, how far a ballot is, and the votes. Not for: what follows from them (see `verdict`).
//! Invariant: what was asked never changes; a row has a bounded size, so a vote costs the same however many there are.

use consort_types::{
    Seq, Time,
    ballot::{BallotSpec, Choice},
};
use minicbor::{Decode, Encode};

use super::verdict::{ClosedBy, Verdict};
use crate::tables::Row;

/// A ballot as it was opened.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Ballot {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The name.
    #[n(1)]
    pub name: String,
    /// What is asked, and how it is decided.
    #[n(2)]
    pub spec: BallotSpec,
    /// When it was opened.
    #[n(3)]
    pub opened: Time,
}

impl Row for Ballot {
    fn weight(&self) -> usize {
        const VOTER: usize = 64;
        512 + self.spec.question.len() + VOTER * (self.spec.voters.len() + self.spec.options.len())
    }
}

/// Where a ballot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum BallotStatus {
    /// A round is open.
    #[n(0)]
    Open,
    /// It has ended with a decision.
    #[n(1)]
    Decided,
    /// It has ended without one.
    #[n(2)]
    Undecided,
    /// An operator has cancelled it.
    #[n(3)]
    Cancelled,
}

/// A round that has closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ClosedRound {
    /// When it was opened.
    #[n(0)]
    pub opened: Time,
    /// When it was closed.
    #[n(1)]
    pub closed: Time,
    /// What closed it.
    #[n(2)]
    pub by: ClosedBy,
}

/// Who closed or cancelled a ballot by hand.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ByHand {
    /// The name.
    #[n(0)]
    pub by: String,
    /// Why.
    #[n(1)]
    pub reason: Option<String>,
}

/// How far a ballot is.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct BallotProgress {
    /// Its number: the record that opened it.
    #[n(0)]
    pub ballot: Seq,
    /// Where it is.
    #[n(1)]
    pub status: BallotStatus,
    /// The open round, or the last one, from 1.
    #[n(2)]
    pub round: u32,
    /// When that round was opened.
    #[n(3)]
    pub round_opened: Time,
    /// When it closes by itself, where it is open.
    #[n(4)]
    pub closes: Option<Time>,
    /// Votes in that round.
    #[n(5)]
    pub voted: u32,
    /// The rounds that have closed.
    #[n(6)]
    pub rounds: Vec<ClosedRound>,
    /// What it came to.
    #[n(7)]
    pub verdict: Option<Verdict>,
    /// When it ended.
    #[n(8)]
    pub ended: Option<Time>,
    /// Who ended it by hand.
    #[n(9)]
    pub by_hand: Option<ByHand>,
}

impl Row for BallotProgress {}

/// A vote.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Vote {
    /// What it says.
    #[n(0)]
    pub choice: Choice,
    /// Why.
    #[n(1)]
    pub reason: Option<String>,
    /// When it was given, or changed last.
    #[n(2)]
    pub time: Time,
    /// How often it was changed.
    #[n(3)]
    pub changes: u32,
}

impl Row for Vote {
    fn weight(&self) -> usize {
        192 + self.reason.as_ref().map_or(0, String::len)
    }
}
