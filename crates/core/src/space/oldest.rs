//! The oldest changes of spaces, read ahead.
//!
//! For: a space that keeps as many changes as it may drops the oldest with each one that is added; looking for each by
//! itself would read the store with every write. Not for: which are dropped (see `changes`).
//! Invariant: what is here is in the tables too, directly behind the last change that is no longer kept; whatever else is
//! needed is read again.

use std::collections::{BTreeMap, VecDeque};

use consort_types::{
    Payload,
    state::{Position, SpaceId},
};

use crate::space::{keys::SpaceEventKey, rows::Change};

/// Changes that are read at once.
pub(crate) const READ_AHEAD: usize = 64;
/// Spaces of which changes are here.
const SPACES_MAX: usize = 16;

/// The oldest changes of spaces.
#[derive(Default)]
pub(crate) struct OldestChanges {
    /// What follows a position, by space.
    spaces: BTreeMap<SpaceId, (Position, VecDeque<(SpaceEventKey, Change)>)>,
}

impl OldestChanges {
    /// Takes the first `count` changes behind `after`, where they are here.
    pub(crate) fn take(
        &mut self,
        space: SpaceId,
        after: Position,
        count: usize,
    ) -> Option<Vec<(SpaceEventKey, Change)>> {
        let (behind, changes) = self.spaces.get_mut(&space)?;
        if *behind != after || changes.len() < count {
            return None;
        }
        let taken: Vec<_> = changes.drain(..count).collect();
        *behind = taken.last().map_or(after, |(key, _)| key.at);
        Some(taken)
    }

    /// Keeps the changes that follow `after`.
    pub(crate) fn keep(
        &mut self,
        space: SpaceId,
        after: Position,
        changes: impl Iterator<Item = (SpaceEventKey, Change)>,
    ) {
        if self.spaces.len() >= SPACES_MAX && !self.spaces.contains_key(&space) {
            self.spaces.clear();
        }
        // Of a value, only what is counted when the change goes.
        let small = |(key, change): (SpaceEventKey, Change)| {
            let value = change.value.filter(|value| matches!(value, Payload::Blob { .. }));
            (key, Change { value, ..change })
        };
        self.spaces.insert(space, (after, changes.map(small).collect()));
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.spaces.clear();
    }
}

#[cfg(test)]
mod tests {
    use consort_types::{Seq, Time, state::Writer};

    use super::*;
    use crate::space::rows::ChangeKind;

    fn at(seq: u64) -> Position {
        Position { seq: Seq(seq), n: 0 }
    }

    fn change(space: SpaceId, seq: u64) -> (SpaceEventKey, Change) {
        let (value, by) = (Some(Payload::inline(*b"1")), Writer::default());
        let change = Change { key: "k".to_owned(), value, kind: ChangeKind::Put, by, time: Time(seq) };
        (SpaceEventKey { space, at: at(seq) }, change)
    }

    #[test]
    fn changes_are_taken_in_order_and_only_from_where_they_follow() {
        let (mut oldest, space) = (OldestChanges::default(), at(1));
        oldest.keep(space, at(1), (2..6).map(|seq| change(space, seq)));
        assert!(oldest.take(space, at(2), 1).is_none() && oldest.take(at(9), at(1), 1).is_none());
        let taken = |oldest: &mut OldestChanges, after, count| {
            let found = oldest.take(space, at(after), count)?;
            Some(found.into_iter().map(|(key, _)| key.at.seq.0).collect::<Vec<_>>())
        };
        assert_eq!(taken(&mut oldest, 1, 2), Some(vec![2, 3]));
        assert_eq!(taken(&mut oldest, 1, 1), None);
        assert_eq!(taken(&mut oldest, 3, 3), None, "there are not so many");
        assert_eq!(taken(&mut oldest, 3, 2), Some(vec![4, 5]));
        (0..20).for_each(|n| oldest.keep(at(100 + n), at(1), std::iter::empty()));
        assert!(oldest.spaces.len() <= SPACES_MAX);
    }
}
