//! Who bids: every agent that has the capability of the task.
//!
//! For: those that are called for a bid, and those whose declaration is their bid. Not for: whether an instance of them is
//! connected (the dispatcher knows; who does not answer in time has not bid).
//! Invariant: an agent bids once, whatever its versions; versions that operators have stopped count for nothing.

use std::collections::BTreeMap;

use consort_types::{Code, Error, Result, limits, worker::CapabilityDeclaration};

use crate::{
    auction::rows::{AuctionRow, Bid},
    context::ApplyContext,
    registry::{agents, rows::Agent},
};

/// What a version of an agent makes of its name.
#[derive(Default)]
struct Bidder {
    /// Whether it is called for bids.
    called: bool,
    /// What it has declared of the capability.
    declared: Option<Bid>,
}

/// The bidders for a task of a capability, where `ask` is the capability that is called for bids.
///
/// # Errors
/// [`Code::NotAwarded`] where there is none, [`Code::LimitReached`] where there are too many.
pub(crate) fn bidders(ctx: &mut ApplyContext<'_>, namespace: &str, capability: &str, ask: &str) -> Result<AuctionRow> {
    let mut bidders = BTreeMap::<String, Bidder>::new();
    let (mut agents, mut bytes) = (0, 0);
    agents::each(ctx.state, agents::range_of(namespace, None), |key, row| {
        (agents, bytes) = (agents + 1, bytes + row.declaration.len() as usize);
        note(&mut bidders, key.name, &row, (capability, ask));
    })?;
    ctx.charge(agents);
    ctx.state.charge_bytes(bytes);
    let (count, max) = (bidders.len(), limits::AUCTION_BIDDERS_MAX as usize);
    if count == 0 {
        let message = format!("no agent that has `{capability}` and takes tasks can bid");
        return Err(Error::new(Code::NotAwarded, message).hint(format!(
            "give an agent of `{capability}` the capability `{ask}`, or let it declare what a task costs or how long \
             it takes"
        )));
    }
    if count > max {
        let message = format!("`{count}` agents would bid for a task of `{capability}`, the limit is {max}");
        return Err(Error::new(Code::LimitReached, message).hint("give the capability of some agents another name"));
    }
    let called = bidders.iter().filter(|(_, bidder)| bidder.called).map(|(name, _)| name.clone()).collect();
    let declared = bidders.into_values().filter(|bidder| !bidder.called).filter_map(|bidder| bidder.declared);
    Ok(AuctionRow { called, bids: declared.collect(), ranked: None })
}

/// Notes what a version of an agent makes of its name.
fn note(bidders: &mut BTreeMap<String, Bidder>, name: String, row: &Agent, (capability, ask): (&str, &str)) {
    let takes = !row.state.draining && row.state.weight > 0;
    let Some(declaration) = row.declaration().filter(|_| takes) else { return };
    let of = |wanted: &str| declaration.capabilities.iter().find(|capability| capability.name == wanted);
    let Some(task) = of(capability) else { return };
    let (called, declared) = (of(ask).is_some(), declared(&name, task));
    if !called && declared.is_none() {
        return;
    }
    let bidder = bidders.entry(name).or_default();
    bidder.called |= called;
    // Of several versions, the newest by name: the order of the rows.
    bidder.declared = declared.or(bidder.declared.take());
}

/// The bid of an agent that is not called: what it has declared of the capability, if anything.
fn declared(agent: &str, capability: &CapabilityDeclaration) -> Option<Bid> {
    const MICRODOLLARS: f64 = 1_000_000.0;
    const MICROSECONDS: f64 = 1_000_000.0;
    if capability.cost_hint_microdollars.is_none() && capability.time_hint.is_none() {
        return None;
    }
    Some(Bid {
        agent: agent.to_owned(),
        cost: capability.cost_hint_microdollars.unwrap_or_default() as f64 / MICRODOLLARS,
        seconds: capability.time_hint.unwrap_or_default().0 as f64 / MICROSECONDS,
        confidence: 1.0,
        declared: true,
        score: None,
        refused: None,
    })
}
