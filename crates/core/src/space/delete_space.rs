//! `DeleteSpace`: a space and everything in it is forgotten.
//!
//! For: the command, and removing the rows a bounded number in each record. Not for: single keys.
//! Invariant: the space is removed with the record; what is left of its rows is never seen again, because no other space has
//! its id, and while there are some, one timer is armed that continues.

use consort_types::{
    Name, Result,
    state::{Position, SpaceId},
};
use minicbor::{Decode, Encode};

use crate::{
    context::ApplyContext,
    key::NamedKey,
    run::keys::{TimerKey, TimerKind, position_of, timer_of},
    space::{changes, conflicts, execute, keys::StateKey, rows::Purge, spaces},
};

/// Forgets a space.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct DeleteSpace {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The space.
    #[n(1)]
    pub space: String,
}

impl DeleteSpace {
    pub(crate) fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        Name::check("space", &self.space)
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let space = spaces::known(ctx.state, &self.namespace, &self.space)?;
        ctx.state.tables.spaces.delete(&NamedKey::of(&self.namespace, &self.space));
        ctx.effect(crate::Effect::SpaceChanged { space: space.id, seq: ctx.seq });
        go_on(ctx, space.id, Purge::Entries(String::new()))
    }
}

/// The timer of a purge has fired.
pub(crate) fn fire(ctx: &mut ApplyContext<'_>, timer: &TimerKey) -> Result<()> {
    let space = position_of(timer.task);
    match ctx.state.tables.purges.get(&space)? {
        Some(purge) => go_on(ctx, space, purge),
        None => Ok(()),
    }
}

/// Removes rows as far as this record may, and leaves the rest to the next.
fn go_on(ctx: &mut ApplyContext<'_>, space: SpaceId, from: Purge) -> Result<()> {
    let mut next = Some(from);
    while let Some(purge) = next {
        if ctx.is_long() {
            ctx.state.tables.purges.put(space, purge);
            ctx.arm(ctx.now, timer_of(space), TimerKind::StatePurge, 0);
            return Ok(());
        }
        next = remove_page(ctx, space, purge)?;
    }
    ctx.state.tables.purges.delete(&space);
    Ok(())
}

/// Removes a page of rows; answers what comes next.
fn remove_page(ctx: &mut ApplyContext<'_>, space: SpaceId, purge: Purge) -> Result<Option<Purge>> {
    let limit = ctx.page();
    match purge {
        Purge::Entries(from) => {
            let to = StateKey { space: space.next(), key: String::new() };
            let rows = ctx.state.tables.state.range(&StateKey { space, key: from }, &to, limit)?;
            let mut last = None;
            let more = rows.len() == limit;
            for (key, entry) in rows {
                ctx.charge(1);
                last = Some(key.key.clone());
                execute::forget(ctx, &key, &entry)?;
            }
            Ok(Some(last.filter(|_| more).map_or(Purge::Changes(Position::default()), Purge::Entries)))
        }
        Purge::Changes(after) => {
            let rows = changes::page(ctx.state, space, after, limit)?;
            let (more, last) = (rows.len() == limit, rows.last().map(|(key, _)| key.at));
            for (key, change) in rows {
                ctx.charge(1);
                changes::remove(ctx, &key, &change)?;
            }
            Ok(Some(last.filter(|_| more).map_or(Purge::Conflicts(Position::default()), Purge::Changes)))
        }
        Purge::Conflicts(after) => {
            let rows = conflicts::page(ctx.state, space, after, limit)?;
            let (more, last) = (rows.len() == limit, rows.last().map(|(key, _)| key.at));
            for (key, conflict) in rows {
                ctx.charge(1);
                conflicts::remove(ctx, key, &conflict)?;
            }
            Ok(last.filter(|_| more).map(Purge::Conflicts))
        }
    }
}
