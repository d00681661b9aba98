//! Maps with known keys, and plain values in them.
//!
//! For: telling what was written from what can be written. Not for: expressions.
//! Invariant: a value that does not fit is reported at its field, and parsing continues.

use std::ops::{Range, RangeInclusive};

use consort_types::{Name, Span, limits};
use consort_workflow::{did_you_mean, listed};
use serde_json::Value;

use super::habits::instead_of;
use crate::{
    diagnostic::Report,
    yaml::{Entry, Node, NodeKind},
};

/// How many items may run at once.
pub(super) fn fan_out() -> RangeInclusive<i64> {
    1..=i64::try_from(limits::FAN_OUT_ITEMS_MAX).unwrap_or(i64::MAX)
}

/// The fields of a map whose keys were checked.
pub(super) struct Fields<'n> {
    entries: &'n [Entry],
    /// Where to report that a field is missing.
    pub(super) place: Range<usize>,
    /// Whether there are keys that mean nothing.
    pub(super) misspelt: bool,
}

impl<'n> Fields<'n> {
    pub(super) fn get(&self, key: &str) -> Option<&'n Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

/// Reads plain values, and reports those that do not fit.
pub(super) struct PlainReader<'s> {
    pub(super) source: &'s str,
    pub(super) report: Report<'s>,
}

impl PlainReader<'_> {
    /// Reads a map and reports its unknown keys. `what` names it: `a step`.
    pub(super) fn map<'n>(&mut self, node: &'n Node, what: &str, allowed: &[&str]) -> Option<Fields<'n>> {
        let NodeKind::Map(entries) = &node.kind else {
            let message = format!("{what} must be a map, found {}", node.kind_name());
            let found = self.report.error("bad-type", node.span.clone(), message);
            found.hint(format!("its keys are {}", listed(allowed.iter().copied())));
            return None;
        };
        let mut misspelt = false;
        for entry in entries.iter().filter(|entry| !allowed.contains(&entry.key.as_str())) {
            misspelt = true;
            if self.report.is_full() {
                break;
            }
            self.unknown_key(entry, what, allowed);
        }
        let place = entries.first().map_or(node.span.clone(), |entry| entry.key_span.clone());
        Some(Fields { entries, place, misspelt })
    }

    pub(super) fn required<'n>(&mut self, fields: &Fields<'n>, key: &'static str, hint: &str) -> Option<&'n Entry> {
        let found = fields.get(key);
        if found.is_none() {
            let message = format!("`{key}` is missing");
            self.report.error("missing-key", fields.place.clone(), message).hint(hint);
        }
        found
    }

    /// A text, or a number as it was written: `1.10` is not `1.1`.
    pub(super) fn version(&mut self, entry: &Entry) -> Option<String> {
        match &entry.value.kind {
            NodeKind::Scalar(Value::Number(_)) => {
                let text = self.source.get(entry.value.span.clone())?;
                Some(text.to_owned())
            }
            _ => self.name("version", &entry.value),
        }
    }

    fn unknown_key(&mut self, entry: &Entry, what: &str, allowed: &[&str]) {
        let key: String = entry.key.chars().take(60).collect();
        let known = instead_of(&key, allowed).or_else(|| did_you_mean(&key, allowed.iter().copied()));
        let hint = known.unwrap_or_else(|| match key.as_str() {
            "<<" => "merge keys are not supported: write the keys out, or repeat a whole value by an alias".to_owned(),
            _ => format!("its keys are {}", listed(allowed.iter().copied())),
        });
        let message = format!("{what} has no key `{key}`");
        self.report.error("unknown-key", entry.key_span.clone(), message).hint(hint);
    }

    fn bad_type(&mut self, entry: &Entry, wanted: &str) {
        let message = format!("`{}` must be {wanted}, found {}", entry.key, entry.value.kind_name());
        self.report.error("bad-type", entry.value.span.clone(), message);
    }

    pub(super) fn text(&mut self, entry: &Entry) -> Option<String> {
        let text = entry.value.as_str();
        if text.is_none() {
            self.bad_type(entry, "a text");
        }
        text.map(str::to_owned)
    }

    /// A literal name; `what` names its owner in the report.
    pub(super) fn name(&mut self, what: &str, node: &Node) -> Option<String> {
        let Some(text) = node.as_str() else {
            let message = format!("the {what} must be a text, found {}", node.kind_name());
            self.report.error("bad-name", node.span.clone(), message);
            return None;
        };
        match Name::check(what, text) {
            Ok(()) => Some(text.to_owned()),
            Err(error) => {
                let found = self.report.error("bad-name", node.span.clone(), error.message);
                if text.contains("${{") {
                    found.hint(format!("the {what} must be known before a run: it cannot be an expression"));
                } else if let Some(hint) = error.hint {
                    found.hint(hint);
                }
                None
            }
        }
    }

    /// A literal duration above zero.
    pub(super) fn span(&mut self, entry: &Entry) -> Option<Span> {
        const HINT: &str = "write a number and a unit, such as `30s`, `1h30m` or `250ms`";
        let Some(text) = entry.value.as_str() else {
            let message = format!("`{}` must be a duration, found {}", entry.key, entry.value.kind_name());
            self.report.error("bad-duration", entry.value.span.clone(), message).hint(HINT);
            return None;
        };
        match text.parse::<Span>() {
            Ok(span) if span > Span::ZERO => Some(span),
            Ok(_) => {
                let message = format!("`{}` must be longer than zero", entry.key);
                self.report.error("bad-duration", entry.value.span.clone(), message);
                None
            }
            Err(error) => {
                self.report.error("bad-duration", entry.value.span.clone(), error.message).hint(HINT);
                None
            }
        }
    }

    /// A literal whole number within limits.
    pub(super) fn integer<T>(&mut self, entry: &Entry, range: RangeInclusive<i64>) -> Option<T>
    where
        T: TryFrom<i64>,
    {
        let number = match &entry.value.kind {
            NodeKind::Scalar(Value::Number(number)) => number.as_i64().or(number.as_u64().map(|_| i64::MAX)),
            _ => None,
        };
        let Some(number) = number else {
            self.bad_type(entry, "a whole number");
            return None;
        };
        if !range.contains(&number) {
            let message = format!("`{}` is {number}, but must be from {} to {}", entry.key, range.start(), range.end());
            self.report.error("out-of-range", entry.value.span.clone(), message);
            return None;
        }
        T::try_from(number).ok()
    }

    pub(super) fn boolean(&mut self, entry: &Entry) -> Option<bool> {
        if let NodeKind::Scalar(Value::Bool(value)) = &entry.value.kind {
            return Some(*value);
        }
        self.bad_type(entry, "`true` or `false`");
        None
    }

    /// One word of several.
    pub(super) fn word<T: Copy>(&mut self, entry: &Entry, words: &[(&str, T)]) -> Option<T> {
        let text = entry.value.as_str();
        let found = words.iter().find(|(word, _)| Some(*word) == text).map(|(_, value)| *value);
        if found.is_none() {
            let names = || words.iter().map(|(word, _)| *word);
            let message = format!("`{}` must be one of {}", entry.key, listed(names()));
            let error = self.report.error("bad-value", entry.value.span.clone(), message);
            if let Some(hint) = text.and_then(|text| did_you_mean(text, names())) {
                error.hint(hint);
            }
        }
        found
    }
}
