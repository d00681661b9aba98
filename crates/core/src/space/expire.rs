//! Values that live for some time.
//!
//! For: their timers. Not for: what a removal does to the rows of a key (see `execute`).
//! Invariant: a value that expires has one armed timer, and one row that names its key; no value expires early in log time.

use consort_types::{
    Result, RunId, StepInstanceId, Time,
    state::{Position, Writer},
};

use crate::{
    context::ApplyContext,
    run::keys::{TimerKey, TimerKind},
    space::{
        execute,
        rows::{ChangeKind, Expiring, Expiry},
        spaces,
    },
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
    Position { seq: consort_types::Seq(seq), n: timer.scope }
}

/// Moves the end of a value: from the one that it had to the one that it is to have.
pub(crate) fn move_end(
    ctx: &mut ApplyContext<'_>,
    had: Option<Expiry>,
    due: Option<Time>,
    names: impl FnOnce() -> Expiring,
) -> Option<Expiry> {
    if let Some(had) = had {
        ctx.disarm(Some(had.at), timer_of(had.id), TimerKind::StateExpiry);
    }
    let Some(at) = due else {
        if let Some(had) = had {
            ctx.state.tables.expiring.delete(&had.id);
        }
        return None;
    };
    let id = had.map_or_else(
        || {
            let id = Position { seq: ctx.seq, n: ctx.next_ordinal() };
            ctx.state.tables.expiring.insert_new(id, names());
            id
        },
        |had| had.id,
    );
    ctx.arm(at, timer_of(id), TimerKind::StateExpiry, 0);
    Some(Expiry { at, id })
}

/// The timer of a value has fired.
pub(crate) fn fire(ctx: &mut ApplyContext<'_>, timer: &TimerKey) -> Result<()> {
    let id = position_of(timer.task);
    let Some(names) = ctx.state.tables.expiring.get(&id)? else { return Ok(()) };
    let Some(mut space) = spaces::find(ctx.state, &names.namespace, &names.space)? else { return Ok(()) };
    if space.id != names.id {
        return Ok(());
    }
    let Some(entry) = spaces::entry(ctx.state, space.id, &names.key)? else { return Ok(()) };
    if entry.expires != Some(Expiry { at: timer.due, id }) {
        return Ok(());
    }
    execute::remove(ctx, &mut space, &names.key, entry, (ChangeKind::Expired, &Writer::default()))?;
    ctx.state.tables.spaces.put(spaces::space_key(&names.namespace, &names.space), space);
    Ok(())
}
