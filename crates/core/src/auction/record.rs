//! What is remembered of the agents that auctions awarded tasks to.
//!
//! For: holding the next bid against how the last ones ended. Not for: what is observed of all tasks (the dispatcher counts
//! that, and forgets it).
//! Invariant: it counts what the log has recorded, and goes with the agent; an award counts once as done or failed.

use consort_types::{Result, Span};

use crate::{
    auction::{
        keys::AwardKey,
        rows::{AwardRecord, Bid},
    },
    context::ApplyContext,
    registry::agents,
    run::rows::step::{Step, StepState},
    state::State,
};

/// What is remembered of an agent at a capability.
pub(crate) fn of(state: &State, namespace: &str, agent: &str, capability: &str) -> Result<AwardRecord> {
    Ok(state.tables.awards.read_uncached(&AwardKey::of(namespace, agent, capability))?.unwrap_or_default())
}

/// A task is awarded to an agent.
pub(crate) fn won(ctx: &mut ApplyContext<'_>, namespace: &str, agent: &str, capability: &str) -> Result<()> {
    change(ctx, namespace, agent, capability, |record| record.won += 1)
}

/// The step instance that was awarded by a bid has ended.
pub(crate) fn ended(
    ctx: &mut ApplyContext<'_>,
    namespace: &str,
    capability: &str,
    bid: &Bid,
    step: &Step,
) -> Result<()> {
    let took = step.taken.or(step.began).zip(step.ended).map(|(from, to)| seconds(to.since(from))).unwrap_or_default();
    change(ctx, namespace, &bid.agent, capability, |record| match step.state {
        StepState::Completed => {
            record.done += 1;
            if bid.seconds > 0.0 {
                record.promised += bid.seconds;
                record.taken += took;
            }
        }
        StepState::Failed => record.failed += 1,
        _ => {}
    })
}

/// An agent is removed: what is remembered of it goes too.
pub(crate) fn forget(ctx: &mut ApplyContext<'_>, namespace: &str, agent: &str) -> Result<()> {
    loop {
        let (from, to) = (AwardKey::of(namespace, agent, ""), AwardKey::last(namespace, agent));
        let limit = ctx.page();
        let rows = ctx.state.tables.awards.range(&from, &to, limit)?;
        for (key, _) in &rows {
            ctx.charge(1);
            ctx.state.tables.awards.delete(key);
        }
        if rows.len() < limit {
            return Ok(());
        }
    }
}

fn seconds(span: Span) -> f64 {
    const MICROSECONDS: f64 = 1_000_000.0;
    span.0 as f64 / MICROSECONDS
}

/// Nothing is remembered of an agent that is not known any more.
fn change(
    ctx: &mut ApplyContext<'_>,
    namespace: &str,
    agent: &str,
    capability: &str,
    by: impl FnOnce(&mut AwardRecord),
) -> Result<()> {
    if agents::version_count(ctx.state, namespace, agent)? == 0 {
        return Ok(());
    }
    let mut record = of(ctx.state, namespace, agent, capability)?;
    by(&mut record);
    ctx.state.tables.awards.put(AwardKey::of(namespace, agent, capability), record);
    Ok(())
}
