//! A call whose agent is chosen by an auction: calls for bids, then the task for one winner after the other.
//!
//! For: the scope that such a call opens. Not for: who bids, and which bid is best (see `auction`).
//! Invariant: the task is with one agent at a time; the next bid gets it only where the winner before has failed, and it
//! is known that it did (law 2). Everything that gets the task has the same idempotency key.

use consort_types::{Code, Error, Result, StepInstanceId};
use consort_workflow::Auction;

use crate::{
    auction::{
        bidders,
        rank::{self, Offered},
        record,
        rows::{AuctionRow, Bid},
    },
    context::{ApplyContext, Outcome, PendingWork},
    fatal::split_fatal,
    run::{
        close, instance,
        keys::{ScopeKey, TimerKind},
        locate::{InstanceKind, Layer, StepRef, locate},
        rows::{
            history::HistoryEvent,
            run::RunStatus,
            step::{Scope, ScopeKind, Step, StepState},
        },
        scope,
    },
    state::missing,
    task::attempt,
};

/// Opens the auction of a call: every bidder that is called gets a task.
pub(crate) fn begin(
    ctx: &mut ApplyContext<'_>,
    step_ref: &StepRef,
    task: StepInstanceId,
    step: Step,
    auction: &Auction,
) -> Result<()> {
    let row = bidders::bidders(ctx, &step_ref.run.namespace, capability_of(step_ref), &auction.ask)?;
    let called = row.called.len() as u32;
    scope::count_instances(ctx, task.run, called)?;
    let total = called + called + row.bids.len() as u32;
    let key = scope::new_scope(ctx, task.run, Some(task), ScopeKind::Auction { called }, total)?;
    ctx.state.tables.auctions.insert_new(key, row);
    instance::open(ctx, step_ref, task, step, Some(key.scope));
    for index in 0..called {
        scope::start_instance(ctx, key, index);
    }
    let mut scope = ctx.state.scope(key)?;
    scope.started = called;
    ctx.put_scope(key, scope);
    if called == 0 {
        ctx.enqueue(PendingWork::Advance(key));
    }
    Ok(())
}

/// The capability that is bid for: an auction has one.
fn capability_of(step_ref: &StepRef) -> &str {
    step_ref.step().action.capability().unwrap_or_default()
}

/// An agent is called for its bid, or gets the task.
pub(crate) fn begin_task(
    ctx: &mut ApplyContext<'_>,
    step_ref: &StepRef,
    task: StepInstanceId,
    mut step: Step,
) -> Result<()> {
    if let (InstanceKind::Bid, Some(auction)) = (step_ref.kind, &step_ref.step().auction) {
        let due = ctx.now.after(auction.wait);
        step.deadline_at = Some(due);
        ctx.arm(due, task, TimerKind::Deadline, 0);
    }
    attempt::begin_task(ctx, step_ref, task, step)?;
    await_taking(ctx, step_ref, task)
}

/// Limits how long the winner may leave its task in the queue.
pub(crate) fn await_taking(ctx: &mut ApplyContext<'_>, step_ref: &StepRef, task: StepInstanceId) -> Result<()> {
    let Some(auction) = step_ref.step().auction.as_ref().filter(|_| is_award(step_ref)) else { return Ok(()) };
    let mut step = ctx.state.known_step(task)?;
    let due = ctx.now.after(auction.accept);
    step.wake_at = Some(due);
    ctx.arm(due, task, TimerKind::Wake, 0);
    ctx.put_step(task, step);
    Ok(())
}

fn is_award(step_ref: &StepRef) -> bool {
    step_ref.kind == InstanceKind::Body(Layer::Award)
}

/// The time is over within which the winner should have taken its task.
pub(crate) fn not_taken(ctx: &mut ApplyContext<'_>, step_ref: &StepRef, task: StepInstanceId, step: &Step) {
    if step.state != StepState::Ready {
        return;
    }
    let accept = step_ref.step().auction.as_ref().map(|auction| auction.accept).unwrap_or_default();
    let error = Error::new(Code::AwardNotTaken, format!("no instance of the winner took the task within {accept}"))
        .hint("is it connected, and has it room? `accept` says how long to wait");
    ctx.enqueue(PendingWork::Finish(task, Outcome::Failed(error)));
}

/// Ranks the bids once they are in; then hands the task to one winner after the other, until one completes it.
pub(crate) fn advance(ctx: &mut ApplyContext<'_>, key: ScopeKey, scope: &Scope, opener: StepInstanceId) -> Result<()> {
    let step_ref = locate(ctx.state, opener)?;
    let Some(auction) = step_ref.step().auction.clone() else { return Ok(()) };
    let row = auction_of(ctx, key)?;
    let open = scope.started - scope.ended;
    if step_ref.run.status == RunStatus::Cancelling {
        let error = Error::new(Code::Cancelled, "the run was cancelled");
        return if open > 0 { Ok(()) } else { close::close(ctx, key, opener, Outcome::Cancelled(error)) };
    }
    if row.ranked.is_some() {
        return if open > 0 { Ok(()) } else { next_award(ctx, key, opener, (&step_ref, &auction, &row)) };
    }
    if open > 0 {
        return have_enough(ctx, key, scope, (&auction, &row));
    }
    match split_fatal(rank_bids(ctx, key, opener, (&step_ref, &auction, row)))? {
        Ok(row) => next_award(ctx, key, opener, (&step_ref, &auction, &row)),
        Err(error) => close::close(ctx, key, opener, Outcome::Failed(error)),
    }
}

fn auction_of(ctx: &mut ApplyContext<'_>, key: ScopeKey) -> Result<AuctionRow> {
    let row = ctx.state.tables.auctions.get(&key)?;
    row.ok_or_else(|| missing("auction", &format_args!("{}.{}", key.run, key.scope)))
}

/// Where enough agents have bid, the others are awaited no longer.
fn have_enough(
    ctx: &mut ApplyContext<'_>,
    key: ScopeKey,
    scope: &Scope,
    (auction, row): (&Auction, &AuctionRow),
) -> Result<()> {
    // Those that have ended may have bid; before there are so many, none is read.
    let ended = row.bids.len() + scope.ended as usize;
    let Some(enough) = auction.enough.filter(|enough| ended >= *enough as usize) else { return Ok(()) };
    let (mut made, mut open) = (row.bids.len(), Vec::new());
    for (agent, index) in row.called.iter().zip(0..) {
        let task = StepInstanceId { run: key.run, scope: key.scope, index };
        let step = ctx.state.known_step(task)?;
        match &step.output {
            Some(output) => made += usize::from(rank::read(ctx.state, agent, output)?.bid.refused.is_none()),
            None if step.state.is_terminal() => {}
            None => open.push(task),
        }
    }
    if made >= enough as usize {
        for task in open {
            let error = Error::new(Code::Cancelled, format!("{enough} bids had come, which are enough"));
            ctx.enqueue(PendingWork::Finish(task, Outcome::Cancelled(error)));
        }
    }
    Ok(())
}

/// Every bidder has answered, or is awaited no longer: the bids are ordered.
fn rank_bids(
    ctx: &mut ApplyContext<'_>,
    key: ScopeKey,
    opener: StepInstanceId,
    (step_ref, auction, row): (&StepRef, &Auction, AuctionRow),
) -> Result<AuctionRow> {
    let declared = row.bids.into_iter().map(|bid| Offered { bid, reply: serde_json::Value::Null });
    let mut offered: Vec<Offered> = declared.collect();
    for (agent, index) in row.called.iter().zip(0..) {
        let step = ctx.state.known_step(StepInstanceId { run: key.run, scope: key.scope, index })?;
        offered.push(match &step.output {
            Some(output) => rank::read(ctx.state, agent, output)?,
            None => Offered { bid: rank::refused(agent, why_silent(&step, auction)), reply: serde_json::Value::Null },
        });
    }
    ctx.charge(offered.len());
    let ranked = rank::rank(ctx.state, step_ref, opener, (auction, capability_of(step_ref)), &mut offered)?;
    let bids = offered.into_iter().map(|offered| offered.bid).collect();
    let row = AuctionRow { called: row.called, bids, ranked: Some(ranked) };
    ctx.state.tables.auctions.put(key, row.clone());
    Ok(row)
}

fn why_silent(step: &Step, auction: &Auction) -> String {
    match &step.error {
        Some(error) if error.code == Code::DeadlinePassed => format!("it made no bid within {}", auction.wait),
        Some(error) => error.message.clone(),
        None => "it made no bid".to_owned(),
    }
}

/// The task goes to the next winner, or the auction ends as the last one did.
fn next_award(
    ctx: &mut ApplyContext<'_>,
    key: ScopeKey,
    opener: StepInstanceId,
    (step_ref, auction, row): (&StepRef, &Auction, &AuctionRow),
) -> Result<()> {
    let mut scope = ctx.state.scope(key)?;
    let made = scope.started - row.called.len() as u32;
    let last = match made.checked_sub(1) {
        Some(award) => {
            let task = StepInstanceId { run: key.run, scope: key.scope, index: scope.started - 1 };
            let step = ctx.state.known_step(task)?;
            if let Some(bid) = row.winner(award) {
                record::ended(ctx, &step_ref.run.namespace, capability_of(step_ref), bid, &step)?;
            }
            Some(step)
        }
        None => None,
    };
    if let Some(outcome) = last.as_ref().and_then(settled) {
        if let Outcome::Completed(output) = &outcome {
            ctx.retain(output)?;
        }
        return close::close(ctx, key, opener, outcome);
    }
    let next = row.winner(made).filter(|_| auction.max_awards.is_none_or(|max| made < max));
    let Some(bid) = next else {
        let error = last.and_then(|step| step.error);
        let error = error.map_or_else(|| not_awarded(step_ref, row), |error| all_failed(made, error));
        return close::close(ctx, key, opener, Outcome::Failed(error));
    };
    if let Err(error) = split_fatal(scope::count_instances(ctx, key.run, 1))? {
        return close::close(ctx, key, opener, Outcome::Failed(error));
    }
    record::won(ctx, &step_ref.run.namespace, &bid.agent, capability_of(step_ref))?;
    ctx.record_history(key.run, Some(opener), HistoryEvent::TaskAwarded { agent: bid.agent.clone() });
    scope::start_instance(ctx, key, scope.started);
    scope.started += 1;
    ctx.put_scope(key, scope);
    Ok(())
}

/// The end of the auction that follows from the end of an award; `None` where the next bid gets the task. What may have
/// had its effect, without anyone knowing, is not done again.
fn settled(step: &Step) -> Option<Outcome> {
    match (step.state, &step.output, &step.error) {
        (StepState::Completed, output, _) => Some(Outcome::Completed(output.clone().unwrap_or_default())),
        (StepState::Failed, _, Some(error)) if error.code == Code::OutcomeUnknown => {
            Some(Outcome::Failed(error.clone()))
        }
        (StepState::Cancelled, _, Some(error)) => Some(Outcome::Cancelled(error.clone())),
        _ => None,
    }
}

/// The failure of an auction whose winners have all failed.
fn all_failed(awards: u32, last: Error) -> Error {
    let times = if awards == 1 { "1 award".to_owned() } else { format!("{awards} awards") };
    Error { message: format!("{times} failed, the last: {}", last.message), ..last }
}

/// The failure of an auction that has no winner, with the reasons.
fn not_awarded(step_ref: &StepRef, row: &AuctionRow) -> Error {
    /// Bids that the message names.
    const NAMED_MAX: usize = 8;
    let why = |bid: &Bid| format!("`{}`: {}", bid.agent, bid.refused.as_deref().unwrap_or("it made no bid"));
    let reasons: Vec<String> = row.bids.iter().take(NAMED_MAX).map(why).collect();
    let capability = capability_of(step_ref);
    let message = format!("no bid for the task of `{capability}` counts; {}", reasons.join("; "));
    Error::new(Code::NotAwarded, message).hint("start an agent that bids, wait longer, or change `award`")
}
