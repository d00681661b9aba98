//! Auctions and what is remembered of agents, for people and programs.
//!
//! For: the bids of a step, and how an agent did with what it won. Not for: deciding anything.
//! Invariant: reads only.

use consort_types::{Result, limits, registry::AwardsView};
use serde::Serialize;

use crate::{
    auction::{
        keys::AwardKey,
        rows::{AuctionRow, AwardRecord, Bid},
    },
    state::State,
};

/// A bid, as a step shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BidView {
    /// The agent.
    pub agent: String,
    /// Its price for the task.
    pub cost: f64,
    /// How long it says that the task takes, in seconds.
    pub seconds: f64,
    /// How sure it is of success, from 0 to 1.
    pub confidence: f64,
    /// Whether it is what the agent has declared, and not its answer to a call.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub declared: bool,
    /// What it is worth; the least wins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Its place among those that count, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
    /// Why it does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// The bids of an auction, the best first, and behind them those that do not count; none while bids are awaited.
pub(crate) fn bids(row: &AuctionRow) -> Vec<BidView> {
    let Some(ranked) = &row.ranked else { return Vec::new() };
    let best = ranked.iter().zip(1..).filter_map(|(at, rank)| Some(view(row.bids.get(*at as usize)?, Some(rank))));
    let others = row.bids.iter().filter(|bid| bid.score.is_none()).map(|bid| view(bid, None));
    best.chain(others).collect()
}

fn view(bid: &Bid, rank: Option<u32>) -> BidView {
    let Bid { agent, cost, seconds, confidence, declared, score, refused } = bid.clone();
    BidView { agent, cost, seconds, confidence, declared, score, rank, refused }
}

/// What is remembered of an agent, by capability.
pub(crate) fn records(state: &State, namespace: &str, agent: &str) -> Result<Vec<AwardsView>> {
    let (from, to) = (AwardKey::of(namespace, agent, ""), AwardKey::last(namespace, agent));
    let rows = state.tables.awards.range(&from, &to, limits::PAGE_ITEMS_MAX)?;
    let view = |(key, row): (AwardKey, AwardRecord)| AwardsView {
        capability: key.capability,
        won: row.won,
        done: row.done,
        failed: row.failed,
        reliability: row.reliability(),
        slowness: row.slowness(),
    };
    Ok(rows.into_iter().map(view).collect())
}
