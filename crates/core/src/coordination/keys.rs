//! The keys of coordination.
//!
//! For: holders and waiters of locks, members of barriers, changes, and tickets. Not for: locks and barriers themselves
//! (`NamedKey` is their key).
//! Invariant: holders of a lock lie side by side by token, and its waiters in the order in which they are served.

use consort_types::{Position, Seq, Token};

use crate::{
    key::{NamedKey, Parts, key_of_texts, put_text},
    tables::Key,
};

/// A holder or waiter of a lock, or a member of a barrier.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberKey {
    /// The namespace.
    pub namespace: String,
    /// The lock or barrier.
    pub name: String,
    /// The id that the holder or member has given itself.
    pub member: String,
}

impl MemberKey {
    pub(crate) fn of(key: &NamedKey, member: &str) -> Self {
        Self { namespace: key.namespace.clone(), name: key.name.clone(), member: member.to_owned() }
    }

    /// A key behind every member of the same lock or barrier: no name has a zero byte.
    pub(crate) fn last(key: &NamedKey) -> Self {
        Self { namespace: key.namespace.clone(), name: format!("{}\0", key.name), member: String::new() }
    }
}

key_of_texts!(MemberKey: namespace, name, member);

/// What has a place in a lock; part of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum PlaceKind {
    /// A holder, by its token.
    Holder = 0,
    /// A waiter, by its ticket.
    Waiter = 1,
}

/// The place of a holder or waiter in its lock.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlaceKey {
    /// The namespace.
    pub namespace: String,
    /// The lock.
    pub name: String,
    /// Whether it holds or waits.
    pub kind: PlaceKind,
    /// The token of a holder (in `seq`), or the ticket of a waiter.
    pub at: Position,
}

impl PlaceKey {
    /// The place of a holder.
    pub(crate) fn holder(lock: &NamedKey, token: Token) -> Self {
        Self::at(lock, PlaceKind::Holder, Position { seq: Seq(token.0), n: 0 })
    }

    /// The place of a waiter.
    pub(crate) fn waiter(lock: &NamedKey, ticket: Position) -> Self {
        Self::at(lock, PlaceKind::Waiter, ticket)
    }

    fn at(lock: &NamedKey, kind: PlaceKind, at: Position) -> Self {
        Self { namespace: lock.namespace.clone(), name: lock.name.clone(), kind, at }
    }

    /// A place behind every one of its kind in the same lock.
    pub(crate) fn last(lock: &NamedKey, kind: PlaceKind) -> Self {
        Self::at(lock, kind, Position::MAX)
    }
}

impl Key for PlaceKey {
    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.namespace);
        put_text(out, &self.name);
        out.push(self.kind as u8);
        Key::encode(&self.at, out);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let (namespace, name) = (parts.text()?, parts.text()?);
        let kind = match parts.u8()? {
            0 => PlaceKind::Holder,
            1 => PlaceKind::Waiter,
            _ => return None,
        };
        let at = parts.position()?;
        parts.end(Self { namespace, name, kind, at })
    }
}

/// A change of a lock.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangeKey {
    /// The namespace.
    pub namespace: String,
    /// The lock.
    pub name: String,
    /// When it happened, in the order of all changes.
    pub at: Position,
}

impl ChangeKey {
    pub(crate) fn of(lock: &NamedKey, at: Position) -> Self {
        Self { namespace: lock.namespace.clone(), name: lock.name.clone(), at }
    }

    /// A key behind every change of the lock.
    pub(crate) fn last(lock: &NamedKey) -> Self {
        Self::of(lock, Position::MAX)
    }
}

impl Key for ChangeKey {
    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.namespace);
        put_text(out, &self.name);
        Key::encode(&self.at, out);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let (namespace, name) = (parts.text()?, parts.text()?);
        let at = parts.position()?;
        parts.end(Self { namespace, name, at })
    }
}
