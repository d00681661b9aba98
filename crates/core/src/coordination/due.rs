//! What happens when a timer of coordination fires.
//!
//! For: finding what the timer is for. Not for: the rules of what expires (see `lock` and `arrive`).
//! Invariant: a timer that was moved in the meantime does nothing.

use consort_types::Result;

use super::{arrive, keys::TicketKey, lock, named, rows::Ticket};
use crate::{context::ApplyContext, run::keys::TimerKey};

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
