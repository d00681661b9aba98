//! The changes of a space that are kept.
//!
//! For: one row for each change of a key, from which watches resume, earlier versions are read and merges find what a
//! writer saw. Not for: the values that keys have now.
//! Invariant: all changes behind [`Space::trimmed`] are kept, in order and without gaps.

use consort_types::{
    Code, Error, Payload, Result, Seq,
    state::{Position, SpaceId, Writer},
};

use crate::{
    context::ApplyContext,
    effect::Effect,
    space::{
        announce,
        keys::{SpaceEventKey, VersionKey},
        oldest::READ_AHEAD,
        rows::{Change, ChangeKind, Space},
    },
    state::{State, rows::Marker},
};

/// Changes that are dropped with one that is added, at most: a lower setting is reached in some steps.
const TRIM_WITH_ONE: usize = 8;

/// Notes a change, and drops the oldest where more are kept than the space is to keep.
pub(crate) fn record(
    ctx: &mut ApplyContext<'_>,
    space: &mut Space,
    key: &str,
    value: Option<&Payload>,
    (kind, by): (ChangeKind, &Writer),
) -> Result<()> {
    let at = ctx.next_position();
    ctx.note_written(space.id, key);
    if let Some(value) = value {
        ctx.retain(value)?;
    }
    let change = Change { key: key.to_owned(), value: value.cloned(), kind, by: by.clone(), time: ctx.now };
    announce::changed(ctx, space, at, &change)?;
    ctx.state.tables.changes.insert_new(SpaceEventKey { space: space.id, at }, change);
    ctx.state.tables.versions.insert_new(VersionKey::of(space.id, key, at), Marker);
    space.last = at;
    space.changes += 1;
    ctx.effect(Effect::SpaceChanged { space: space.id, seq: ctx.seq });
    trim(ctx, space)
}

fn trim(ctx: &mut ApplyContext<'_>, space: &mut Space) -> Result<()> {
    let surplus = space.changes.saturating_sub(u64::from(space.settings.keep_changes));
    let count = usize::try_from(surplus).unwrap_or(usize::MAX).min(TRIM_WITH_ONE);
    if count == 0 {
        return Ok(());
    }
    for (key, change) in oldest(ctx.state, space, count)? {
        ctx.charge(1);
        remove(ctx, &key, &change)?;
        space.trimmed = key.at;
        space.changes -= 1;
    }
    Ok(())
}

/// The first changes of a space that are kept. Those that follow are read along with them: they are next.
fn oldest(state: &mut State, space: &Space, count: usize) -> Result<Vec<(SpaceEventKey, Change)>> {
    if let Some(oldest) = state.oldest_changes.take(space.id, space.trimmed, count) {
        return Ok(oldest);
    }
    let mut read = page(state, space.id, space.trimmed, count.max(READ_AHEAD))?;
    let next = read.split_off(count.min(read.len()));
    let after = read.last().map_or(space.trimmed, |(key, _)| key.at);
    state.oldest_changes.keep(space.id, after, next.into_iter());
    Ok(read)
}

/// Removes a change.
pub(crate) fn remove(ctx: &mut ApplyContext<'_>, key: &SpaceEventKey, change: &Change) -> Result<()> {
    ctx.state.tables.changes.delete(key);
    ctx.state.tables.versions.delete(&VersionKey::of(key.space, &change.key, key.at));
    change.value.as_ref().map_or(Ok(()), |value| ctx.release(value))
}

/// The first changes behind `after`.
pub(crate) fn page(
    state: &State,
    space: SpaceId,
    after: Position,
    limit: usize,
) -> Result<Vec<(SpaceEventKey, Change)>> {
    let from = SpaceEventKey { space, at: after.next() };
    state.tables.changes.range(&from, &SpaceEventKey { space, at: Position::end_of(Seq(u64::MAX)) }, limit)
}

/// Changes of a key that are kept, the newest first, from `newest` on.
pub(crate) fn of_key(
    state: &mut State,
    space: SpaceId,
    key: &str,
    newest: Position,
    limit: usize,
) -> Result<Vec<(Position, Change)>> {
    let (from, to) = (VersionKey::of(space, key, newest), VersionKey::of(space, key, Position::default()));
    let places = state.tables.versions.range(&from, &to, limit)?;
    let mut found = Vec::new();
    for (version, Marker) in places {
        let at = version.change();
        let change = state.tables.changes.get(&SpaceEventKey { space, at })?;
        found.push((at, change.ok_or_else(|| crate::state::missing("change", &at))?));
    }
    Ok(found)
}

/// The change that a key had last at the record `version`.
///
/// # Errors
/// [`Code::VersionGone`] where changes up to it are no longer kept.
pub(crate) fn at(state: &mut State, space: &Space, key: &str, version: Seq) -> Result<Option<(Position, Change)>> {
    let found = of_key(state, space.id, key, Position::end_of(version), 1)?.pop();
    if found.is_none() && version <= space.trimmed.seq {
        return Err(gone(space, key, version));
    }
    Ok(found)
}

/// The value that a key had in the version that a write saw.
///
/// # Errors
/// [`Code::VersionGone`] where that version is no longer kept, or never was one of the key.
pub(crate) fn seen(state: &mut State, space: &Space, key: &str, version: Seq) -> Result<Option<Payload>> {
    match at(state, space, key, version)? {
        Some((at, change)) if at.seq == version => Ok(change.value),
        _ => Err(gone(space, key, version)),
    }
}

fn gone(space: &Space, key: &str, version: Seq) -> Error {
    let message =
        format!("version `{version}` of key `{key}` is not kept; the space keeps changes after `{}`", space.trimmed);
    Error::new(Code::VersionGone, message).hint("read the key as it is now, and write with the version of that")
}
