//! The declared input of a workflow.
//!
//! For: `input`, as fields by name or as one JSON Schema. Not for: compiling a schema (see [`crate::input`]).
//! Invariant: a schema that cannot be compiled, or a default that does not fit, is reported at its place.

use consort_types::limits;
use consort_workflow::{InputSpec, did_you_mean, listed};
use serde_json::{Map, Value, json};

use super::{fields::PlainReader, schema_keywords};
use crate::{
    input,
    yaml::{Entry, Node, NodeKind},
};

/// The types of JSON Schema.
const TYPES: [&str; 7] = ["string", "number", "integer", "boolean", "array", "object", "null"];

/// Reads the field `input`.
pub(super) struct InputReader<'r, 's> {
    pub(super) plain: &'r mut PlainReader<'s>,
}

impl InputReader<'_, '_> {
    /// `input`: fields by name, or a whole JSON Schema where `type` is one of its types.
    pub(super) fn read(&mut self, entry: &Entry) -> Option<InputSpec> {
        let NodeKind::Map(entries) = &entry.value.kind else {
            let message = format!("`input` must be a map of fields, found {}", entry.value.kind_name());
            let found = self.plain.report.error("bad-input", entry.value.span.clone(), message);
            found.hint("write `NAME: { type: string }` for each field");
            return None;
        };
        let whole = entries.iter().any(|entry| entry.key == "type" && entry.value.as_str() == Some("object"))
            || entries.iter().any(|entry| entry.key == "$ref");
        let schema = if whole { entry.value.to_json() } else { self.input_fields(entries) };
        if whole {
            self.misspelt_keywords(&entry.value);
        } else {
            for field in entries {
                self.misspelt_keywords(&field.value);
            }
        }
        match input::compile_schema(&schema) {
            Ok(compiled) => {
                let spec = InputSpec::declare(schema, compiled);
                self.check_defaults(entry, &spec);
                Some(spec)
            }
            Err((message, pointer)) => {
                self.bad_schema(located(&entry.value, &pointer, whole), &message, &pointer);
                None
            }
        }
    }

    /// `schema` of a wait: the JSON Schema that the payload of its signal must fit, as JSON.
    pub(super) fn read_schema(&mut self, entry: &Entry) -> Option<String> {
        let schema = entry.value.to_json();
        self.misspelt_keywords(&entry.value);
        if let Err((message, pointer)) = input::library_validator(&schema) {
            self.bad_schema(located(&entry.value, &pointer, true), &message, &pointer);
            return None;
        }
        let (text, max) = (schema.to_string(), limits::SIGNAL_SCHEMA_BYTES_MAX);
        if text.len() > max {
            let message = format!("the schema has {} bytes, the limit is {max}", text.len());
            self.plain.report.error("too-large", entry.value.span.clone(), message);
            return None;
        }
        Some(text)
    }

    fn bad_schema(&mut self, place: std::ops::Range<usize>, message: &str, pointer: &str) {
        let text: String = self.plain.source.get(place.clone()).unwrap_or_default().chars().take(60).collect();
        if pointer.ends_with("/type") {
            let hint = did_you_mean(&text, TYPES).unwrap_or_else(|| format!("the types are {}", listed(TYPES)));
            self.plain.report.error("bad-schema", place, format!("`{text}` is not a type of JSON Schema")).hint(hint);
            return;
        }
        let found = self.plain.report.error("bad-schema", place, format!("not a JSON Schema: {message}"));
        if TYPES.contains(&text.as_str()) {
            found.hint(format!("write `{{ type: {text} }}`"));
        }
    }

    /// The schema of fields that were written by name. An invalid field counts as one that accepts anything.
    fn input_fields(&mut self, entries: &[Entry]) -> Value {
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for entry in entries.iter().take(limits::SCHEMA_NODES_MAX) {
            let schema = match (&entry.value.kind, entry.value.as_str()) {
                (NodeKind::Map(_), _) => entry.value.to_json(),
                (_, Some(name)) if TYPES.contains(&name) => json!({ "type": name }),
                _ if self.plain.report.is_full() => break,
                _ => {
                    let message = format!("the field `{}` must be a JSON Schema or the name of a type", entry.key);
                    let found = self.plain.report.error("bad-input", entry.value.span.clone(), message);
                    found.hint(format!("the types are {}", listed(TYPES)));
                    json!({})
                }
            };
            let (schema, needed) = without_required(schema);
            if needed && schema.get("default").is_none() {
                required.push(Value::from(entry.key.as_str()));
            }
            properties.insert(entry.key.clone(), schema);
        }
        json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
    }

    /// Warns of keywords that JSON Schema does not have: it ignores them, so a misspelt check would never be made.
    fn misspelt_keywords(&mut self, node: &Node) {
        let entries = match &node.kind {
            NodeKind::Map(entries) => entries,
            NodeKind::List(items) => return items.iter().for_each(|item| self.misspelt_keywords(item)),
            NodeKind::Scalar(_) => return,
        };
        for entry in entries {
            match (entry.key.as_str(), &entry.value.kind) {
                _ if self.plain.report.is_full() => return,
                ("properties" | "patternProperties" | "$defs" | "dependentSchemas", NodeKind::Map(inner)) => {
                    for field in inner {
                        self.misspelt_keywords(&field.value);
                    }
                }
                (key, _) if schema_keywords::SCHEMAS.contains(&key) => self.misspelt_keywords(&entry.value),
                (key, _) if schema_keywords::VALUES.contains(&key) || key.starts_with("x-") => {}
                (key, _) => {
                    let known = schema_keywords::SCHEMAS.into_iter().chain(schema_keywords::VALUES);
                    let hint = did_you_mean(key, known).unwrap_or_else(|| "it checks nothing: take it out".to_owned());
                    let message = format!("JSON Schema has no keyword `{key}`");
                    self.plain.report.warning("unknown-keyword", entry.key_span.clone(), message).hint(hint);
                }
            }
        }
    }

    /// Refuses defaults that do not fit what they are the default of.
    fn check_defaults(&mut self, entry: &Entry, spec: &InputSpec) {
        for name in spec.misfitting_defaults() {
            let message = format!("the default of `{name}` does not fit its own schema");
            let pointer = format!("/properties/{name}/default");
            let whole = matches!(&entry.value.kind, NodeKind::Map(e) if e.iter().any(|e| e.key == "properties"));
            self.plain.report.error("bad-default", located(&entry.value, &pointer, whole), message);
        }
    }
}

/// Takes `required: true|false` out of a field's schema; in JSON Schema `required` is a list, and stays.
fn without_required(mut schema: Value) -> (Value, bool) {
    let flag = schema.get("required").and_then(Value::as_bool);
    if let (Some(_), Some(map)) = (flag, schema.as_object_mut()) {
        map.remove("required");
    }
    (schema, flag.unwrap_or(true))
}

/// The place of a JSON pointer into a schema, as near as it goes.
fn located(node: &Node, pointer: &str, whole: bool) -> std::ops::Range<usize> {
    let skipped = if whole { 1 } else { 2 };
    let mut node = node;
    let mut place = node.span.clone();
    for part in pointer.split('/').skip(skipped) {
        let part = part.replace("~1", "/").replace("~0", "~");
        node = match &node.kind {
            NodeKind::Map(entries) => match entries.iter().find(|entry| entry.key == part) {
                Some(entry) => &entry.value,
                None => break,
            },
            NodeKind::List(items) => match part.parse::<usize>().ok().and_then(|at| items.get(at)) {
                Some(item) => item,
                None => break,
            },
            NodeKind::Scalar(_) => break,
        };
        place = node.span.clone();
    }
    place
}
