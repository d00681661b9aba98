//! What one record may do to shared state (law 9).
//!
//! For: each value with the record that wrote it, the list of changes that a watcher follows, writes that had not seen the
//! latest value, counters, texts and lists, and the counts of spaces. Not for: merging (the machine's tests compare every
//! order).
//! Invariant: counters are added up here from the commands alone; nothing of the machine's merging is used.

use std::collections::BTreeMap;

use consort_core::{
    Command, TABLES,
    command::Transact,
    keys::{NamedKey, SpaceEventKey, StateKey},
    rows::{self as core, Space, StateEntry},
};
use consort_types::{
    Payload, Seq,
    state::{Action, Condition, MergePolicy, Operation, Position, SpaceId},
};
use serde_json::Value;

use super::rows::{Change, Context, Rows, decode, key_bytes, key_of, table};
use crate::plan::{Checked, Violation};

/// What is known of shared state beside its rows.
#[derive(Debug, Default)]
pub(crate) struct SpaceOracle {
    /// Every change of each space, in order, kept or not.
    changes: BTreeMap<SpaceId, Vec<Position>>,
    /// What the counters must be.
    counters: BTreeMap<(SpaceId, String), i64>,
}

/// The value of a key before and after a record.
struct Written {
    key: StateKey,
    old: Option<StateEntry>,
    new: Option<StateEntry>,
}

fn law(seq: Seq, what: &str) -> Violation {
    Violation::of(9, format!("record {seq}: {what}"))
}

/// The space of a name, as the rows have it.
fn space(rows: &Rows, namespace: &str, name: &str) -> Option<Space> {
    let key = NamedKey::of(namespace, name);
    decode(rows.get(&key_bytes(TABLES.spaces, &key))?)
}

fn number(payload: &Payload) -> Option<i64> {
    serde_json::from_slice(payload.bytes()?).ok()
}

impl SpaceOracle {
    /// Looks at what a record has changed; `rows` are those after it.
    pub(crate) fn check(&mut self, context: &Context<'_>, changes: &[Change], rows: &Rows) -> Checked {
        let seq = context.seq;
        let written = written(changes);
        let added = self.check_changes(seq, changes, rows)?;
        let purged =
            |id: SpaceId| !table(rows, TABLES.spaces).any(|(_, row)| decode::<Space>(row).is_some_and(|s| s.id == id));
        for one in &written {
            if one.new.as_ref().is_some_and(|new| new.version != seq) {
                return Err(law(seq, "a value has another version than the record that wrote it"));
            }
            let told = added.iter().filter(|(id, key)| (*id, key) == (one.key.space, &one.key.key)).count();
            if told != 1 && !(one.new.is_none() && purged(one.key.space)) {
                return Err(law(seq, &format!("key `{}` has changed, and `{told}` changes say so", one.key.key)));
            }
        }
        if let Command::Transact(transaction) = context.command {
            check_seen(seq, transaction, &written, rows)?;
            check_woven(seq, transaction, &written, rows)?;
            self.check_counters(seq, transaction, &written, rows)?;
        }
        // Values that are removed, by whatever command, are counted from zero again.
        for gone in written.iter().filter(|one| one.new.is_none()) {
            self.counters.remove(&(gone.key.space, gone.key.key.clone()));
        }
        self.counters.retain(|(id, _), _| !matches!(context.command, Command::DeleteSpace(_)) || !purged(*id));
        Ok(())
    }

    /// Changes are added behind all others, and dropped from the front; answers the keys that were added.
    fn check_changes(
        &mut self,
        seq: Seq,
        changes: &[Change],
        rows: &Rows,
    ) -> Result<Vec<(SpaceId, String)>, Violation> {
        let mut added = Vec::new();
        for change in changes.iter().filter(|change| TABLES.changes.has(&change.key)) {
            let Some(SpaceEventKey { space: id, at }) = key_of(&change.key) else { continue };
            match (&change.old, &change.new) {
                (None, Some(new)) => {
                    let all = self.changes.entry(id).or_default();
                    if at.seq != seq || all.last().is_some_and(|last| *last >= at) {
                        return Err(law(seq, &format!("change `{at}` of a space is out of order")));
                    }
                    all.push(at);
                    added.extend(decode::<core::Change>(new).map(|row| (id, row.key)));
                }
                (Some(_), None) => {
                    let kept =
                        table(rows, TABLES.spaces).filter_map(|(_, row)| decode::<Space>(row)).find(|s| s.id == id);
                    if kept.is_some_and(|space| at > space.trimmed) {
                        return Err(law(
                            seq,
                            &format!("change `{at}` is dropped, and the space says that it keeps it"),
                        ));
                    }
                }
                _ => return Err(law(seq, &format!("change `{at}` was rewritten"))),
            }
        }
        Ok(added)
    }

    /// Counters that are only added to have the sum of what was added.
    fn check_counters(&mut self, seq: Seq, transaction: &Transact, written: &[Written], rows: &Rows) -> Checked {
        for operation in done(transaction, written, rows) {
            let Some(one) = written_by(operation, transaction, written, rows) else { continue };
            let place = (one.key.space, one.key.key.clone());
            let policy =
                space(rows, &transaction.namespace, &operation.space).map(|s| s.settings.policy_of(&operation.key));
            match &operation.action {
                Action::Put { value, saw: None, .. } if policy == Some(MergePolicy::Counter) => {
                    let had = one.old.as_ref().and_then(|old| number(&old.value)).unwrap_or_default();
                    let sum = self.counters.entry(place).or_insert(had);
                    *sum += number(value).unwrap_or_default();
                    let found = one.new.as_ref().and_then(|new| number(&new.value));
                    if found != Some(*sum) {
                        return Err(law(
                            seq,
                            &format!("counter `{}` is {found:?}, and {sum} was added", operation.key),
                        ));
                    }
                }
                _ => drop(self.counters.remove(&place)),
            }
        }
        Ok(())
    }

    /// Every change of a space behind `after`, up to `until`.
    pub(crate) fn between(&self, space: SpaceId, after: Position, until: Position) -> Vec<Position> {
        let all = self.changes.get(&space).map(Vec::as_slice).unwrap_or_default();
        all.iter().copied().filter(|at| *at > after && *at <= until).collect()
    }
}

/// The values that a record has changed.
fn written(changes: &[Change]) -> Vec<Written> {
    let of = |change: &Change| {
        Some(Written {
            key: key_of(&change.key)?,
            old: change.old.as_deref().and_then(decode),
            new: change.new.as_deref().and_then(decode),
        })
    };
    changes.iter().filter(|change| TABLES.state.has(&change.key)).filter_map(of).collect()
}

/// The operations that a transaction has done. (The simulator's conditions ask whether a key has a value.)
fn done<'a>(transaction: &'a Transact, written: &[Written], rows: &Rows) -> &'a [Operation] {
    let had_value = |condition: &Condition| {
        let Some(space) = space(rows, &transaction.namespace, &condition.space) else { return false };
        let key = StateKey { space: space.id, key: condition.key.clone() };
        match written.iter().find(|one| one.key == key) {
            Some(one) => one.old.is_some(),
            None => rows.contains_key(&key_bytes(TABLES.state, &key)),
        }
    };
    if transaction.transaction.conditions.iter().all(had_value) {
        &transaction.transaction.then
    } else {
        &transaction.transaction.otherwise
    }
}

/// What an operation has changed.
fn written_by<'a>(
    operation: &Operation,
    transaction: &Transact,
    written: &'a [Written],
    rows: &Rows,
) -> Option<&'a Written> {
    let id = space(rows, &transaction.namespace, &operation.space)?.id;
    written.iter().find(|one| one.key.space == id && one.key.key == operation.key)
}

/// A write that names a version which is not the latest changes nothing, where the policy is to reject it.
fn check_seen(seq: Seq, transaction: &Transact, written: &[Written], rows: &Rows) -> Checked {
    for operation in done(transaction, written, rows) {
        let (Action::Put { saw: Some(saw), .. } | Action::Delete { saw: Some(saw) }) = &operation.action else {
            continue;
        };
        let Some(one) = written_by(operation, transaction, written, rows) else { continue };
        let policy =
            space(rows, &transaction.namespace, &operation.space).map(|s| s.settings.policy_of(&operation.key));
        let had = one.old.as_ref().map_or(Seq::ZERO, |old| old.version);
        if policy == Some(MergePolicy::Reject) && *saw != had {
            let what = format!("a write of key `{}` that had seen version {saw} has replaced {had}", operation.key);
            return Err(law(seq, &what));
        }
    }
    Ok(())
}

/// The elements of a text or a list, each by its bytes.
fn elements(payload: &Payload) -> Vec<String> {
    match payload.bytes().and_then(|bytes| serde_json::from_slice(bytes).ok()) {
        Some(Value::String(text)) => text.chars().map(String::from).collect(),
        Some(Value::Array(list)) => list.iter().map(Value::to_string).collect(),
        _ => Vec::new(),
    }
}

/// A write of a text or a list that had seen the latest value is the value; one that names no version only adds; and none
/// makes anything that neither was there nor was written.
fn check_woven(seq: Seq, transaction: &Transact, written: &[Written], rows: &Rows) -> Checked {
    for operation in done(transaction, written, rows) {
        let Action::Put { value, saw, .. } = &operation.action else { continue };
        let Some(one) = written_by(operation, transaction, written, rows) else { continue };
        let policy =
            space(rows, &transaction.namespace, &operation.space).map(|s| s.settings.policy_of(&operation.key));
        if !matches!(policy, Some(MergePolicy::Text | MergePolicy::List)) {
            continue;
        }
        let had = one.old.as_ref().map_or(Seq::ZERO, |old| old.version);
        let (old, new) = (one.old.as_ref(), one.new.as_ref());
        let (old, new) = (old.map(|old| elements(&old.value)), new.map(|new| elements(&new.value)));
        let (old, new, came) = (old.unwrap_or_default(), new.unwrap_or_default(), elements(value));
        let added = |at: usize| {
            let (before, behind) = old.split_at(at);
            [before, &came, behind].concat() == new
        };
        let right = match saw {
            Some(saw) if *saw == had => new == came,
            None => new == old || (0..=old.len()).any(added),
            Some(_) => new.iter().all(|element| old.contains(element) || came.contains(element)),
        };
        if !right {
            let what = format!("`{}` was {old:?}, and {came:?} by one that saw {saw:?} made {new:?}", operation.key);
            return Err(law(seq, &what));
        }
    }
    Ok(())
}

/// Each space's counts are those of its rows.
pub(crate) fn check_counts(rows: &Rows) -> Checked {
    let mut found: BTreeMap<SpaceId, (u64, u64, u64, u32)> = BTreeMap::new();
    for (key, row) in table(rows, TABLES.state) {
        let Some((key, entry)) = key_of::<StateKey>(key).zip(decode::<StateEntry>(row)) else { continue };
        let counts = found.entry(key.space).or_default();
        counts.0 += 1;
        counts.1 += key.key.len() as u64 + entry.value.len();
    }
    for (key, _) in table(rows, TABLES.changes) {
        found.entry(key_of::<SpaceEventKey>(key).map(|key| key.space).unwrap_or_default()).or_default().2 += 1;
    }
    for (key, _) in table(rows, TABLES.conflicts) {
        found.entry(key_of::<SpaceEventKey>(key).map(|key| key.space).unwrap_or_default()).or_default().3 += 1;
    }
    for (_, row) in table(rows, TABLES.spaces) {
        let Some(space) = decode::<Space>(row) else { continue };
        let (told, found) = (
            (space.keys, space.bytes, space.changes, space.conflicts),
            found.get(&space.id).copied().unwrap_or_default(),
        );
        if told != found {
            return Err(Violation::of(9, format!("a space counts {told:?}, its rows say {found:?}")));
        }
    }
    Ok(())
}
