//! What was written while a push was on its way, put on top of what the push came to.
//!
//! For: the state of a replica. Not for: merging with what other writers did (the server does, by the policy of the key).
//! Invariant: pure; what was inserted since the push is kept, and so is what the push came to.

use std::{collections::BTreeMap, ops::Range};

use consort_types::state::MergePolicy;
use serde_json::{Map, Value};

use super::part::Part;

/// The write that is left, with the version that it has seen: `sent` was pushed in the record `version`, which made `made`
/// of it; `later` was written on top of `sent`.
pub(crate) fn rebase(policy: MergePolicy, sent: &Part, later: Part, made: Option<&Part>, version: u64) -> Part {
    let now = made.map_or(0, Part::version);
    let made_value = made.and_then(|made| made.value.as_ref());
    if made_value == sent.value.as_ref() {
        return Part { version: Some(now), ..later };
    }
    let as_before =
        |later: Part| Part { version: sent.version, saw: sent.saw.clone(), base: sent.base, ..Part::of(later.value) };
    let (Some(before), Some(after)) = (&sent.value, &later.value) else {
        // A removal has not seen what others did; and one that others have superseded has changed nothing.
        return as_before(later);
    };
    if matches!(policy, MergePolicy::Reject | MergePolicy::LastWriterWins) {
        return Part { version: Some(version), saw: Some(before.clone()), ..later };
    }
    let nothing = empty(before);
    match moved(policy, before, after, made_value.unwrap_or(&nothing)) {
        Some(value) => Part { version: Some(now), value: Some(value), ..later },
        None => as_before(later),
    }
}

/// What a value of that form is before anything is written.
fn empty(value: &Value) -> Value {
    match value {
        Value::String(_) => Value::String(String::new()),
        Value::Array(_) => Value::Array(Vec::new()),
        Value::Object(_) => Value::Object(Map::new()),
        _ => Value::from(0),
    }
}

/// What `found` is with the change from `before` to `after`; none where the policy does not take such values.
fn moved(policy: MergePolicy, before: &Value, after: &Value, found: &Value) -> Option<Value> {
    match policy {
        MergePolicy::Counter => {
            let (before, after, found) = (before.as_i64()?, after.as_i64()?, found.as_i64()?);
            i64::try_from(i128::from(found) + i128::from(after) - i128::from(before)).ok().map(Value::from)
        }
        MergePolicy::Max | MergePolicy::Min => Some(after.clone()),
        MergePolicy::Set => Some(set(before.as_array()?, after.as_array()?, found.as_array()?)),
        MergePolicy::Map => Some(map(before.as_object()?, after.as_object()?, found.as_object()?)),
        MergePolicy::Text => {
            let chars = |value: &Value| value.as_str().map(|text| text.chars().collect::<Vec<_>>());
            let spliced = splice(&chars(before)?, &chars(after)?, &chars(found)?);
            Some(Value::from(spliced.into_iter().collect::<String>()))
        }
        MergePolicy::List => Some(Value::Array(splice(before.as_array()?, after.as_array()?, found.as_array()?))),
        _ => None,
    }
}

/// The elements of a list by their texts, which are the same for equal elements.
pub(crate) fn elements(list: &[Value]) -> BTreeMap<String, &Value> {
    list.iter().map(|element| (element.to_string(), element)).collect()
}

fn set(before: &[Value], after: &[Value], found: &[Value]) -> Value {
    let (old, new, mut there) = (elements(before), elements(after), elements(found));
    let stays = |element: &&Value| !old.contains_key(&element.to_string()) || new.contains_key(&element.to_string());
    let mut left: Vec<Value> = found.iter().filter(stays).cloned().collect();
    for element in after {
        let text = element.to_string();
        if !old.contains_key(&text) && there.insert(text, element).is_none() {
            left.push(element.clone());
        }
    }
    Value::Array(left)
}

fn map(before: &Map<String, Value>, after: &Map<String, Value>, found: &Map<String, Value>) -> Value {
    let stays = |name: &String| !before.contains_key(name) || after.contains_key(name);
    let left = found.iter().filter(|(name, _)| stays(name));
    let changed = after.iter().filter(|(name, value)| before.get(*name) != Some(value));
    Value::Object(left.chain(changed).map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// The elements of `found` with the change from `before` to `after`.
///
/// Each of the two changes is taken as one, from the first element that differs to the last. Where they overlap, what both
/// inserted stays, that of `found` first.
pub(crate) fn splice<T: Clone + PartialEq>(before: &[T], after: &[T], found: &[T]) -> Vec<T> {
    let (ours, theirs) = (hunk(before, after), hunk(before, found));
    let inserted = &after[ours.start..after.len() - (before.len() - ours.end)];
    // The place in what was found of one that is behind the other change.
    let behind = |place: usize| found.len() - (before.len() - place);
    if ours.start >= theirs.end {
        return [&found[..behind(ours.start)], inserted, &found[behind(ours.end)..]].concat();
    }
    if ours.end <= theirs.start {
        return [&found[..ours.start], inserted, &found[ours.end..]].concat();
    }
    let other = &found[theirs.start..behind(theirs.end)];
    [&before[..ours.start.min(theirs.start)], other, inserted, &before[ours.end.max(theirs.end)..]].concat()
}

/// The range of `before` that `after` has replaced.
fn hunk<T: PartialEq>(before: &[T], after: &[T]) -> Range<usize> {
    let most = before.len().min(after.len());
    let first = before.iter().zip(after).take_while(|(old, new)| old == new).count();
    let pairs = before.iter().rev().zip(after.iter().rev());
    let last = pairs.take(most - first).take_while(|(old, new)| old == new).count();
    first..before.len() - last
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// A case that every SDK must decide so.
    #[derive(Deserialize)]
    struct Case {
        name: String,
        policy: MergePolicy,
        version: u64,
        sent: Part,
        later: Part,
        made: Option<Part>,
        left: Part,
    }

    #[test]
    fn a_write_during_a_push_is_put_on_top_of_its_outcome() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../sdks/replicas/rebase.json");
        let cases: Vec<Case> = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        for case in cases {
            let Case { name, policy, version, sent, later, made, left } = case;
            assert_eq!(rebase(policy, &sent, later, made.as_ref(), version), left, "{name}");
        }
    }

    #[test]
    fn splices_keep_what_both_inserted() {
        let spliced = |before: &str, after: &str, found: &str| {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            splice(&chars(before), &chars(after), &chars(found)).into_iter().collect::<String>()
        };
        assert_eq!(spliced("abc", "aXbc", "abcY"), "aXbcY");
        assert_eq!(spliced("abc", "abYc", "Xabc"), "XabYc");
        assert_eq!(spliced("abc", "aXc", "aYc"), "aYXc");
        assert_eq!(spliced("abc", "", "abc"), "");
        assert_eq!(spliced("", "X", "Y"), "YX");
    }
}
