//! What readers see of the state store.
//!
//! For: keys, their history, changes, conflicts and spaces, by bounded pages. Not for: changing anything.
//! Invariant: a page reads no more rows than it shows, but those of other prefixes in a list of changes, of which it reads
//! a bounded number.

use consort_types::{
    Code, Error, Payload, Result, Seq, Time,
    state::{Position, Writer},
};

use crate::{
    Machine,
    key::NamedKey,
    page::{Page, bad_cursor, bounded},
    registry::agents::PAST,
    space::{
        changes, conflicts,
        keys::{SpaceEventKey, StateKey},
        rows::{Candidate, Change, ChangeKind, Conflict, Space, StateEntry},
        spaces,
    },
    state::State,
};

/// The value of a key, as it is or was.
#[derive(Clone, Debug, PartialEq)]
pub struct StateView {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Payload,
    /// The record that wrote it.
    pub version: Seq,
    /// The record that gave the key a value after it had none, and writes since then; not known of earlier versions.
    pub created: Option<(Seq, u64)>,
    /// Who wrote it.
    pub by: Writer,
    /// When, in log time.
    pub time: Time,
    /// When it expires.
    pub expires: Option<Time>,
    /// The conflict that waits for a decision.
    pub undecided: Option<Position>,
    /// The values beside it until then.
    pub siblings: Vec<Candidate>,
}

impl StateView {
    fn of(key: String, entry: StateEntry) -> Self {
        Self {
            key,
            value: entry.value,
            version: entry.version,
            created: Some((entry.created, entry.writes)),
            by: entry.by,
            time: entry.time,
            expires: entry.expires.map(|expiry| expiry.at),
            undecided: entry.undecided,
            siblings: Vec::new(),
        }
    }
}

/// A change of a key.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangeView {
    /// Its position.
    pub at: Position,
    /// The change.
    pub change: Change,
}

/// A page of changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    /// The changes, in order.
    pub items: Vec<ChangeView>,
    /// The last position that was looked at: the next page begins behind it.
    pub seen: Position,
    /// Whether the page ends before the changes do.
    pub more: bool,
}

/// A space by its name.
#[derive(Clone, Debug, PartialEq)]
pub struct SpaceView {
    /// Its name.
    pub name: String,
    /// What is known of it.
    pub space: Space,
}

/// A conflict.
#[derive(Clone, Debug, PartialEq)]
pub struct ConflictView {
    /// Its id.
    pub id: Position,
    /// What is known of it.
    pub conflict: Conflict,
}

fn no_key(space: &str, key: &str) -> Error {
    Error::new(Code::KeyNotFound, format!("space `{space}` has no key `{key}`"))
        .hint("`consort state list` shows the keys; a value may have been deleted or have expired")
}

/// The state store, for reading.
pub struct SharedState<'a> {
    state: &'a mut State,
}

impl<'a> SharedState<'a> {
    /// That of a machine.
    pub fn of(machine: &'a mut Machine) -> Self {
        Self { state: &mut machine.state }
    }

    /// The value of a key: the latest, or that of the record `version`.
    ///
    /// # Errors
    /// [`Code::SpaceNotFound`], [`Code::KeyNotFound`], and [`Code::VersionGone`] where changes up to `version` are no longer
    /// kept.
    pub fn get(&mut self, namespace: &str, space: &str, key: &str, version: Option<Seq>) -> Result<StateView> {
        let row = spaces::known(self.state, namespace, space)?;
        let entry = spaces::entry(self.state, row.id, key)?;
        if let Some(entry) = entry.filter(|entry| version.is_none_or(|version| entry.version <= version)) {
            let mut view = StateView::of(key.to_owned(), entry);
            if let Some(at) = view.undecided {
                view.siblings = conflicts::known(self.state, row.id, at)?.candidates.split_off(1);
            }
            return Ok(view);
        }
        let version = version.ok_or_else(|| no_key(space, key))?;
        let found = changes::at(self.state, &row, key, version)?;
        let of_change = |(at, change): (Position, Change)| {
            let Change { key, value, by, time, .. } = change;
            let (created, expires, undecided) = (None, None, None);
            Some(StateView {
                key,
                value: value?,
                version: at.seq,
                created,
                by,
                time,
                expires,
                undecided,
                siblings: Vec::new(),
            })
        };
        found.and_then(of_change).ok_or_else(|| no_key(space, key))
    }

    /// Keys of a space that begin with `prefix`, in the order of their bytes. The cursor is the first key of the page.
    pub fn list(
        &mut self,
        namespace: &str,
        space: &str,
        prefix: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<StateView>> {
        let id = spaces::known(self.state, namespace, space)?.id;
        let limit = bounded(limit);
        let from = StateKey { space: id, key: cursor.unwrap_or(prefix).max(prefix).to_owned() };
        let mut rows =
            self.state.tables.state.range(&from, &StateKey { space: id.next(), key: String::new() }, limit + 1)?;
        rows.retain(|(key, _)| key.key.starts_with(prefix));
        let next = if rows.len() > limit { rows.pop().map(|(key, _)| key.key) } else { None };
        Ok(Page { items: rows.into_iter().map(|(key, entry)| StateView::of(key.key, entry)).collect(), next })
    }

    /// The changes of a key that are kept, the newest first. The cursor is the position of the first one on the page.
    pub fn history(
        &mut self,
        namespace: &str,
        space: &str,
        key: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<ChangeView>> {
        let id = spaces::known(self.state, namespace, space)?.id;
        let newest = match cursor {
            Some(cursor) => cursor.parse().map_err(|_| bad_cursor(cursor))?,
            None => Position::end_of(Seq(u64::MAX)),
        };
        let limit = bounded(limit);
        let mut found = changes::of_key(self.state, id, key, newest, limit + 1)?;
        let next = if found.len() > limit { found.pop().map(|(at, _)| at.to_string()) } else { None };
        Ok(Page { items: found.into_iter().map(|(at, change)| ChangeView { at, change }).collect(), next })
    }

    /// Changes of keys that begin with `prefix`, behind `after`, in order; without `after`, behind the last change.
    ///
    /// # Errors
    /// [`Code::SpaceNotFound`], and [`Code::VersionGone`] where changes behind `after` are no longer kept.
    pub fn changes(
        &mut self,
        namespace: &str,
        space: &str,
        prefix: &str,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Changed> {
        let row = spaces::known(self.state, namespace, space)?;
        let Some(after) = after else {
            return Ok(Changed { items: Vec::new(), seen: row.last, more: false });
        };
        // What was made before the space has seen none of it.
        if after < row.trimmed && row.trimmed > row.id {
            let message =
                format!("changes after `{after}` are asked for; the space keeps those after `{}`", row.trimmed);
            return Err(Error::new(Code::VersionGone, message)
                .hint("list the keys, and watch from the version that the list names; a space can keep more changes"));
        }
        let page = changes::page(self.state, row.id, after, bounded(limit))?;
        let more = page.len() == bounded(limit);
        let seen = page.last().map_or(after, |(key, _)| key.at);
        let wanted = page.into_iter().filter(|(_, change)| change.key.starts_with(prefix));
        let items = wanted.map(|(SpaceEventKey { at, .. }, change)| ChangeView { at, change }).collect();
        Ok(Changed { items, seen, more })
    }

    /// Spaces of a namespace, by name. The cursor is the first name of the page.
    pub fn spaces(&mut self, namespace: &str, cursor: Option<&str>, limit: usize) -> Result<Page<SpaceView>> {
        let (from, to, limit) =
            (NamedKey::of(namespace, cursor.unwrap_or("")), NamedKey::of(namespace, PAST), bounded(limit));
        let mut rows = self.state.tables.spaces.range(&from, &to, limit + 1)?;
        let next = if rows.len() > limit { rows.pop().map(|(key, _)| key.name) } else { None };
        let view = |(key, space): (NamedKey, Space)| SpaceView { name: key.name, space };
        Ok(Page { items: rows.into_iter().map(view).collect(), next })
    }

    /// A space.
    ///
    /// # Errors
    /// [`Code::SpaceNotFound`].
    pub fn space(&mut self, namespace: &str, name: &str) -> Result<SpaceView> {
        let space = spaces::known(self.state, namespace, name)?;
        Ok(SpaceView { name: name.to_owned(), space })
    }

    /// Conflicts of a space, the oldest first; with `undecided`, those that wait for a decision. The cursor is the last
    /// position that was looked at.
    pub fn conflicts(
        &mut self,
        namespace: &str,
        space: &str,
        undecided: bool,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<ConflictView>> {
        let id = spaces::known(self.state, namespace, space)?.id;
        let after = match cursor {
            Some(cursor) => cursor.parse().map_err(|_| bad_cursor(cursor))?,
            None => Position::default(),
        };
        let limit = bounded(limit);
        let rows = conflicts::page(self.state, id, after, limit)?;
        let next = rows.last().filter(|_| rows.len() == limit).map(|(key, _)| key.at.to_string());
        let wanted =
            rows.into_iter().filter(|(_, row)| !undecided || row.settled == crate::rows::Settlement::Undecided);
        let items = wanted.map(|(key, conflict)| ConflictView { id: key.at, conflict }).collect();
        Ok(Page { items, next })
    }

    /// A conflict.
    ///
    /// # Errors
    /// [`Code::SpaceNotFound`], [`Code::ConflictNotFound`].
    pub fn conflict(&mut self, namespace: &str, space: &str, id: Position) -> Result<ConflictView> {
        let row = spaces::known(self.state, namespace, space)?;
        Ok(ConflictView { id, conflict: conflicts::known(self.state, row.id, id)? })
    }
}

impl ChangeKind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Merged => "merged",
            Self::Deleted => "deleted",
            Self::Expired => "expired",
            Self::Decided => "decided",
            Self::Undecided => "undecided",
        }
    }
}
