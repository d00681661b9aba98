//! The timers of the state store.
//!
//! For: arming the timer of a value that lives for some time. Not for: what it does when it
//! fires (see `expire` and `delete_space`).
//! Invariant: a value that expires has one armed timer, and one row that names its key.

use consort_types::Time;

use crate::{
    context::ApplyContext,
    run::keys::{TimerKind, timer_of},
    space::rows::{Expiring, Expiry},
};

/// Moves the end of a value: from the one that it had to the one that it is to have.
pub(crate) fn move_end(
    ctx: &mut ApplyContext<'_>,
    had: Option<Expiry>,
    due: Option<Time>,
    names: impl FnOnce() -> Expiring,
) -> Option<Expiry> {
    let Some(at) = due else {
        end(ctx, had);
        return None;
    };
    let id = if let Some(had) = had {
        ctx.disarm(Some(had.at), timer_of(had.id), TimerKind::StateExpiry);
        had.id
    } else {
        let id = ctx.next_position();
        ctx.state.tables.expiring.insert_new(id, names());
        id
    };
    ctx.arm(at, timer_of(id), TimerKind::StateExpiry, 0);
    Some(Expiry { at, id })
}

/// The value has no end any more, or is removed.
pub(crate) fn end(ctx: &mut ApplyContext<'_>, had: Option<Expiry>) {
    if let Some(had) = had {
        ctx.disarm(Some(had.at), timer_of(had.id), TimerKind::StateExpiry);
        ctx.state.tables.expiring.delete(&had.id);
    }
}
