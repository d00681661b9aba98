//! What happens when a timer of coordination fires.
//!
//! For: finding what the timer is for. Not for: the rules of what expires (see `lock` and `arrive`).
//! Invariant: a timer that was moved in the meantime does nothing.

use consort_types::Result;

use super::{arrive, lock, rows::Ticket};
use crate::{
    context::ApplyContext,
    key::NamedKey,
    run::keys::{TimerKey, position_of},
};

/// The timer of a ticket has fired. A tick collects what is due before it fires the first: where that one has moved this
/// one, nothing is due here.
pub(crate) fn fired(ctx: &mut ApplyContext<'_>, timer: TimerKey) -> Result<()> {
    let ticket = position_of(timer.task);
    match ctx.state.tables.tickets.get(&ticket)? {
        Some(Ticket::Claim { namespace, name, holder }) => {
            lock::claim_due(ctx, &NamedKey::of(&namespace, &name), &holder, timer.due)
        }
        Some(Ticket::Lock { namespace, name }) => lock::forget(ctx, &NamedKey::of(&namespace, &name), timer.due),
        Some(Ticket::Barrier { namespace, name }) => {
            arrive::barrier_due(ctx, &NamedKey::of(&namespace, &name), timer.due)
        }
        None => Ok(()),
    }
}
