//! The keys of the state store.
//!
//! For: keys, versions and changes of spaces. Not for: spaces by name (`NamedKey` is their key).
//! Invariant: rows of one space lie side by side, and the versions of a key lie in their order. They name the space by its
//! id, so that what is left of a deleted space never shows in a new one of the same name.

use consort_types::{
    Seq,
    state::{Position, SpaceId},
};

use crate::{
    key::{Parts, put_text},
    tables::Key,
};

/// A key of a space.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StateKey {
    /// The space.
    pub space: SpaceId,
    /// The key.
    pub key: String,
}

impl Key for StateKey {
    fn encode(&self, out: &mut Vec<u8>) {
        Key::encode(&self.space, out);
        put_text(out, &self.key);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let key = Self { space: parts.position()?, key: parts.text()? };
        parts.end(key)
    }
}

/// A change of a key; of one key, the newest comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VersionKey {
    /// The space.
    pub space: SpaceId,
    /// The key.
    pub key: String,
    /// The position of the change with every bit turned, so that newer ones sort first.
    pub turned: Position,
}

impl VersionKey {
    /// The place of a change in the history of its key.
    pub fn of(space: SpaceId, key: &str, change: Position) -> Self {
        Self { space, key: key.to_owned(), turned: turn(change) }
    }

    /// The position of the change.
    pub fn change(&self) -> Position {
        turn(self.turned)
    }
}

fn turn(position: Position) -> Position {
    Position { seq: Seq(!position.seq.0), n: !position.n }
}

impl Key for VersionKey {
    fn encode(&self, out: &mut Vec<u8>) {
        Key::encode(&self.space, out);
        put_text(out, &self.key);
        Key::encode(&self.turned, out);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let key = Self { space: parts.position()?, key: parts.text()?, turned: parts.position()? };
        parts.end(key)
    }
}

/// Something that happened in a space, in its order: a change, or a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpaceEventKey {
    /// The space.
    pub space: SpaceId,
    /// Its position.
    pub at: Position,
}

impl Key for SpaceEventKey {
    fn encode(&self, out: &mut Vec<u8>) {
        Key::encode(&self.space, out);
        Key::encode(&self.at, out);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let key = Self { space: parts.position()?, at: parts.position()? };
        parts.end(key)
    }
}
