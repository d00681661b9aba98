//! The lines of a replica's file: what is new in each.
//!
//! For: rows, their parts, and what is known of the replica, as `docs/replicas.md` describes them for every SDK. Not for:
//! what follows from them (see `state`).
//! Invariant: a part is replaced and never changed; a value that is there may be `null`.

use std::collections::BTreeMap;

use consort_types::Code;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// What a line says of something: nothing, that it is removed, or what it is now.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Patch<T> {
    #[default]
    Same,
    Gone,
    Is(T),
}

impl<T> Patch<T> {
    fn is_same(&self) -> bool {
        matches!(self, Self::Same)
    }

    /// What it is now, where the line says so.
    pub(crate) fn get(&self) -> Option<&T> {
        if let Self::Is(new) = self { Some(new) } else { None }
    }

    fn of(new: Option<T>) -> Self {
        new.map_or(Self::Gone, Self::Is)
    }

    fn fold(self, into: &mut Option<T>) {
        match self {
            Self::Same => {}
            Self::Gone => *into = None,
            Self::Is(new) => *into = Some(new),
        }
    }
}

impl<T: Serialize> Serialize for Patch<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.get().serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(Self::of)
    }
}

/// A value that is there, also where it is `null`.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// A part of a row: a value (absent where there is none), and a version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Of the server's value: its version. Of a write: the version that it saw; none where it is on top of what is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<u64>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<Value>,
    /// Of a write: the value that it saw, where the server has another one now.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub(crate) saw: Option<Value>,
    /// Of a write: whether the server is told what was seen.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) base: bool,
    /// Of the server's value: the conflict that waits for a decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) conflict: Option<String>,
    /// The values that are kept beside it until then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) siblings: Vec<Value>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Part {
    /// A write of a value, or a removal.
    pub(crate) fn of(value: Option<Value>) -> Self {
        Self { value, ..Self::default() }
    }

    /// The version; 0 where there is none.
    pub(crate) fn version(&self) -> u64 {
        self.version.unwrap_or(0)
    }
}

/// Why the server refused the pending write of a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) message: String,
}

/// What is known of a key.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Row {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<Part>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sent: Option<Part>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pending: Option<Part>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) conflict: Option<Refusal>,
}

/// What is new in a row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RowPatch {
    #[serde(default, skip_serializing_if = "Patch::is_same")]
    pub(crate) server: Patch<Part>,
    #[serde(default, skip_serializing_if = "Patch::is_same")]
    pub(crate) sent: Patch<Part>,
    #[serde(default, skip_serializing_if = "Patch::is_same")]
    pub(crate) pending: Patch<Part>,
    #[serde(default, skip_serializing_if = "Patch::is_same")]
    pub(crate) conflict: Patch<Refusal>,
}

impl Row {
    /// The version of the server's value; 0 where it has none.
    pub(crate) fn version(&self) -> u64 {
        self.server.as_ref().map_or(0, Part::version)
    }

    /// Whether nothing is known.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What a reader sees.
    pub(crate) fn visible(&self) -> Option<&Value> {
        let part = self.pending.as_ref().or(self.sent.as_ref()).or(self.server.as_ref());
        part.and_then(|part| part.value.as_ref())
    }

    /// The value that a write saw; none where it saw none.
    pub(crate) fn saw(&self, write: &Part) -> Option<Value> {
        let current = || self.server.as_ref().filter(|server| server.version == write.version);
        write.saw.clone().or_else(|| current()?.value.clone())
    }

    /// Gives the row what the server has now. Writes keep what they saw.
    pub(crate) fn replace(&mut self, server: Option<Part>) {
        let version = server.as_ref().and_then(|server| server.version);
        let keep = |row: &Self, write: Option<Part>| {
            let write = write?;
            let moves = write.version.is_some() && write.version != version;
            let saw = if moves { row.saw(&write) } else { write.saw.clone() };
            Some(Part { saw, ..write })
        };
        let (pending, sent) = (self.pending.take(), self.sent.take());
        self.pending = keep(self, pending);
        self.sent = keep(self, sent);
        self.server = server;
    }

    /// A removal of what the server never had is no write.
    pub(crate) fn forget_nothing(&mut self) {
        let nothing = self.pending.as_ref().is_some_and(|write| write.version == Some(0) && write.value.is_none());
        if nothing && self.sent.is_none() {
            self.pending = None;
            self.conflict = None;
        }
    }

    /// What has changed since `old`; none where nothing has.
    pub(crate) fn since(self, old: &Self) -> Option<RowPatch> {
        fn changed<T: PartialEq>(new: Option<T>, old: Option<&T>) -> Patch<T> {
            if new.as_ref() == old { Patch::Same } else { Patch::of(new) }
        }
        let patch = RowPatch {
            server: changed(self.server, old.server.as_ref()),
            sent: changed(self.sent, old.sent.as_ref()),
            pending: changed(self.pending, old.pending.as_ref()),
            conflict: changed(self.conflict, old.conflict.as_ref()),
        };
        (patch != RowPatch::default()).then_some(patch)
    }

    /// Does what a line says.
    pub(crate) fn fold(&mut self, patch: RowPatch) {
        patch.server.fold(&mut self.server);
        patch.sent.fold(&mut self.sent);
        patch.pending.fold(&mut self.pending);
        patch.conflict.fold(&mut self.conflict);
    }
}

/// All changes of the space up to a position are here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct At {
    pub(crate) position: String,
    /// When the space was made: one that was made again is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) made: Option<String>,
}

/// What the server remembers of a push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    pub(crate) push: u64,
    pub(crate) id: String,
}

/// The push that is on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Push {
    pub(crate) number: u64,
    /// No other push has it.
    pub(crate) id: String,
    pub(crate) keys: Vec<String>,
    /// What the server remembers, before the first push that was done.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub(crate) expect: Option<Value>,
    /// The record in which it was done, where its answer was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) done: Option<u64>,
}

/// What is known of the replica; in a line, what is new.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Meta {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) format: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) space: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prefix: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<At>,
    /// The number of the last push that was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) number: Option<u64>,
    /// The last push that was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) done: Option<Cursor>,
    #[serde(default, skip_serializing_if = "Patch::is_same")]
    pub(crate) push: Patch<Push>,
}

impl Meta {
    /// Does what a line says.
    pub(crate) fn fold(&mut self, new: Self) {
        let Self { format, space, name, prefix, at, number, done, push } = new;
        self.format = format.or(self.format);
        self.space = space.or_else(|| self.space.take());
        self.name = name.or_else(|| self.name.take());
        self.prefix = prefix.or_else(|| self.prefix.take());
        self.at = at.or_else(|| self.at.take());
        self.number = number.or(self.number);
        self.done = done.or_else(|| self.done.take());
        match push {
            Patch::Same => {}
            Patch::Gone => self.push = Patch::Same,
            Patch::Is(push) => self.push = Patch::Is(push),
        }
    }
}

/// A line: all that it says is done, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) meta: Option<Meta>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) rows: BTreeMap<String, RowPatch>,
}
