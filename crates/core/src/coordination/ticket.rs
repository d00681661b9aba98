//! Tickets: how a timer finds what it is for.
//!
//! For: arming and disarming the timers of coordination, and the counts of namespaces. Not for: what happens when a timer
//! fires (see `due`).
//! Invariant: each ticket has at most one armed timer; a ticket goes with what it is for.

use consort_types::{Code, Error, Position, Result, Time, limits};

use super::rows::{CoordinationCounts, Ticket};
use crate::{
    context::ApplyContext,
    quota::namespace::namespace_key,
    run::keys::{TimerKind, timer_of},
};

/// Gives a new ticket.
pub(super) fn issue(ctx: &mut ApplyContext<'_>, what: Ticket) -> Position {
    let ticket = ctx.next_position();
    ctx.state.tables.tickets.insert_new(ticket, what);
    ticket
}

pub(super) fn arm(ctx: &mut ApplyContext<'_>, ticket: Position, due: Time) {
    ctx.arm(due, timer_of(ticket), TimerKind::Coordination, 0);
}

pub(super) fn disarm(ctx: &mut ApplyContext<'_>, ticket: Position, due: Time) {
    ctx.disarm(Some(due), timer_of(ticket), TimerKind::Coordination);
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
        .hint("use fewer names; those that are not used are forgotten after a while"))
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
