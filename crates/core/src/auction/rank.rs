//! Which bid is best.
//!
//! For: reading answers to a call as bids, and ordering bids by what they are worth. Not for: calling, or awarding (see
//! `run::auction`).
//! Invariant: the order is total: by worth, then by time, then by the name of the agent. A bid that says too little, or is
//! refused, is kept with the reason.

use std::{cmp::Ordering, sync::Arc};

use consort_types::{Code, Error, Payload, Result, StepInstanceId, limits, text};
use consort_workflow::{Auction, Environment, Expression, Reference};
use serde_json::{Value, json};

use crate::{
    auction::{
        record,
        rows::{AwardRecord, Bid},
    },
    fatal::split_fatal,
    run::{
        environment::{self, in_expression},
        locate::StepRef,
    },
    state::State,
};

/// Bytes of an answer to a call for bids.
const REPLY_BYTES_MAX: u64 = 64 * 1024;

/// Bytes of the reason for which a bid does not count.
const REASON_BYTES_MAX: usize = 512;

/// A bid with the whole answer that it comes from.
pub(crate) struct Offered {
    pub(crate) bid: Bid,
    pub(crate) reply: Value,
}

/// A bid that does not count.
pub(crate) fn refused(agent: &str, why: String) -> Bid {
    let (agent, refused) = (agent.to_owned(), Some(short(why)));
    Bid { agent, cost: 0.0, seconds: 0.0, confidence: 1.0, declared: false, score: None, refused }
}

/// A reason as it is kept.
fn short(mut why: String) -> String {
    text::truncate(&mut why, REASON_BYTES_MAX);
    why
}

/// What an agent has answered to the call.
pub(crate) fn read(state: &mut State, agent: &str, output: &Payload) -> Result<Offered> {
    let bytes = output.len();
    let nothing = |why: String| Offered { bid: refused(agent, why), reply: Value::Null };
    if bytes > REPLY_BYTES_MAX {
        return Ok(nothing(format!("its bid has {bytes} bytes, the limit is {REPLY_BYTES_MAX}")));
    }
    let bytes = state.payload_bytes(output)?;
    state.charge_bytes(bytes.len());
    let Ok(reply) = serde_json::from_slice::<Value>(&bytes) else {
        return Ok(nothing("its bid is not JSON".to_owned()));
    };
    Ok(match bid_of(agent, &reply) {
        Ok(bid) => Offered { bid, reply },
        Err(why) => nothing(why),
    })
}

/// The bid that an answer says; the error is why it says none.
fn bid_of(agent: &str, reply: &Value) -> Result<Bid, String> {
    if !reply.is_object() {
        return Err("its bid is no map with `cost`, `seconds` and `confidence`".to_owned());
    }
    if reply.get("decline") == Some(&Value::Bool(true)) {
        let reason = reply.get("reason").and_then(Value::as_str);
        return Err(reason.map_or_else(|| "it declined".to_owned(), |reason| format!("it declined: {reason}")));
    }
    let number = |key: &str, default: f64, max: f64| match reply.get(key) {
        None => Ok(default),
        Some(value) => value
            .as_f64()
            .filter(|number| (0.0..=max).contains(number))
            .ok_or_else(|| format!("the `{key}` of its bid is no number from 0 to {max}")),
    };
    let max = limits::AUCTION_BID_MAX as f64;
    let confidence = number("confidence", 1.0, 1.0)?;
    if confidence == 0.0 {
        return Err("it has no confidence in its bid".to_owned());
    }
    Ok(Bid {
        agent: agent.to_owned(),
        cost: number("cost", 0.0, max)?,
        seconds: number("seconds", 0.0, max)?,
        confidence,
        declared: false,
        score: None,
        refused: None,
    })
}

/// Values every bid, and returns the positions of those that count, the best first.
pub(crate) fn rank(
    state: &mut State,
    step_ref: &StepRef,
    opener: StepInstanceId,
    (auction, capability): (&Auction, &str),
    offered: &mut [Offered],
) -> Result<Vec<u32>> {
    let references: Vec<Reference> = auction.award.iter().flat_map(Expression::references).cloned().collect();
    let mut environment = environment::environment(state, step_ref, opener, &references)?;
    for Offered { bid, reply } in offered.iter_mut().filter(|offered| offered.bid.refused.is_none()) {
        let record = record::of(state, &step_ref.run.namespace, &bid.agent, capability)?;
        match split_fatal(worth(auction, bid, reply, &record, &mut environment))? {
            Ok(Some(score)) => bid.score = Some(score),
            Ok(None) => bid.refused = Some("`award` refuses it".to_owned()),
            Err(error) => bid.refused = Some(short(error.message)),
        }
    }
    state.charge_cost(environment.meter.cost());
    let mut ranked: Vec<(&Bid, u32)> = offered.iter().map(|offered| &offered.bid).zip(0..).collect();
    ranked.retain(|(bid, _)| bid.score.is_some());
    ranked.sort_by(|(one, _), (other, _)| better(one, other));
    Ok(ranked.into_iter().map(|(_, at)| at).collect())
}

fn better(one: &Bid, other: &Bid) -> Ordering {
    let score = |bid: &Bid| bid.score.unwrap_or_default();
    let worth = score(one).total_cmp(&score(other));
    worth.then_with(|| one.seconds.total_cmp(&other.seconds)).then_with(|| one.agent.cmp(&other.agent))
}

/// What a bid is worth; `None` where the author's expression refuses it.
fn worth(
    auction: &Auction,
    bid: &Bid,
    reply: &Value,
    record: &AwardRecord,
    environment: &mut Environment,
) -> Result<Option<f64>> {
    let Some(award) = &auction.award else {
        // No agent is taken to be surer than its record: what a success is expected to cost.
        return Ok(Some(bid.cost / bid.confidence.min(record.reliability())));
    };
    environment.bid = Some(Arc::new(shown(bid, reply, record)));
    let value = award.evaluate(environment).map_err(|error| in_expression("award", error))?;
    if value.is_null() {
        return Ok(None);
    }
    let number = value.as_f64().filter(|number| number.is_finite());
    number.map(Some).ok_or_else(|| {
        let message = format!("`award` must give a number or null, and gives `{value}`");
        Error::new(Code::Expression, message)
    })
}

/// A bid as expressions see it.
fn shown(bid: &Bid, reply: &Value, record: &AwardRecord) -> Value {
    json!({
        "agent": bid.agent,
        "cost": bid.cost,
        "seconds": bid.seconds,
        "confidence": bid.confidence,
        "reply": reply,
        "record": {
            "won": record.won,
            "done": record.done,
            "failed": record.failed,
            "reliability": record.reliability(),
            "slowness": record.slowness(),
        },
    })
}
