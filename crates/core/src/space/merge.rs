//! The outcome of a write and the value that it meets.
//!
//! For: merging two values by a policy, as a pure function of both, of what the writer saw and of stamps. Not for: what a
//! conflict is, rows, `reject` and `agent`, which merge nothing, `expression` (see `expression`), or `text` and `list` (see
//! `weave`).
//! Invariant: writes that did not see each other give equal bytes in whatever order they come (for those with stamps:
//! where the stamps differ); a write that comes twice changes nothing the second time.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use consort_types::{
    Code, Error, Result, Seq,
    state::{MergePolicy, Stamp},
};
use serde_json::{Map, Number, Value};

use crate::{encode::encode, space::rows::Mark};

/// The value that a key has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Current<'a> {
    pub(crate) value: &'a Value,
    pub(crate) version: Seq,
    pub(crate) stamp: Stamp,
    /// When each element or member was last changed, in their order; `None` where all came with the version.
    pub(crate) marks: Option<&'a [Mark]>,
}

/// The value that is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming<'a> {
    pub(crate) value: &'a Value,
    /// The version that the writer saw; zero where it saw none.
    pub(crate) saw: Seq,
    /// The value at that version, where there was one.
    pub(crate) base: Option<&'a Value>,
    pub(crate) stamp: Stamp,
    /// The record that writes it.
    pub(crate) seq: Seq,
}

/// Whose value is kept after a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Winner {
    Incoming,
    Current,
    Both,
}

/// What a key has after a write.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Merged {
    pub(crate) value: Value,
    pub(crate) marks: Option<Vec<Mark>>,
    pub(crate) winner: Winner,
}

impl Merged {
    fn of(value: &Value, winner: Winner) -> Self {
        Self { value: value.clone(), marks: None, winner }
    }
}

/// Merges a write with what it meets.
///
/// # Errors
/// [`Code::NotMergeable`] where a value does not fit the policy, or a sum is out of range.
pub(crate) fn merge(policy: MergePolicy, current: Option<Current<'_>>, incoming: Incoming<'_>) -> Result<Merged> {
    match policy {
        MergePolicy::Reject | MergePolicy::Agent | MergePolicy::Expression | MergePolicy::Text | MergePolicy::List => {
            Ok(Merged::of(incoming.value, Winner::Incoming))
        }
        MergePolicy::LastWriterWins => Ok(last_writer(current, incoming)),
        MergePolicy::Max => extreme(policy, current, incoming, Ordering::Greater),
        MergePolicy::Min => extreme(policy, current, incoming, Ordering::Less),
        MergePolicy::Counter => counter(current, incoming),
        MergePolicy::Set => set(current, incoming),
        MergePolicy::Map => map(current, incoming),
    }
}

pub(crate) fn misfit(policy: MergePolicy, wants: &str) -> Error {
    Error::new(Code::NotMergeable, format!("the policy `{}` of the key takes {wants}", policy.as_str()))
        .hint("write such a value, or set another policy for the prefix of the key")
}

fn last_writer(current: Option<Current<'_>>, incoming: Incoming<'_>) -> Merged {
    let Some(current) = current else { return Merged::of(incoming.value, Winner::Incoming) };
    let later = (incoming.stamp, encode(incoming.value)) > (current.stamp, encode(current.value));
    // A write that saw the value comes after it, whatever the clock of its writer says.
    if incoming.saw == current.version || later {
        Merged::of(incoming.value, Winner::Incoming)
    } else {
        Merged::of(current.value, Winner::Current)
    }
}

fn extreme(
    policy: MergePolicy,
    current: Option<Current<'_>>,
    incoming: Incoming<'_>,
    wanted: Ordering,
) -> Result<Merged> {
    let number = |value: &Value| value.as_number().cloned().ok_or_else(|| misfit(policy, "numbers"));
    let new = number(incoming.value)?;
    let Some(current) = current else { return Ok(Merged::of(incoming.value, Winner::Incoming)) };
    let old = number(current.value)?;
    // `1` and `1.0` are equal: the shorter text stays, whichever came first.
    let tie = || encode(&old).cmp(&encode(&new));
    let order = compare(&new, &old);
    let wins = order == wanted || (order == Ordering::Equal && tie() == Ordering::Greater);
    Ok(if wins { Merged::of(incoming.value, Winner::Incoming) } else { Merged::of(current.value, Winner::Current) })
}

/// The order of two numbers, exact also where one is whole and the other is not.
fn compare(a: &Number, b: &Number) -> Ordering {
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(a), None) => compare_mixed(a, b.as_f64().unwrap_or_default()),
        (None, Some(b)) => compare_mixed(b, a.as_f64().unwrap_or_default()).reverse(),
        (None, None) => a.as_f64().unwrap_or_default().total_cmp(&b.as_f64().unwrap_or_default()),
    }
}

fn whole(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

fn compare_mixed(whole: i128, fraction: f64) -> Ordering {
    // The cast saturates, and what it drops is only the part behind the point.
    let (floor, rest) = (fraction.floor(), fraction - fraction.floor());
    whole.cmp(&(floor as i128)).then(if rest > 0.0 { Ordering::Less } else { Ordering::Equal })
}

fn counter(current: Option<Current<'_>>, incoming: Incoming<'_>) -> Result<Merged> {
    let number = |value: &Value| {
        let number = value.as_number().and_then(whole);
        number.ok_or_else(|| misfit(MergePolicy::Counter, "whole numbers"))
    };
    let change = number(incoming.value)? - incoming.base.map_or(Ok(0), number)?;
    let old = current.map_or(Ok(0), |current| number(current.value))?;
    let sum = i64::try_from(old + change).map_err(|_| {
        let message = format!("the counter would be `{}`, which is out of range", old + change);
        Error::new(Code::NotMergeable, message).hint("a counter holds whole numbers of 64 bits with a sign")
    })?;
    let value = Value::from(sum);
    let winner = if value == *incoming.value { Winner::Incoming } else { Winner::Both };
    Ok(Merged { value, marks: None, winner })
}

/// The elements of a set, each by its bytes.
fn elements(value: &Value) -> Result<BTreeMap<Vec<u8>, &Value>> {
    let list = value.as_array().ok_or_else(|| misfit(MergePolicy::Set, "lists"))?;
    Ok(list.iter().map(|element| (encode(element), element)).collect())
}

fn set(current: Option<Current<'_>>, incoming: Incoming<'_>) -> Result<Merged> {
    let new = elements(incoming.value)?;
    let base: BTreeSet<Vec<u8>> = incoming.base.map_or(Ok(BTreeMap::new()), elements)?.into_keys().collect();
    let mark = Mark { version: incoming.seq, stamp: incoming.stamp };
    let mut merged: BTreeMap<Vec<u8>, (&Value, Mark)> = BTreeMap::new();
    if let Some(current) = current {
        for (i, (bytes, element)) in elements(current.value)?.into_iter().enumerate() {
            let its = current.mark(i);
            let removed = base.contains(&bytes) && !new.contains_key(&bytes) && its.version <= incoming.saw;
            if !removed {
                merged.insert(bytes, (element, its));
            }
        }
    }
    for (bytes, element) in &new {
        if !base.contains(bytes) {
            // Also where it is there already: a removal that did not see this write must leave it.
            merged.insert(bytes.clone(), (element, mark));
        }
    }
    let winner = if merged.keys().eq(new.keys()) { Winner::Incoming } else { Winner::Both };
    let (value, marks) = merged.into_values().map(|(element, mark)| (element.clone(), mark)).unzip();
    Ok(Merged { value: Value::Array(value), marks: Some(marks), winner })
}

fn members(value: &Value) -> Result<&Map<String, Value>> {
    value.as_object().ok_or_else(|| misfit(MergePolicy::Map, "objects"))
}

fn map(current: Option<Current<'_>>, incoming: Incoming<'_>) -> Result<Merged> {
    let (new, none) = (members(incoming.value)?, Map::new());
    let base = incoming.base.map_or(Ok(&none), members)?;
    let mark = Mark { version: incoming.seq, stamp: incoming.stamp };
    let mut merged: BTreeMap<&String, (&Value, Mark)> = BTreeMap::new();
    if let Some(current) = current {
        let its = members(current.value)?.iter().enumerate();
        merged.extend(its.map(|(i, (name, value))| (name, (value, current.mark(i)))));
    }
    for name in base.keys().filter(|name| !new.contains_key(*name)) {
        if merged.get(name).is_some_and(|(_, its)| its.version <= incoming.saw) {
            merged.remove(name);
        }
    }
    for (name, value) in new.iter().filter(|(name, value)| base.get(*name) != Some(value)) {
        let stays = merged.get(name).is_some_and(|(other, its)| {
            its.version > incoming.saw && (its.stamp, encode(*other)) > (mark.stamp, encode(value))
        });
        if !stays {
            merged.insert(name, (value, mark));
        }
    }
    let same = merged.len() == new.len() && merged.iter().all(|(name, (value, _))| new.get(*name) == Some(*value));
    let marks = merged.values().map(|(_, mark)| *mark).collect();
    let value = merged.into_iter().map(|(name, (value, _))| (name.clone(), value.clone())).collect();
    let winner = if same { Winner::Incoming } else { Winner::Both };
    Ok(Merged { value: Value::Object(value), marks: Some(marks), winner })
}

impl Current<'_> {
    /// When the element or member at this place was last changed.
    fn mark(&self, place: usize) -> Mark {
        let whole = Mark { version: self.version, stamp: self.stamp };
        self.marks.and_then(|marks| marks.get(place)).copied().unwrap_or(whole)
    }
}
