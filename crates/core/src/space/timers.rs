//! The timers of the state store.
//!
//! For: arming the timer of a value that lives for some time, and what is in its key. Not for: what it does when it
//! fires (see `expire` and `delete_space`).
//! Invariant: a value that expires has one armed timer, and one row that names its key.

use consort_types::{RunId, Seq, StepInstanceId, Time, state::Position};

use crate::{
    context::ApplyContext,
    run::keys::TimerKind,
    space::rows::{Expiring, Expiry},
};

/// A position in the place where timers name a run: state belongs to none.
pub(crate) fn timer_of(at: Position) -> StepInstanceId {
    let mut run = [0; 16];
    run[8..].copy_from_slice(&at.seq.0.to_be_bytes());
    StepInstanceId { run: RunId(run), scope: at.n, index: 0 }
}

/// The position that [`timer_of`] has put there.
pub(crate) fn position_of(timer: StepInstanceId) -> Position {
    let seq = timer.run.0[8..].iter().fold(0, |seq, byte| seq << 8 | u64::from(*byte));
    Position { seq: Seq(seq), n: timer.scope }
}

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
        let id = Position { seq: ctx.seq, n: ctx.next_ordinal() };
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
