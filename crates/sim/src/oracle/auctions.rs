//! What must hold of auctions, by the records alone.
//!
//! For: that the best bid gets the task, that it is with one agent at a time, and that what may have happened is not
//! awarded again (law 2); that awards are counted once (law 8). Not for: what bids say (the machine reads them).
//! Invariant: it never asks the machine what it has decided: it sees rows.

use std::cmp::Ordering;

use consort_core::{
    TABLES,
    keys::ScopeKey,
    rows::{AuctionRow, AwardRecord, Bid, Scope, ScopeKind, Step, StepState},
};
use consort_types::{Code, Seq, StepInstanceId};

use super::rows::{self, Change, Context, Rows, decode, key_of};
use crate::plan::{Checked, Violation};

/// Looks at what a record has changed; `rows` are those after it.
pub(crate) fn check(context: &Context<'_>, changes: &[Change], rows: &Rows) -> Checked {
    for change in changes {
        let (key, new) = (&change.key, change.new.as_deref());
        if TABLES.auctions.has(key)
            && let Some(row) = new.and_then(decode::<AuctionRow>)
        {
            check_order(context.seq, &row)?;
        }
        if TABLES.awards.has(key)
            && let Some(row) = new.and_then(decode::<AwardRecord>)
            && row.done + row.failed > row.won
        {
            return Err(Violation::of(
                8,
                format!("record {}: more awards have ended than were made: {row:?}", context.seq),
            ));
        }
        if TABLES.scopes.has(key)
            && let Some((key, scope)) = key_of::<ScopeKey>(key).zip(new.and_then(decode::<Scope>))
            && let ScopeKind::Auction { called } = scope.kind
        {
            check_awards(context.seq, key, called, &scope, rows)?;
        }
    }
    Ok(())
}

/// The bids that count are each ranked once, the best first.
fn check_order(seq: Seq, row: &AuctionRow) -> Checked {
    let Some(ranked) = &row.ranked else { return Ok(()) };
    let bids: Vec<&Bid> = ranked.iter().filter_map(|at| row.bids.get(*at as usize)).collect();
    let falls = |pair: &[&Bid]| worse(pair[0], pair[1]) == Ordering::Less;
    let counts = row.bids.iter().filter(|bid| bid.refused.is_none() && bid.score.is_some()).count();
    if bids.windows(2).all(falls) && bids.len() == counts {
        return Ok(());
    }
    Err(Violation::of(2, format!("record {seq}: the bids are ranked otherwise than they are worth: {row:?}")))
}

fn worse(one: &Bid, other: &Bid) -> Ordering {
    let number = |bid: &Bid| bid.score.unwrap_or(f64::NAN);
    let worth = number(one).total_cmp(&number(other));
    worth.then(one.seconds.total_cmp(&other.seconds)).then(one.agent.cmp(&other.agent))
}

/// Each award but the last has failed, and it is known that it has.
fn check_awards(seq: Seq, key: ScopeKey, called: u32, scope: &Scope, rows: &Rows) -> Checked {
    let last = scope.started.saturating_sub(1);
    for index in called..last {
        let task = StepInstanceId { run: key.run, scope: key.scope, index };
        let step = rows::step(rows, task).unwrap_or_default();
        let known = step.error.as_ref().is_some_and(|error| error.code != Code::OutcomeUnknown);
        if step.state != StepState::Failed || !known {
            return Err(Violation::of(
                2,
                format!("record {seq}: the task of {task} was awarded again: {}", told(&step)),
            ));
        }
    }
    Ok(())
}

fn told(step: &Step) -> String {
    format!("{:?}, {:?}", step.state, step.error)
}
