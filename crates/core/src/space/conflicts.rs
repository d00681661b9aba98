//! Conflicts: writes that did not see the latest value.
//!
//! For: noting both values, who wrote them and what was done about it. Not for: when a write is one (see `plan`).
//! Invariant: a space keeps at most [`limits::STATE_CONFLICTS_MAX`] conflicts, and forgets none that waits for a decision;
//! a key has at most one of those.

use consort_types::{
    Code, Error, Payload, Result, Seq, limits,
    state::{MergePolicy, Position, SpaceId, Writer},
};

use crate::{
    context::ApplyContext,
    space::{
        announce, changes,
        keys::{SpaceEventKey, StateKey},
        merge::Winner,
        rows::{Candidate, ChangeKind, Conflict, Decided, Settlement, Space, StateEntry},
        spaces::Target,
    },
    state::State,
};

/// A write that has not seen the latest value.
pub(crate) struct PlannedConflict {
    pub(crate) policy: MergePolicy,
    /// The value that came; `None` where it was to be removed.
    pub(crate) incoming: Option<Payload>,
    pub(crate) saw: Seq,
    /// Whose value is kept; `None` where that is not decided by merging.
    pub(crate) winner: Option<Winner>,
}

/// Conflicts that are looked at for one that can be forgotten.
const FORGET_AMONG: usize = 32;

/// Notes a conflict.
pub(crate) fn begin(
    ctx: &mut ApplyContext<'_>,
    target: &mut Target<'_>,
    key: &str,
    old: Option<&StateEntry>,
    conflict: &PlannedConflict,
) -> Result<Position> {
    let settled = match conflict.winner {
        None => Settlement::Rejected,
        Some(Winner::Current) => Settlement::KeptCurrent,
        // That it is merged is noted with the value, once that is stored.
        Some(Winner::Incoming | Winner::Both) => Settlement::TookIncoming,
    };
    let candidates = vec![standing(old), incoming(ctx, target.by, conflict)];
    let row = Conflict { key: key.to_owned(), policy: conflict.policy, candidates, settled, time: ctx.now };
    add(ctx, target.space, row)
}

/// Adds a value beside the one that is there, and has both wait for a decision.
pub(crate) fn add_sibling(
    ctx: &mut ApplyContext<'_>,
    target: &mut Target<'_>,
    key: &str,
    mut old: StateEntry,
    conflict: &PlannedConflict,
) -> Result<Position> {
    let sibling = incoming(ctx, target.by, conflict);
    let at = if let Some(at) = old.undecided {
        let place = SpaceEventKey { space: target.space.id, at };
        let mut row = known(ctx.state, place.space, at)?;
        retain(ctx, &sibling)?;
        row.candidates.push(sibling);
        announce::conflicted(ctx, target.space, at, &row)?;
        ctx.state.tables.conflicts.put(place, row);
        at
    } else {
        let candidates = vec![standing(Some(&old)), sibling];
        let settled = Settlement::Undecided;
        target.space.undecided += 1;
        let row = Conflict { key: key.to_owned(), policy: conflict.policy, candidates, settled, time: ctx.now };
        add(ctx, target.space, row)?
    };
    changes::record(ctx, target.space, key, Some(&old.value), (ChangeKind::Undecided, target.by))?;
    old.version = ctx.seq;
    old.writes += 1;
    old.undecided = Some(at);
    ctx.state.tables.state.put(StateKey { space: target.space.id, key: key.to_owned() }, old);
    Ok(at)
}

/// Refuses one value more than may stand beside the value of a key, and one key more than may wait for a decision.
pub(crate) fn check_sibling(state: &mut State, space: &Space, key: &str, old: &StateEntry) -> Result<()> {
    let hint = "`consort state conflicts` shows what waits, and `consort state decide` decides";
    let Some(at) = old.undecided else {
        let (waiting, max) = (space.undecided, limits::STATE_CONFLICTS_MAX);
        let full = || {
            Error::new(
                Code::LimitReached,
                format!("`{waiting}` conflicts of the space wait for a decision, the limit is {max}"),
            )
        };
        return if waiting < max { Ok(()) } else { Err(full().hint(hint)) };
    };
    let (count, max) = (known(state, space.id, at)?.candidates.len(), limits::STATE_SIBLINGS_MAX);
    let full =
        || Error::new(Code::LimitReached, format!("key `{key}` has `{count}` undecided values, the limit is {max}"));
    if count < max { Ok(()) } else { Err(full().hint(hint)) }
}

fn standing(old: Option<&StateEntry>) -> Candidate {
    Candidate {
        value: old.map(|old| old.value.clone()),
        version: old.map_or(Seq::ZERO, |old| old.version),
        by: old.map(|old| old.by.clone()).unwrap_or_default(),
        time: old.map(|old| old.time).unwrap_or_default(),
    }
}

fn incoming(ctx: &ApplyContext<'_>, by: &Writer, conflict: &PlannedConflict) -> Candidate {
    Candidate { value: conflict.incoming.clone(), version: conflict.saw, by: by.clone(), time: ctx.now }
}

fn retain(ctx: &mut ApplyContext<'_>, candidate: &Candidate) -> Result<()> {
    candidate.value.as_ref().map_or(Ok(()), |value| ctx.retain(value))
}

fn add(ctx: &mut ApplyContext<'_>, space: &mut Space, row: Conflict) -> Result<Position> {
    row.candidates.iter().try_for_each(|candidate| retain(ctx, candidate))?;
    let at = ctx.next_position();
    announce::conflicted(ctx, space, at, &row)?;
    ctx.state.tables.conflicts.insert_new(SpaceEventKey { space: space.id, at }, row);
    space.conflicts += 1;
    space.conflicts_total += 1;
    if space.conflicts > limits::STATE_CONFLICTS_MAX {
        forget_oldest(ctx, space)?;
    }
    Ok(at)
}

/// Forgets the oldest conflict that is settled, where there is one among the next.
fn forget_oldest(ctx: &mut ApplyContext<'_>, space: &mut Space) -> Result<()> {
    for (key, conflict) in page(ctx.state, space.id, space.settled_from, FORGET_AMONG)? {
        space.settled_from = key.at;
        if conflict.settled != Settlement::Undecided {
            ctx.charge(1);
            space.conflicts -= 1;
            return remove(ctx, key, &conflict);
        }
    }
    Ok(())
}

/// Removes a conflict.
pub(crate) fn remove(ctx: &mut ApplyContext<'_>, key: SpaceEventKey, conflict: &Conflict) -> Result<()> {
    ctx.state.tables.conflicts.delete(&key);
    for value in conflict.candidates.iter().filter_map(|candidate| candidate.value.as_ref()) {
        ctx.release(value)?;
    }
    match &conflict.settled {
        Settlement::Merged(value) | Settlement::Decided(Decided { value: Some(value), .. }) => ctx.release(value),
        _ => Ok(()),
    }
}

/// The first conflicts behind `after`.
pub(crate) fn page(
    state: &State,
    space: SpaceId,
    after: Position,
    limit: usize,
) -> Result<Vec<(SpaceEventKey, Conflict)>> {
    let from = SpaceEventKey { space, at: after.next() };
    state.tables.conflicts.range(&from, &SpaceEventKey { space, at: Position::end_of(Seq(u64::MAX)) }, limit)
}

/// The conflict.
///
/// # Errors
/// [`Code::ConflictNotFound`] where there is none, or it is no longer kept.
pub(crate) fn known(state: &mut State, space: SpaceId, at: Position) -> Result<Conflict> {
    state.tables.conflicts.get(&SpaceEventKey { space, at })?.ok_or_else(|| {
        Error::new(Code::ConflictNotFound, format!("the space has no conflict `{at}`"))
            .hint("`consort state conflicts` shows those that are kept")
    })
}

/// Notes the value that was made of both.
pub(crate) fn merged(ctx: &mut ApplyContext<'_>, space: &Space, at: Position, value: &Payload) -> Result<()> {
    ctx.retain(value)?;
    let place = SpaceEventKey { space: space.id, at };
    let mut row = known(ctx.state, space.id, at)?;
    row.settled = Settlement::Merged(value.clone());
    ctx.state.tables.conflicts.put(place, row);
    Ok(())
}

/// Notes a decision; it may replace one before.
pub(crate) fn decided(
    ctx: &mut ApplyContext<'_>,
    space: &mut Space,
    at: Position,
    value: Option<&Payload>,
    by: &Writer,
    comment: Option<&str>,
) -> Result<()> {
    let mut row = known(ctx.state, space.id, at)?;
    if let Some(value) = value {
        ctx.retain(value)?;
    }
    match &row.settled {
        Settlement::Undecided => {
            space.undecided -= 1;
            space.settled_from = space.settled_from.min(Position { n: at.n.saturating_sub(1), ..at });
        }
        Settlement::Merged(value) | Settlement::Decided(Decided { value: Some(value), .. }) => {
            let value = value.clone();
            ctx.release(&value)?;
        }
        _ => {}
    }
    let comment = comment.map(str::to_owned);
    let decision = Decided { value: value.cloned(), by: by.clone(), comment, time: ctx.now };
    announce::decided(ctx, space, at, &row.key, &decision)?;
    row.settled = Settlement::Decided(decision);
    ctx.state.tables.conflicts.put(SpaceEventKey { space: space.id, at }, row);
    Ok(())
}
