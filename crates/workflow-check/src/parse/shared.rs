//! What steps have to do with everyone: the actions `publish` and `state`, and the settings `with_lock` and `reads`.
//!
//! For: reading them into what the machine evaluates. Not for: what is in a space, on the bus or held.
//! Invariant: a transaction of one operation and one that is written out have the same form behind this.

use consort_types::{Name, event::check_topic, limits, state::Transaction};
use consort_workflow::{Action, Read, StateAction, Template, WithLock, cel::Kind};
use serde_json::Value;

use super::{Reader, fields::Fields, scope::Place, values::literal_map};
use crate::yaml::{Entry, NodeKind};

/// The keys of `publish`.
pub(crate) const PUBLISH_KEYS: [&str; 6] = ["type", "topic", "subject", "id", "source", "data"];

/// The keys of `state`: those of one operation, and those of a transaction.
pub(crate) const STATE_KEYS: [&str; 11] =
    ["space", "get", "put", "delete", "value", "version", "ttl", "if", "do", "else", "fence"];

/// The keys of `with_lock`.
pub(crate) const LOCK_KEYS: [&str; 3] = ["name", "permits", "wait"];

/// The keys of an entry of `reads`.
pub(crate) const READ_KEYS: [&str; 2] = ["space", "key"];

/// The operations, and the keys that each takes beside its own and `space`.
const OPERATIONS: [(&str, &[&str]); 3] =
    [("get", &[]), ("put", &["value", "version", "ttl"]), ("delete", &["version"])];

/// The keys of a transaction.
const TRANSACTION: [&str; 4] = ["if", "do", "else", "fence"];

/// Reads what steps have to do with shared state, the bus and locks.
pub(super) struct Shared<'r, 's>(pub(super) &'r mut Reader<'s>);

impl Shared<'_, '_> {
    pub(super) fn publish(&mut self, entry: &Entry) -> Option<Action> {
        let fields = self.0.plain().map(&entry.value, "`publish`", &PUBLISH_KEYS)?;
        self.0.plain().required(&fields, "type", "name the kind of event: `publish: { type: order.shipped }`")?;
        let mut map = Vec::new();
        for key in PUBLISH_KEYS {
            let Some(given) = fields.get(key) else { continue };
            let template = match key {
                "data" => self.0.values.template(&given.value, Place::default()),
                _ => self.0.values.template_of(given, Kind::Text, Place::default()),
            };
            if let ("topic", Template::Literal(Value::String(text))) = (key, &template)
                && let Err(error) = check_topic(text)
            {
                self.refused(given, error);
            }
            map.push((key.to_owned(), template));
        }
        map.sort_by(|one, other| one.0.cmp(&other.0));
        Some(Action::Publish(literal_map(map)))
    }

    pub(super) fn state(&mut self, entry: &Entry) -> Option<StateAction> {
        let fields = self.0.plain().map(&entry.value, "`state`", &STATE_KEYS)?;
        if fields.misspelt {
            return None;
        }
        let operations: Vec<_> = OPERATIONS.iter().filter(|(word, _)| fields.get(word).is_some()).collect();
        let parts = TRANSACTION.iter().find(|word| fields.get(word).is_some());
        match (&operations[..], parts) {
            ([(word, takes)], None) => self.operation(&fields, word, takes),
            ([], Some(_)) => self.transaction(&fields),
            _ => {
                let message = "`state` does one thing: `get`, `put`, `delete`, or a transaction with `do`";
                let found = self.0.report().error("contradiction", entry.key_span.clone(), message);
                found.hint("write `state: { space: S, get: KEY }`, or `state: { do: [{ op: put, … }] }`");
                None
            }
        }
    }

    fn operation(&mut self, fields: &Fields<'_>, word: &str, takes: &[&str]) -> Option<StateAction> {
        let space = self.0.plain().required(fields, "space", "name the space: `space: NAME`")?;
        let mut map = vec![
            ("op".to_owned(), Template::Literal(Value::from(word))),
            ("space".to_owned(), self.0.values.template_of(space, Kind::Text, Place::default())),
        ];
        if word == "put" {
            self.0.plain().required(fields, "value", "give the value; `null` is one, and `delete` removes it")?;
        }
        for key in STATE_KEYS.iter().filter(|key| **key != "space") {
            let Some(given) = fields.get(key) else { continue };
            if *key != word && !takes.contains(key) {
                let message = format!("`{key}` means nothing beside `{word}`");
                self.0.report().error("misplaced-key", given.key_span.clone(), message).hint("take it out");
                continue;
            }
            let (name, kind) = match *key {
                own if own == word => ("key", Kind::Text),
                "version" => ("version", Kind::Number),
                "ttl" => ("ttl", Kind::Text),
                other => (other, Kind::Any),
            };
            let template = match kind {
                Kind::Any => self.0.values.template(&given.value, Place::default()),
                kind => self.0.values.template_of(given, kind, Place::default()),
            };
            map.push((name.to_owned(), template));
        }
        map.sort_by(|one, other| one.0.cmp(&other.0));
        let operations = list(vec![literal_map(map)]);
        let transaction = literal_map(vec![("do".to_owned(), operations)]);
        self.check_literal(space, &transaction);
        Some(StateAction { transaction, single: true, must_hold: true })
    }

    /// A transaction without expressions is checked at once.
    fn check_literal(&mut self, at: &Entry, transaction: &Template) {
        let Template::Literal(value) = transaction else { return };
        let read = Transaction::read(value.to_string().as_bytes());
        if let Err(error) = read.and_then(|transaction| transaction.check()) {
            self.refused(at, error);
        }
    }

    fn transaction(&mut self, fields: &Fields<'_>) -> Option<StateAction> {
        let hint = "say what is done where the conditions hold; `do: []` is nothing";
        let done = self.0.plain().required(fields, "do", hint)?;
        let mut map = Vec::new();
        for key in STATE_KEYS {
            let Some(given) = fields.get(key) else { continue };
            if !TRANSACTION.contains(&key) {
                let message = format!("`{key}` means nothing beside `do`");
                let found = self.0.report().error("misplaced-key", given.key_span.clone(), message);
                found.hint("put it on an operation: `{ op, space, key, value, version, ttl }`");
                continue;
            }
            if let NodeKind::List(items) = &given.value.kind
                && items.len() > limits::STATE_OPERATIONS_MAX
            {
                let (count, max) = (items.len(), limits::STATE_OPERATIONS_MAX);
                let message = format!("`{key}` has {count} entries, the limit is {max}");
                self.0.report().error("too-large", given.key_span.clone(), message).hint("make two steps of it");
            }
            map.push((key.to_owned(), self.0.values.template_of(given, Kind::List, Place::default())));
        }
        map.sort_by(|one, other| one.0.cmp(&other.0));
        let (transaction, must_hold) = (literal_map(map), fields.get("else").is_none());
        self.check_literal(done, &transaction);
        Some(StateAction { transaction, single: false, must_hold })
    }

    pub(super) fn with_lock(&mut self, entry: &Entry) -> Option<WithLock> {
        let lock = if matches!(entry.value.kind, NodeKind::Scalar(_)) {
            WithLock { name: self.lock_name(entry), permits: 1, wait: None }
        } else {
            let fields = self.0.plain().map(&entry.value, "`with_lock`", &LOCK_KEYS)?;
            let name = self.0.plain().required(&fields, "name", "name the lock: `with_lock: NAME`")?;
            let name = self.lock_name(name);
            let max = i64::from(limits::LOCK_PERMITS_MAX);
            let permits = fields.get("permits").and_then(|entry| self.0.plain().integer(entry, 1..=max)).unwrap_or(1);
            WithLock { name, permits, wait: fields.get("wait").and_then(|entry| self.0.plain().span(entry)) }
        };
        if let (Template::Literal(Value::String(name)), 1) = (&lock.name, lock.permits) {
            let held = self.0.values.scope.frames.iter().any(|frame| frame.mutex.as_ref() == Some(name));
            if held {
                let message = format!("a step around this one holds lock `{name}`: this one would wait for itself");
                let found = self.0.report().error("contradiction", entry.value.span.clone(), message);
                found.hint("take it out: the lock is held for all inside of that step");
            }
            self.0.frame().mutex = Some(name.clone());
        }
        Some(lock)
    }

    fn lock_name(&mut self, entry: &Entry) -> Template {
        let name = self.0.values.template_of(entry, Kind::Text, Place::default());
        if let Template::Literal(Value::String(text)) = &name
            && let Err(error) = Name::check("lock", text)
        {
            self.refused(entry, error);
        }
        name
    }

    pub(super) fn reads(&mut self, entry: &Entry) -> Option<Vec<Read>> {
        let NodeKind::Map(entries) = &entry.value.kind else {
            let message = format!("`reads` must be a map from names to keys, found {}", entry.value.kind_name());
            let found = self.0.report().error("bad-type", entry.value.span.clone(), message);
            found.hint("write `NAME: { space: S, key: K }` for each");
            return None;
        };
        let (count, max) = (entries.len(), limits::STEP_READS_MAX);
        if count > max {
            let message = format!("`reads` has {count} keys, the limit is {max}");
            let found = self.0.report().error("too-large", entry.key_span.clone(), message);
            found.hint("read the others by a `state` step of their own");
        }
        let mut reads = Vec::with_capacity(count);
        for given in entries.iter().take(max) {
            let fields = self.0.plain().map(&given.value, "an entry of `reads`", &READ_KEYS)?;
            let hint = "write `NAME: { space: S, key: K }`";
            let space = self.0.plain().required(&fields, "space", hint)?;
            let key = self.0.plain().required(&fields, "key", hint)?;
            let space = self.0.values.template_of(space, Kind::Text, Place::default());
            let key = self.0.values.template_of(key, Kind::Text, Place::default());
            reads.push(Read { name: given.key.clone(), space, key });
        }
        Some(reads)
    }

    /// Reports what a type of the product refuses.
    pub(super) fn refused(&mut self, entry: &Entry, error: consort_types::Error) {
        let found = self.0.report().error("bad-value", entry.value.span.clone(), error.message);
        if let Some(hint) = error.hint {
            found.hint(hint);
        }
    }
}

/// A list of templates, which is a literal where its only part is one.
fn list(items: Vec<Template>) -> Template {
    match &items[..] {
        [Template::Literal(value)] => Template::Literal(Value::Array(vec![value.clone()])),
        _ => Template::List(items),
    }
}
