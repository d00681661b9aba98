//! Values that live for some time.
//!
//! For: what their timers do. Not for: arming them (see `timers`), or what a removal does to the rows of a key (see
//! `execute`).
//! Invariant: no value expires early in log time; a timer whose value has another end by now does nothing.

use consort_types::{Result, state::Writer};

use crate::{
    context::ApplyContext,
    key::NamedKey,
    run::keys::{TimerKey, position_of},
    space::{
        execute,
        rows::{ChangeKind, Expiry},
        spaces,
    },
};

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
    execute::remove(ctx, &mut space, &names.key, &entry, (ChangeKind::Expired, &Writer::default()))?;
    ctx.state.tables.spaces.put(NamedKey::of(&names.namespace, &names.space), space);
    Ok(())
}
