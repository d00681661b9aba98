//! Tickets: how a timer finds what it is for.
//!
//! For: arming and disarming the timers of coordination, what they do when they fire, and the counts of namespaces.
//! Not for: the rules of what expires (see `lock` and `arrive`).
//! Invariant: each ticket has at most one armed timer; a ticket goes with what it is for.

use consort_types::{Code, Error, Result, Time, limits};

use super::{
    arrive,
    keys::TicketKey,
    lock, named,
    rows::{CoordinationCounts, Ticket},
};
use crate::{
    context::ApplyContext,
    quota::namespace::namespace_key,
    run::keys::{TimerKey, TimerKind},
};

/// Gives a new ticket.
pub(super) fn issue(ctx: &mut ApplyContext<'_>, what: Ticket) -> TicketKey {
    let ticket = TicketKey { seq: ctx.seq, n: ctx.next_ordinal() };
    ctx.state.tables.tickets.insert_new(ticket, what);
    ticket
}

pub(super) fn arm(ctx: &mut ApplyContext<'_>, ticket: TicketKey, due: Time) {
    ctx.arm(due, ticket.task(), TimerKind::Coordination, ticket.n);
}

pub(super) fn disarm(ctx: &mut ApplyContext<'_>, ticket: TicketKey, due: Time) {
    ctx.disarm_entry(Some(due), ticket.task(), TimerKind::Coordination, ticket.n);
}

/// The timer of a ticket has fired. A tick collects what is due before it fires the first: where that one has moved this
/// one, nothing is due here.
pub(crate) fn fired(ctx: &mut ApplyContext<'_>, timer: TimerKey) -> Result<()> {
    let ticket = TicketKey::of_timer(timer.task, timer.entry);
    match ctx.state.tables.tickets.get(&ticket)? {
        Some(Ticket::Claim { namespace, name, holder }) => {
            lock::claim_due(ctx, &named(&namespace, &name), &holder, timer.due)
        }
        Some(Ticket::Lock { namespace, name }) => lock::forget(ctx, &named(&namespace, &name), timer.due),
        Some(Ticket::Barrier { namespace, name }) => arrive::barrier_due(ctx, &named(&namespace, &name), timer.due),
        None => Ok(()),
    }
}

/// Refuses one lock or barrier more than a namespace may have.
pub(super) fn check_count(
    ctx: &mut ApplyContext<'_>,
    namespace: &str,
    what: &str,
    count: impl FnOnce(&CoordinationCounts) -> u64,
) -> Result<()> {
    let key = namespace_key(namespace);
    let known = count(&ctx.state.tables.coordination.get(&key)?.unwrap_or_default());
    let max = limits::LOCK_NAMES_MAX;
    if known < max {
        return Ok(());
    }
    Err(Error::new(Code::LimitReached, format!("namespace `{namespace}` has `{known}` {what}, the limit is {max}"))
        .hint("use fewer names; those that nobody uses are forgotten after a while"))
}

/// Changes what a namespace has.
pub(super) fn count(
    ctx: &mut ApplyContext<'_>,
    namespace: &str,
    change: impl FnOnce(&mut CoordinationCounts),
) -> Result<()> {
    let key = namespace_key(namespace);
    let mut counts = ctx.state.tables.coordination.get(&key)?.unwrap_or_default();
    change(&mut counts);
    if counts == CoordinationCounts::default() {
        ctx.state.tables.coordination.delete(&key);
    } else {
        ctx.state.tables.coordination.put(key, counts);
    }
    Ok(())
}
