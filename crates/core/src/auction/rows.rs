//! The rows of auctions.
//!
//! For: who was called, what was bid, in which order the bids get the task, and how those that won did. Not for: the
//! tasks (they are step instances).
//! Invariant: an auction is ranked once, and not changed after that.

use minicbor::{Decode, Encode};

use crate::tables::Row;

/// A bid, or why there is none.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Bid {
    /// The agent.
    #[n(0)]
    pub agent: String,
    /// Its price for the task, in whatever the bidders of a capability count in; US dollars where it was declared.
    #[n(1)]
    pub cost: f64,
    /// How long it says that the task takes, in seconds.
    #[n(2)]
    pub seconds: f64,
    /// How sure it is of success: more than 0, at most 1.
    #[n(3)]
    pub confidence: f64,
    /// Whether it is what the agent has declared, and not its answer to a call.
    #[n(4)]
    pub declared: bool,
    /// What it is worth: the least wins.
    #[n(5)]
    pub score: Option<f64>,
    /// Why it does not count.
    #[n(6)]
    pub refused: Option<String>,
}

/// The auction of a step instance, by the scope that it has opened.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct AuctionRow {
    /// The agents that are called for bids, in the order of their names: instance `i` of the scope calls the `i`-th.
    #[n(0)]
    pub called: Vec<String>,
    /// The bids; while they are awaited, those that were declared.
    #[n(1)]
    pub bids: Vec<Bid>,
    /// Positions of bids, the best first; `None` while bids are awaited.
    #[n(2)]
    pub ranked: Option<Vec<u32>>,
}

impl AuctionRow {
    /// The agent that the award with this number, from 0, goes to.
    pub(crate) fn winner(&self, award: u32) -> Option<&Bid> {
        let at = *self.ranked.as_ref()?.get(award as usize)?;
        self.bids.get(at as usize)
    }
}

impl Row for AuctionRow {
    fn weight(&self) -> usize {
        64 * (1 + self.called.len() + 2 * self.bids.len())
    }
}

/// How an agent did with the tasks of a capability that auctions awarded to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Encode, Decode)]
pub struct AwardRecord {
    /// Tasks that were awarded to it.
    #[n(0)]
    pub won: u64,
    /// Those that it completed.
    #[n(1)]
    pub done: u64,
    /// Those that it failed, lost, or did not take.
    #[n(2)]
    pub failed: u64,
    /// Of those that it completed and gave a time for: the time that it gave, in seconds.
    #[n(3)]
    pub promised: f64,
    /// The time that they took, in seconds.
    #[n(4)]
    pub taken: f64,
}

impl AwardRecord {
    /// The share of its awards that it completed, from 0 to 1. One that has none yet is given credit for one.
    pub fn reliability(&self) -> f64 {
        (self.done + 1) as f64 / (self.done + self.failed + 1) as f64
    }

    /// How many times longer its tasks took than it said; 1 where nothing is known.
    pub fn slowness(&self) -> f64 {
        if self.promised > 0.0 { self.taken / self.promised } else { 1.0 }
    }
}

impl Row for AwardRecord {}
