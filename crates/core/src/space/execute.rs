//! The changes of rows that a planned operation makes.
//!
//! For: values, their timers, the changes that are kept, and what is referred to. Not for: deciding what is done (see
//! `plan`).
//! Invariant: a value and each kept change of it retain its document once each.

use consort_types::{
    Payload, Result,
    state::{Position, WriteOutcome, Writer},
};

use crate::{
    context::ApplyContext,
    space::{
        changes, conflicts,
        keys::StateKey,
        plan::{Change, NewValue, Parts, Planned},
        rows::{ChangeKind, Expiring, Space, StateEntry},
        spaces::Target,
        timers::{end, move_end},
    },
};

/// A value that a key gets.
pub(crate) struct NewEntry {
    /// The value, which is retained already.
    pub(crate) value: Payload,
    pub(crate) parts: Parts,
    pub(crate) stamp: consort_types::state::Stamp,
    pub(crate) expires: Option<consort_types::Time>,
    pub(crate) kind: ChangeKind,
}

/// Does what was planned; answers the conflict that it was, and the value that is there where that is not the one that was
/// written.
pub(crate) fn execute(
    ctx: &mut ApplyContext<'_>,
    target: &mut Target<'_>,
    planned: Planned,
) -> Result<(Option<Position>, Option<Payload>)> {
    let Planned { key, old, change, outcome, conflict, .. } = planned;
    let kept = old.as_ref().map(|old| old.value.clone());
    let recorded = match (&conflict, &change) {
        (Some(conflict), Change::None | Change::Put { .. } | Change::Delete) => {
            Some(conflicts::begin(ctx, target, &key, old.as_ref(), conflict)?)
        }
        _ => None,
    };
    match change {
        Change::None => Ok((recorded, kept.filter(|_| outcome == WriteOutcome::Superseded))),
        Change::Delete => {
            if let Some(old) = old {
                settle(ctx, target, &old, None)?;
                remove(ctx, target.space, &key, &old, (ChangeKind::Deleted, target.by))?;
            }
            Ok((recorded, None))
        }
        Change::AddSibling => {
            let (Some(old), Some(conflict)) = (old, conflict) else { return Ok((None, None)) };
            let at = conflicts::add_sibling(ctx, target, &key, old, &conflict)?;
            Ok((Some(at), kept))
        }
        Change::Put { value, parts, stamp, expires } => {
            let value = match value {
                NewValue::Given(value) => {
                    ctx.retain(&value)?;
                    value
                }
                NewValue::Made(bytes) => ctx.store_payload("value", bytes)?,
            };
            if let Some(old) = &old {
                settle(ctx, target, old, Some(&value))?;
            }
            let merged = outcome == WriteOutcome::Merged;
            let kind = if merged { ChangeKind::Merged } else { ChangeKind::Put };
            if let (Some(at), true) = (recorded, merged) {
                conflicts::merged(ctx, target.space, at, &value)?;
            }
            put(ctx, target, &key, old, NewEntry { value: value.clone(), parts, stamp, expires, kind })?;
            Ok((recorded, merged.then_some(value)))
        }
    }
}

/// A write that saw every sibling, or removes all of them, decides.
fn settle(
    ctx: &mut ApplyContext<'_>,
    target: &mut Target<'_>,
    old: &StateEntry,
    value: Option<&Payload>,
) -> Result<()> {
    match old.undecided {
        Some(at) => conflicts::decided(ctx, target.space, at, value, target.by, None),
        None => Ok(()),
    }
}

/// Gives a key a value.
pub(crate) fn put(
    ctx: &mut ApplyContext<'_>,
    target: &mut Target<'_>,
    key: &str,
    old: Option<StateEntry>,
    new: NewEntry,
) -> Result<()> {
    let names = || Expiring {
        namespace: target.namespace.to_owned(),
        space: target.name.to_owned(),
        id: target.space.id,
        key: key.to_owned(),
    };
    let expires = move_end(ctx, old.as_ref().and_then(|old| old.expires), new.expires, names);
    let (marks, sequence) = match new.parts {
        Parts::None => (None, None),
        Parts::Marks(marks) => (Some(marks), None),
        Parts::Sequence(sequence) => (None, Some(sequence)),
    };
    let entry = StateEntry {
        value: new.value,
        version: ctx.seq,
        created: old.as_ref().map_or(ctx.seq, |old| old.created),
        writes: old.as_ref().map_or(0, |old| old.writes) + 1,
        by: target.by.clone(),
        time: ctx.now,
        stamp: old.as_ref().map_or(new.stamp, |old| old.stamp.max(new.stamp)),
        expires,
        marks,
        undecided: None,
        sequence,
    };
    changes::record(ctx, target.space, key, Some(&entry.value), (new.kind, target.by))?;
    if let Some(old) = old {
        ctx.release(&old.value)?;
    }
    ctx.state.tables.state.put(StateKey { space: target.space.id, key: key.to_owned() }, entry);
    Ok(())
}

/// Removes the value of a key. The caller has counted it where it was planned; what expires is counted here.
pub(crate) fn remove(
    ctx: &mut ApplyContext<'_>,
    space: &mut Space,
    key: &str,
    old: &StateEntry,
    why: (ChangeKind, &Writer),
) -> Result<()> {
    if why.0 == ChangeKind::Expired {
        space.keys -= 1;
        space.bytes -= key.len() as u64 + old.value.len();
        if let Some(at) = old.undecided {
            conflicts::decided(ctx, space, at, None, why.1, None)?;
        }
    }
    forget(ctx, &StateKey { space: space.id, key: key.to_owned() }, old)?;
    changes::record(ctx, space, key, None, why)
}

/// Removes the row of a key, with its timer and what it refers to.
pub(crate) fn forget(ctx: &mut ApplyContext<'_>, key: &StateKey, old: &StateEntry) -> Result<()> {
    end(ctx, old.expires);
    ctx.release(&old.value)?;
    ctx.state.tables.state.delete(key);
    Ok(())
}
