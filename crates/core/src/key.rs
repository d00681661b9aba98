//! How keys turn into bytes: what every slice's keys are made of.
//!
//! For: the parts of keys, and the keys of plain ids. Not for: the keys of one concern (its folder has them), or what
//! is stored at a key.
//! Invariant: the bytes of a key sort as the key does, so a range of keys is a range of bytes.

use consort_types::{BlobHash, Position, RunId, Seq, StepInstanceId};

use crate::tables::Key;

/// Reads fixed-size parts off the front of a key.
pub(crate) struct Parts<'a>(pub(crate) &'a [u8]);

impl Parts<'_> {
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_at_checked(N)?;
        self.0 = rest;
        head.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    pub(crate) fn run(&mut self) -> Option<RunId> {
        self.take().map(RunId)
    }

    pub(crate) fn position(&mut self) -> Option<Position> {
        Some(Position { seq: Seq(self.u64()?), n: self.u32()? })
    }

    /// What [`put_text`] wrote.
    pub(crate) fn text(&mut self) -> Option<String> {
        let mut text = Vec::new();
        loop {
            text.push(match self.u8()? {
                0 => return String::from_utf8(text).ok(),
                ESCAPE => self.u8()?.checked_sub(1).filter(|byte| *byte <= ESCAPE)?,
                byte => byte,
            });
        }
    }

    pub(crate) fn end<T>(&self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }
}

/// Precedes a byte that would end a text too soon (or would be read as this one), which is raised by one.
const ESCAPE: u8 = 1;

/// Writes a text of any bytes, so that it sorts as it does alone. Stored names hold no zero bytes, but a name in a
/// request may, and must not be taken for another.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            0..=ESCAPE => out.extend([ESCAPE, byte + 1]),
            _ => out.push(byte),
        }
    }
    out.push(0);
}

/// The key of a type that is texts alone: its fields, in the order in which they are named.
macro_rules! key_of_texts {
    ($key:ident: $($text:ident),+) => {
        impl $crate::tables::Key for $key {
            fn encode(&self, out: &mut Vec<u8>) {
                $($crate::key::put_text(out, &self.$text);)+
            }

            fn decode(bytes: &[u8]) -> Option<Self> {
                let mut parts = $crate::key::Parts(bytes);
                let key = Self { $($text: parts.text()?),+ };
                parts.end(key)
            }
        }
    };
}
pub(crate) use key_of_texts;

impl Key for () {
    fn encode(&self, _: &mut Vec<u8>) {}

    fn decode(bytes: &[u8]) -> Option<Self> {
        bytes.is_empty().then_some(())
    }
}

impl Key for RunId {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.0);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let run = parts.run()?;
        parts.end(run)
    }
}

impl Key for Seq {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.0.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let seq = Self(parts.u64()?);
        parts.end(seq)
    }
}

impl Key for Position {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.seq.0.to_be_bytes());
        out.extend(self.n.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let position = parts.position()?;
        parts.end(position)
    }
}

impl Key for BlobHash {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.0);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let hash = parts.take().map(BlobHash)?;
        parts.end(hash)
    }
}

impl Key for StepInstanceId {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.run.0);
        out.extend(self.scope.to_be_bytes());
        out.extend(self.index.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let task = Self { run: parts.run()?, scope: parts.u32()?, index: parts.u32()? };
        parts.end(task)
    }
}

/// A name in a namespace, and a number: a workflow's revision, or 0 for its head.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedKey {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The revision, or 0.
    pub number: u32,
}

impl NamedKey {
    /// What a namespace has once by this name.
    pub fn of(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned(), number: 0 }
    }
}

impl Key for NamedKey {
    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.namespace);
        put_text(out, &self.name);
        out.extend(self.number.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let key = Self { namespace: parts.text()?, name: parts.text()?, number: parts.u32()? };
        parts.end(key)
    }
}
