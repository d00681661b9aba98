//! The policies `text` and `list`: a write is woven into what others have written.
//!
//! For: the elements of a value, what a writer saw of them, and the value that comes of a write. Not for: their order (see
//! `sequence`), or finding edits (see `difference`).
//! Invariant: a write changes what its writer changed of the version that it names, and nothing else; one that names none
//! has seen nothing, so all of it is added and nothing is removed.

use std::ops::Range;

use consort_types::{
    BlobHash, Code, Error, Result, Seq, limits,
    state::{MergePolicy, Stamp},
};
use serde_json::Value;

use crate::{
    encode::encode,
    space::{
        difference::{self, Difference, Edit},
        merge::{Winner, misfit},
        rows::{InsertionOrder, Sequence, StateEntry},
        sequence::{Edits, Source},
    },
};

/// Bytes of an insertion by which it is ordered as it is; a longer one is ordered by its beginning and its hash.
const ORDER_BYTES_MAX: usize = 27;
/// The versions of a history of two writers that saw one value: that value, the one that is there, the one that comes.
const APART: (Seq, Seq, Seq) = (Seq(1), Seq(2), Seq(3));
/// Bytes of the beginning, and of the hash, of a longer one.
const ORDER_PARTS: (usize, usize) = (12, 16);

/// The value that a key has.
#[derive(Clone, Copy)]
pub(crate) struct Present<'a> {
    pub(crate) value: &'a Value,
    pub(crate) entry: &'a StateEntry,
}

/// The value that is written.
#[derive(Clone, Copy)]
pub(crate) struct Written<'a> {
    pub(crate) value: &'a Value,
    /// The version that the writer saw, where it names one.
    pub(crate) saw: Option<Seq>,
    /// The value at that version, where there was one.
    pub(crate) base: Option<&'a Value>,
    /// The stamp that the writer gave.
    pub(crate) stamp: Option<Stamp>,
    /// The record that writes it.
    pub(crate) seq: Seq,
}

/// What a key has after a write.
#[derive(Debug)]
pub(crate) struct Woven {
    /// The bytes of the value.
    pub(crate) value: Vec<u8>,
    pub(crate) sequence: Sequence,
    pub(crate) winner: Winner,
    /// What it has cost, in steps of comparing.
    pub(crate) steps: u64,
}

/// How a value is a sequence of elements.
trait Elements: Sized {
    fn read(value: &Value) -> Result<Vec<Self>>;
    fn compare(old: &[Self], new: &[Self]) -> Difference;
    fn bytes(elements: &[Self]) -> Vec<u8>;
    fn encode(elements: &[Self]) -> Vec<u8>;
}

impl Elements for char {
    fn read(value: &Value) -> Result<Vec<Self>> {
        let text = value.as_str().ok_or_else(|| misfit(MergePolicy::Text, "texts"))?;
        Ok(text.chars().collect())
    }

    fn compare(old: &[Self], new: &[Self]) -> Difference {
        difference::of_text(old, new)
    }

    fn bytes(elements: &[Self]) -> Vec<u8> {
        elements.iter().collect::<String>().into_bytes()
    }

    fn encode(elements: &[Self]) -> Vec<u8> {
        encode(&elements.iter().collect::<String>())
    }
}

/// An element of a list is what its bytes say.
impl Elements for Vec<u8> {
    fn read(value: &Value) -> Result<Vec<Self>> {
        let list = value.as_array().ok_or_else(|| misfit(MergePolicy::List, "lists"))?;
        Ok(list.iter().map(encode).collect())
    }

    fn compare(old: &[Self], new: &[Self]) -> Difference {
        difference::of_list(old, new)
    }

    fn bytes(elements: &[Self]) -> Vec<u8> {
        elements.join(&b","[..])
    }

    fn encode(elements: &[Self]) -> Vec<u8> {
        [b"[", &Self::bytes(elements)[..], b"]"].concat()
    }
}

/// Weaves a write into what is there.
///
/// # Errors
/// [`Code::NotMergeable`] where a value does not fit the policy, [`Code::PayloadTooLarge`] where what comes of it could not
/// be merged with a later write.
pub(crate) fn weave(policy: MergePolicy, present: Option<Present<'_>>, written: Written<'_>) -> Result<Woven> {
    if policy == MergePolicy::Text { of::<char>(present, written) } else { of::<Vec<u8>>(present, written) }
}

/// Weaves a write in that saw a version of which nothing is known but its value, the base: what it and others have made of
/// that are woven with each other, and what comes of it is written as by one that saw the latest. Where there is no value
/// any more, the whole of it is written, as others would be fragments.
///
/// # Errors
/// As [`weave`].
pub(crate) fn weave_apart(policy: MergePolicy, present: Option<Present<'_>>, written: Written<'_>) -> Result<Woven> {
    let Some(present) = present else {
        return weave(policy, None, Written { saw: Some(Seq::ZERO), base: None, ..written });
    };
    if policy == MergePolicy::Text { apart::<char>(present, written) } else { apart::<Vec<u8>>(present, written) }
}

fn apart<T: Elements + Clone + PartialEq>(present: Present<'_>, written: Written<'_>) -> Result<Woven> {
    let base = written.base.map_or(Ok(Vec::new()), T::read)?;
    let (current, new) = (T::read(present.value)?, T::read(written.value)?);
    let mut sequence = Sequence::settled(APART.0, base.len());
    let (theirs, ours) = (T::compare(&base, &current), T::compare(&base, &new));
    let mut write = |seq, Difference { edits, .. }: &Difference, elements: &[T]| {
        let order = |range: Range<usize>| order(None, &T::bytes(&elements[range]));
        sequence.weave(&Edits { saw: APART.0, seq, all: edits }, order)
    };
    write(APART.1, &theirs, &current);
    let sources = write(APART.2, &ours, &new);
    let both: Vec<T> = sources.iter().flat_map(|source| shown(source, &current, &new)).cloned().collect();
    let latest = Written { saw: Some(present.entry.version), ..written };
    let mut woven = woven(Some(present), latest, &both, &current)?;
    woven.winner = if both == new { Winner::Incoming } else { Winner::Both };
    woven.steps += theirs.steps + ours.steps;
    Ok(woven)
}

fn of<T: Elements + Clone + PartialEq>(present: Option<Present<'_>>, written: Written<'_>) -> Result<Woven> {
    let (new, base) = (T::read(written.value)?, written.base.map_or(Ok(Vec::new()), T::read)?);
    woven(present, written, &new, &base)
}

fn woven<T: Elements + Clone + PartialEq>(
    present: Option<Present<'_>>,
    written: Written<'_>,
    new: &[T],
    base: &[T],
) -> Result<Woven> {
    let current = present.map_or(Ok(Vec::new()), |present| T::read(present.value))?;
    let mut sequence = present.map_or_else(Sequence::empty, |present| sequence_of(present.entry, current.len()));
    let saw = written.saw.unwrap_or(sequence.floor);
    let seen = sequence.len_at(saw);
    let Difference { edits, steps } = if written.saw.is_none() {
        added(seen, new.len())
    } else {
        if base.len() != seen {
            let message = format!("a version of `{}` elements has `{seen}` in its history", base.len());
            return Err(Error::new(Code::Internal, message));
        }
        T::compare(base, new)
    };
    let order = |range: Range<usize>| order(written.stamp, &T::bytes(&new[range]));
    let sources = sequence.weave(&Edits { saw, seq: written.seq, all: &edits }, order);
    sequence.forget(limits::STATE_SEQUENCE_BYTES_MAX, written.seq);
    let merged: Vec<T> = sources.iter().flat_map(|source| shown(source, &current, new)).cloned().collect();
    let winner = if merged == new { Winner::Incoming } else { Winner::Both };
    let value = T::encode(&merged);
    check_size(value.len())?;
    Ok(Woven { value, sequence, winner, steps })
}

/// All is added behind what is there.
fn added(behind: usize, len: usize) -> Difference {
    let edits = if len == 0 { Vec::new() } else { vec![Edit { at: behind, removed: 0, added: 0..len }] };
    Difference { edits, steps: 0 }
}

fn shown<'a, T>(source: &Source, current: &'a [T], new: &'a [T]) -> &'a [T] {
    match source {
        Source::Current(range) => &current[range.clone()],
        Source::Incoming(range) => &new[range.clone()],
    }
}

/// Where an insertion is beside others in the same place.
fn order(stamp: Option<Stamp>, content: &[u8]) -> InsertionOrder {
    let content = if content.len() <= ORDER_BYTES_MAX {
        content.to_vec()
    } else {
        let BlobHash(hash) = BlobHash::of(content);
        [&content[..ORDER_PARTS.0], &hash[..ORDER_PARTS.1]].concat()
    };
    InsertionOrder { stamp: stamp.unwrap_or_default(), content }
}

fn check_size(bytes: usize) -> Result<()> {
    let max = limits::STATE_MERGE_BYTES_MAX;
    if bytes as u64 <= max {
        return Ok(());
    }
    let message =
        format!("the value that comes of the write has `{bytes}` bytes, the limit of what is merged is {max}");
    Err(Error::new(Code::PayloadTooLarge, message).hint("use several keys, or remove what is no longer needed"))
}

/// The history of the value; one that was written under another policy, or decided, has none but its version.
fn sequence_of(entry: &StateEntry, len: usize) -> Sequence {
    entry.sequence.clone().unwrap_or_else(|| Sequence::settled(entry.version, len))
}

/// Refuses a write whose version is not in the history of the value.
///
/// # Errors
/// [`Code::VersionGone`] where it saw another life of the key, or a version before the history begins.
pub(crate) fn check_seen(key: &str, old: Option<&StateEntry>, saw: Option<Seq>) -> Result<()> {
    let Some(saw) = saw.filter(|saw| old.is_some() || *saw > Seq::ZERO) else { return Ok(()) };
    let (known, what) = match old {
        None => (false, "has no value now".to_owned()),
        Some(entry) => {
            let floor = entry.sequence.as_ref().map_or(entry.version, |sequence| sequence.floor);
            let first = if floor == Seq::ZERO { entry.created } else { floor };
            let within = saw >= first && saw <= entry.version;
            let born = saw == Seq::ZERO && floor == Seq::ZERO;
            (within || born, format!("can be merged with writes that saw `{first}` to `{}`", entry.version))
        }
    };
    if known {
        return Ok(());
    }
    let message = format!("the write saw version `{saw}` of key `{key}`, which {what}");
    Err(Error::new(Code::VersionGone, message).hint("read the key as it is now, and write with the version of that"))
}
