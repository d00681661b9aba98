//! From source text to a checked definition.
//!
//! For: [`check`](crate::check). Not for: evaluating.
//! Invariant: reads on after an error as far as that helps, so that all findings come at once; a definition is
//! given only where there was no error.

mod action;
mod fields;
mod order;
mod route;
mod schema_keywords;
mod scope;
mod step;
mod values;

#[cfg(test)]
pub(crate) use self::{action::LATER, step::STEP_KEYS};

use std::sync::Arc;

use consort_types::limits;
use consort_workflow::{Block, BlockId, CompiledWorkflow, Definition, InputSpec, did_you_mean, listed};
use serde_json::{Map, Value, json};

use self::{
    fields::Fields,
    scope::{Frame, Scope},
    values::Place,
};
use crate::{
    Checked, Diagnostics,
    diagnostic::Report,
    input,
    yaml::{self, Entry, Node, NodeKind},
};

/// The types of JSON Schema.
const TYPES: [&str; 7] = ["string", "number", "integer", "boolean", "array", "object", "null"];

/// The keys of a workflow file, in the order of the reference.
pub(crate) const ROOT_KEYS: [&str; 7] = ["workflow", "version", "description", "input", "steps", "output", "timeout"];

pub(crate) fn parse(source: &str) -> Result<Checked, Diagnostics> {
    let mut report = Report::new(source);
    if source.len() > limits::WORKFLOW_BYTES_MAX {
        let message = format!("the file has {} bytes, the limit is {}", source.len(), limits::WORKFLOW_BYTES_MAX);
        report.error("too-large", 0..0, message).hint("split the workflow, or pass data as input");
        return Err(report.finish().0);
    }
    let Some(root) = yaml::read(source, &mut report) else { return Err(report.finish().0) };
    let mut reader = Reader {
        source,
        report,
        blocks: Vec::new(),
        scope: Scope::default(),
        input: InputSpec::default(),
        steps: 0,
        expression_bytes: 0,
    };
    let definition = reader.workflow(&root);
    let compiled = definition.as_ref().map(|definition| compile(definition, source, &mut reader.report));
    let (errors, warnings) = reader.report.finish();
    match (definition, compiled) {
        (Some(definition), Some(compiled)) if errors.0.is_empty() => Ok(Checked { definition, compiled, warnings }),
        _ => Err(errors),
    }
}

/// The normal form. It may be larger than the text: YAML can name a part once and use it often.
fn compile(definition: &Definition, source: &str, report: &mut Report<'_>) -> CompiledWorkflow {
    let compiled = CompiledWorkflow::new(definition, source, env!("CARGO_PKG_VERSION"));
    let (bytes, max) = (compiled.normal_form.len(), limits::NORMAL_FORM_BYTES_MAX);
    if bytes > max {
        let message = format!("the normal form of the workflow has {bytes} bytes, the limit is {max}");
        report.error("too-large", 0..0, message).hint("use fewer aliases, or pass data as input");
    }
    compiled
}

/// What is known while a source is being read.
struct Reader<'s> {
    source: &'s str,
    report: Report<'s>,
    blocks: Vec<Block>,
    scope: Scope,
    input: InputSpec,
    /// Steps read so far.
    steps: usize,
    /// Bytes of expressions read so far.
    expression_bytes: usize,
}

impl Reader<'_> {
    fn workflow(&mut self, root: &Node) -> Option<Definition> {
        let fields = self.fields(root, "a workflow file", &ROOT_KEYS)?;
        let name = match self.required(&fields, "workflow", "name the workflow: `workflow: NAME`") {
            Some(entry) => self.name("workflow name", &entry.value),
            None => None,
        };
        let version = fields.get("version").and_then(|entry| self.version(entry));
        let description = fields.get("description").and_then(|entry| self.text(entry)).unwrap_or_default();
        if let Some(entry) = fields.get("input") {
            self.input = self.declared_input(entry).unwrap_or_default();
        }
        let timeout = fields.get("timeout").and_then(|entry| self.span(entry));
        let steps = self.required(&fields, "steps", "a workflow has at least one step, under `steps:`")?;
        self.scope.remember(&steps.value);
        self.block(steps, None);
        let output = fields.get("output").map(|entry| {
            self.scope.frames.push(Frame::of(&self.blocks[0]));
            let template = self.template(&entry.value, Place::default());
            self.scope.frames.pop();
            template
        });
        Some(Definition {
            name: name?,
            version,
            description,
            input: std::mem::take(&mut self.input),
            blocks: std::mem::take(&mut self.blocks),
            output,
            timeout,
        })
    }

    fn required<'n>(&mut self, fields: &Fields<'n>, key: &'static str, hint: &str) -> Option<&'n Entry> {
        let found = fields.get(key);
        if found.is_none() {
            let message = format!("`{key}` is missing");
            self.report.error("missing-key", fields.place.clone(), message).hint(hint);
        }
        found
    }

    /// A text, or a number as it was written: `1.10` is not `1.1`.
    fn version(&mut self, entry: &Entry) -> Option<String> {
        match &entry.value.kind {
            NodeKind::Scalar(Value::Number(_)) => {
                let text = self.source.get(entry.value.span.clone())?;
                Some(text.to_owned())
            }
            _ => self.name("version", &entry.value),
        }
    }

    /// `input`: fields by name, or a whole JSON Schema where `type` is one of its types.
    fn declared_input(&mut self, entry: &Entry) -> Option<InputSpec> {
        let NodeKind::Map(entries) = &entry.value.kind else {
            let message = format!("`input` must be a map of fields, found {}", entry.value.kind_name());
            let found = self.report.error("bad-input", entry.value.span.clone(), message);
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

    fn bad_schema(&mut self, place: std::ops::Range<usize>, message: &str, pointer: &str) {
        let text: String = self.source.get(place.clone()).unwrap_or_default().chars().take(60).collect();
        if pointer.ends_with("/type") {
            let hint = did_you_mean(&text, TYPES).unwrap_or_else(|| format!("the types are {}", listed(TYPES)));
            self.report.error("bad-schema", place, format!("`{text}` is not a type of JSON Schema")).hint(hint);
            return;
        }
        let found = self.report.error("bad-schema", place, format!("not a JSON Schema: {message}"));
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
                _ if self.report.is_full() => break,
                _ => {
                    let message = format!("the field `{}` must be a JSON Schema or the name of a type", entry.key);
                    let found = self.report.error("bad-input", entry.value.span.clone(), message);
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
                _ if self.report.is_full() => return,
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
                    self.report.warning("unknown-keyword", entry.key_span.clone(), message).hint(hint);
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
            self.report.error("bad-default", located(&entry.value, &pointer, whole), message);
        }
    }

    fn frame(&mut self) -> &mut Frame {
        let last = self.scope.frames.len() - 1;
        &mut self.scope.frames[last]
    }

    /// Makes room for a block; its id is known before its steps are read.
    fn open_block(&mut self, parent: Option<(BlockId, usize)>) -> BlockId {
        self.blocks.push(Block { steps: Vec::new(), parent });
        BlockId(self.blocks.len() as u32 - 1)
    }

    fn arc(name: &str) -> Arc<str> {
        Arc::from(name)
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
