//! What a replica knows: the server's values, what is written here, and the push that is on its way.
//!
//! For: every rule of a replica, as pure functions from a state to the line of its file that changes it. Not for: the file
//! (see `file`), or the server (see the module above).
//! Invariant: a state is the fold of its lines; a write that is acknowledged stays until the server has answered it or the
//! program has given it up, and is done at the server at most once.

use std::collections::{BTreeMap, BTreeSet};

use consort_types::{
    Code, Error, Result, limits,
    state::{MergePolicy, PrefixPolicy},
};
use serde_json::{Value, json};

use super::{
    merge::rebase,
    part::{At, Cursor, Line, Meta, Part, Patch, Push, Refusal, Row, RowPatch},
};

/// The version of the file's format.
pub(crate) const FORMAT: u32 = 1;
/// The space in which the server remembers the last push of each replica.
pub(crate) const CURSORS: &str = "replicas";
/// Keys of one push: a transaction has at most [`limits::STATE_OPERATIONS_MAX`] conditions and operations.
const BATCH_KEYS: usize = 60;
/// Bytes of the values of one push, where it is more than one.
const BATCH_BYTES: usize = 1024 * 1024;

/// What a key has at the server since a record.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) key: String,
    pub(crate) version: u64,
    pub(crate) server: Option<Part>,
}

/// The fold of the lines of a file.
#[derive(Debug, Default)]
pub(crate) struct ReplicaState {
    pub(crate) meta: Meta,
    pub(crate) rows: BTreeMap<String, Row>,
    /// Those of the space, as the server said last; they are not in the file.
    pub(crate) policies: Vec<PrefixPolicy>,
}

/// Rows that become one line.
struct Draft<'a> {
    state: &'a ReplicaState,
    rows: BTreeMap<String, Row>,
}

impl<'a> Draft<'a> {
    fn of(state: &'a ReplicaState) -> Self {
        Self { state, rows: BTreeMap::new() }
    }

    fn row(&mut self, key: &str) -> &mut Row {
        let state = self.state;
        self.rows.entry(key.to_owned()).or_insert_with(|| state.row(key))
    }

    fn line(self, meta: Option<Meta>) -> Line {
        let none = Row::default();
        let old = |key: &String| self.state.rows.get(key).unwrap_or(&none);
        let rows = self.rows.into_iter().filter_map(|(key, row)| Some((key.clone(), row.since(old(&key))?))).collect();
        Line { meta, rows }
    }
}

impl ReplicaState {
    /// Does what a line says.
    pub(crate) fn fold(&mut self, line: Line) {
        self.meta.fold(line.meta.unwrap_or_default());
        for (key, patch) in line.rows {
            let mut row = self.rows.remove(&key).unwrap_or_default();
            row.fold(patch);
            if !row.is_empty() {
                self.rows.insert(key, row);
            }
        }
    }

    /// The lines of a file that is written again.
    pub(crate) fn lines(&self) -> impl Iterator<Item = Line> {
        let of_row = |(key, row): (&String, &Row)| {
            let patch = row.clone().since(&Row::default()).unwrap_or_default();
            Line { meta: None, rows: [(key.clone(), patch)].into() }
        };
        std::iter::once(Line { meta: Some(self.meta.clone()), rows: BTreeMap::<String, RowPatch>::new() })
            .chain(self.rows.iter().map(of_row))
    }

    pub(crate) fn row(&self, key: &str) -> Row {
        self.rows.get(key).cloned().unwrap_or_default()
    }

    /// What a reader sees of a key.
    pub(crate) fn visible(&self, key: &str) -> Option<&Value> {
        self.rows.get(key)?.visible()
    }

    /// What its keys begin with.
    pub(crate) fn prefix(&self) -> &str {
        self.meta.prefix.as_deref().unwrap_or_default()
    }

    /// The push that is on its way.
    pub(crate) fn push(&self) -> Option<&Push> {
        self.meta.push.get()
    }

    fn the_push(&self) -> Result<&Push> {
        self.push().ok_or_else(|| Error::new(Code::Internal, "no push is on its way"))
    }

    fn policy(&self, key: &str) -> MergePolicy {
        let fitting = self.policies.iter().filter(|one| key.starts_with(&one.prefix));
        fitting.max_by_key(|one| one.prefix.len()).map_or(MergePolicy::Reject, |one| one.policy)
    }

    // Local writes.

    /// A local write, or without a value a removal.
    pub(crate) fn write(&self, key: &str, value: Option<Value>) -> Line {
        let mut draft = Draft::of(self);
        let row = draft.row(key);
        row.pending = Some(match row.pending.take() {
            _ if row.sent.is_some() => Part::of(value),
            Some(pending) if row.conflict.is_none() => Part { value, ..pending },
            // Where there was a conflict, what the server has was seen, and this decides.
            _ => Part { version: Some(row.version()), ..Part::of(value) },
        });
        row.conflict = None;
        row.forget_nothing();
        draft.line(None)
    }

    /// Forgets what is written here and not on its way.
    pub(crate) fn give_up(&self, key: &str) -> Line {
        let mut draft = Draft::of(self);
        let row = draft.row(key);
        row.pending = None;
        row.conflict = None;
        draft.line(None)
    }

    // Pushes.

    /// Begins a push of the next keys under an id that no other push has; none where there are no keys.
    ///
    /// Keys that are likely to be refused, and those of `alone`, are pushed alone: so that the others get there. `expect` is
    /// what the cursor has before the first push that was done.
    pub(crate) fn begin_push(&self, id: String, alone: &BTreeSet<String>, expect: Option<Value>) -> Option<Line> {
        let waiting = || self.rows.iter().filter(|(_, row)| row.pending.is_some() && row.conflict.is_none());
        let apart = waiting().find(|(key, row)| alone.contains(*key) || self.is_stale(key, row));
        let keys = apart.map_or_else(|| batch(waiting()), |(key, _)| vec![key.clone()]);
        if keys.is_empty() {
            return None;
        }
        let number = self.meta.number.unwrap_or(0) + 1;
        let mut draft = Draft::of(self);
        for key in &keys {
            let row = draft.row(key);
            row.sent = row.pending.take();
        }
        let expect = expect.filter(|_| self.meta.done.is_none());
        let push = Push { number, id, keys, expect, done: None };
        Some(draft.line(Some(Meta { number: Some(number), push: Patch::Is(push), ..Meta::default() })))
    }

    fn is_stale(&self, key: &str, row: &Row) -> bool {
        let saw = row.pending.as_ref().and_then(|pending| pending.version);
        self.policy(key) == MergePolicy::Reject && saw != Some(row.version())
    }

    /// What the server remembers of the push that is on its way.
    pub(crate) fn cursor(&self) -> Result<Cursor> {
        let push = self.the_push()?;
        Ok(Cursor { push: push.number, id: push.id.clone() })
    }

    /// The key of what the server remembers.
    pub(crate) fn cursor_key(&self) -> String {
        let of = |name: &Option<String>| name.clone().unwrap_or_default();
        format!("{}/{}", of(&self.meta.space), of(&self.meta.name))
    }

    /// The transaction of the push that is on its way.
    pub(crate) fn request(&self) -> Result<Value> {
        let push = self.the_push()?;
        let found = self.meta.done.as_ref().map(|done| json!(done)).or_else(|| push.expect.clone());
        let mut condition = json!({ "space": CURSORS, "key": self.cursor_key() });
        match found {
            Some(found) => condition["equals"] = found,
            None => condition["exists"] = json!(false),
        }
        let moves = json!({ "op": "put", "space": CURSORS, "key": self.cursor_key(), "value": self.cursor()? });
        let operations: Vec<Value> =
            std::iter::once(moves).chain(push.keys.iter().map(|key| self.operation(key))).collect();
        let reads = json!({ "op": "get", "space": CURSORS, "key": self.cursor_key() });
        Ok(json!({ "if": [condition], "do": operations, "else": [reads], "by": self.meta.name }))
    }

    fn operation(&self, key: &str) -> Value {
        let row = self.row(key);
        let sent = row.sent.clone().unwrap_or_default();
        let mut operation = json!({ "op": "delete", "space": self.meta.space, "key": key, "version": sent.version() });
        if let Some(value) = &sent.value {
            operation["op"] = json!("put");
            operation["value"] = value.clone();
            if let Some(saw) = row.saw(&sent).filter(|_| sent.base) {
                operation["base"] = saw;
            }
        }
        operation
    }

    /// The push was done in a record, and these are what its keys have.
    pub(crate) fn answered(&self, arrivals: Vec<Arrival>, version: u64) -> Result<Line> {
        let mut draft = Draft::of(self);
        for Arrival { key, server, .. } in arrivals {
            self.settle(draft.row(&key), &key, server, version);
        }
        self.end(draft)
    }

    /// The push was done in a record, and its answer was lost: what it came to is pulled.
    pub(crate) fn found_done(&self, version: u64) -> Result<Line> {
        let push = Push { done: Some(version), ..self.the_push()?.clone() };
        Ok(Line { meta: Some(Meta { push: Patch::Is(push), ..Meta::default() }), ..Line::default() })
    }

    /// All changes up to a push whose answer was lost are here: what has not changed, it has not changed.
    pub(crate) fn settled(&self) -> Result<Option<Line>> {
        let Some(Push { keys, done: Some(done), .. }) = self.push() else { return Ok(None) };
        let mut draft = Draft::of(self);
        for key in keys {
            let row = draft.row(key);
            if row.sent.is_some() {
                let server = row.server.clone();
                self.settle(row, key, server, *done);
            }
        }
        self.end(draft).map(Some)
    }

    fn end(&self, draft: Draft<'_>) -> Result<Line> {
        Ok(draft.line(Some(Meta { push: Patch::Gone, done: Some(self.cursor()?), ..Meta::default() })))
    }

    /// The push was refused, so nothing of it was done. Of a single key that is a conflict.
    pub(crate) fn refused(&self, error: &Error) -> Result<Line> {
        let keys = &self.the_push()?.keys;
        let mut draft = Draft::of(self);
        for key in keys {
            let row = draft.row(key);
            let (sent, later) = (row.sent.take().unwrap_or_default(), row.pending.take());
            let tells = error.code == Code::VersionGone && keys.len() == 1 && !sent.base && sent.value.is_some();
            if keys.len() == 1 && !tells && later.is_none() {
                row.conflict = Some(Refusal { code: error.code, message: error.message.clone() });
            }
            let value = later.map_or_else(|| sent.value.clone(), |later| later.value);
            row.pending = Some(Part { value, base: sent.base || tells, ..sent });
            row.forget_nothing();
        }
        Ok(draft.line(Some(Meta { push: Patch::Gone, ..Meta::default() })))
    }

    // What comes.

    /// Changes in their order, up to a position.
    pub(crate) fn pulled(&self, arrivals: Vec<Arrival>, position: String) -> Line {
        let done = self.push().and_then(|push| push.done);
        let mut draft = Draft::of(self);
        for Arrival { key, version, server } in arrivals {
            let row = draft.row(&key);
            if row.sent.is_some() && done == Some(version) {
                self.settle(row, &key, server, version);
            } else if version >= row.version() {
                // Also where it is the same version: the answer to a push does not say in which order a set is kept.
                row.replace(server);
            }
        }
        let made = self.meta.at.as_ref().and_then(|at| at.made.clone());
        draft.line(Some(Meta { at: Some(At { position, made }), ..Meta::default() }))
    }

    /// All that the server has.
    pub(crate) fn listed(&self, arrivals: Vec<Arrival>, at: At) -> Line {
        let done = self.push().and_then(|push| push.done);
        let mut found: BTreeMap<String, Option<Part>> = self.rows.keys().map(|key| (key.clone(), None)).collect();
        found.extend(arrivals.into_iter().map(|arrival| (arrival.key, arrival.server)));
        let mut draft = Draft::of(self);
        for (key, server) in found {
            let row = draft.row(&key);
            match done {
                Some(done) if row.sent.is_some() => self.settle(row, &key, server, done),
                _ if row.server != server => row.replace(server),
                _ => {}
            }
        }
        draft.line(Some(Meta { at: Some(at), ..Meta::default() }))
    }

    fn settle(&self, row: &mut Row, key: &str, made: Option<Part>, version: u64) {
        let sent = row.sent.take().unwrap_or_default();
        let sent = Part { saw: row.saw(&sent), ..sent };
        row.replace(made);
        let later = row.pending.take();
        row.pending = later.map(|later| rebase(self.policy(key), &sent, later, row.server.as_ref(), version));
        row.forget_nothing();
    }
}

/// As many keys as one push takes.
fn batch<'a>(waiting: impl Iterator<Item = (&'a String, &'a Row)>) -> Vec<String> {
    let (mut keys, mut size) = (Vec::new(), 0);
    for (key, row) in waiting.take(BATCH_KEYS) {
        let value = row.pending.as_ref().and_then(|pending| pending.value.as_ref());
        size += value.map_or(0, |value| value.to_string().len());
        if !keys.is_empty() && size > BATCH_BYTES {
            break;
        }
        keys.push(key.clone());
    }
    keys
}

/// Refuses what can be no key.
pub(crate) fn check_key(key: &str) -> Result<()> {
    let (size, max) = (key.len(), limits::STATE_KEY_BYTES_MAX);
    if size > 0 && size <= max && !key.chars().any(|one| one.is_ascii_control()) {
        return Ok(());
    }
    let shown: String = key.chars().take(64).collect();
    let message = format!("the key `{shown}` has `{size}` bytes, or control characters; a key has 1 to {max} bytes");
    Err(Error::new(Code::BadRequest, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun() -> ReplicaState {
        let mut state = ReplicaState::default();
        let name = |name: &str| Some(name.to_owned());
        let (space, replica, prefix) = (name("s"), name("n"), name(""));
        let meta = Meta { format: Some(FORMAT), space, name: replica, prefix, ..Meta::default() };
        state.fold(Line { meta: Some(meta), ..Line::default() });
        state
    }

    fn has(version: u64, value: Value) -> Vec<Arrival> {
        let server = Some(Part { version: Some(version), ..Part::of(Some(value)) });
        vec![Arrival { key: "k".to_owned(), version, server }]
    }

    fn at(position: &str) -> At {
        At { position: position.to_owned(), made: None }
    }

    fn begin(state: &mut ReplicaState) -> bool {
        let line = state.begin_push("id".to_owned(), &BTreeSet::new(), None);
        line.map(|line| state.fold(line)).is_some()
    }

    #[test]
    fn a_push_whose_seen_version_is_gone_is_sent_with_what_was_seen() {
        let mut state = begun();
        state.fold(state.listed(has(7, json!(10)), at("7-1")));
        state.fold(state.write("k", Some(json!(12))));
        state.fold(state.listed(has(900, json!(50)), at("900-1")));
        state.policies = vec![PrefixPolicy { prefix: String::new(), policy: MergePolicy::Counter }];
        assert!(begin(&mut state));
        let mut put = json!({ "op": "put", "space": "s", "key": "k", "version": 7, "value": 12 });
        assert_eq!(state.request().unwrap()["do"][1], put);
        let gone = Error::new(Code::VersionGone, "gone");
        state.fold(state.refused(&gone).unwrap());
        assert!(begin(&mut state));
        put["base"] = json!(10);
        assert_eq!(state.request().unwrap()["do"][1], put);
        state.fold(state.refused(&gone).unwrap());
        assert_eq!(state.rows["k"].conflict.as_ref().unwrap().code, Code::VersionGone);
        assert!(!begin(&mut state));
        // A program that decides has seen what is there.
        state.fold(state.write("k", Some(json!(52))));
        assert_eq!(state.rows["k"].pending, Some(Part { version: Some(900), ..Part::of(Some(json!(52))) }));
    }

    #[test]
    fn writes_of_one_key_are_one_delta() {
        let mut state = begun();
        for number in 0..10_000 {
            state.fold(state.write("k", Some(json!(number))));
        }
        assert!(begin(&mut state));
        let request = state.request().unwrap();
        assert_eq!(request["do"].as_array().unwrap().len(), 2);
        assert_eq!(request["do"][1]["value"], json!(9_999));
    }

    #[test]
    fn a_removal_of_what_never_was_is_no_write() {
        let mut state = begun();
        state.fold(state.write("k", Some(json!(1))));
        state.fold(state.write("k", None));
        assert!(state.rows.is_empty());
        assert!(!begin(&mut state));
    }
}
