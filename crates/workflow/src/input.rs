//! What a run may be started with.
//!
//! For: checking a run's input. Not for: checking capability schemas.
//! Invariant: the same input gives the same answer and the same message on every machine; nothing is fetched, and a
//! validation's work is bounded by `limits::SCHEMA_NODES_MAX` for each value of the input.

use consort_types::{Code, Error, limits};
use jsonschema::{PatternOptions, ValidationError, Validator, error::ValidationErrorKind};
use serde_json::{Map, Value, json};

use crate::cel;

/// Bytes that one `pattern` may take when compiled.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// Findings that one error message lists.
const FINDINGS_SHOWN_MAX: usize = 5;

/// The declared input of a workflow.
#[derive(Clone, Debug, Default)]
pub struct InputSpec {
    declared: Option<Declared>,
}

#[derive(Clone, Debug)]
struct Declared {
    schema: Value,
    validator: Validator,
}

impl InputSpec {
    /// Compiles a schema. The error is a message and the JSON pointer of the place in the schema.
    pub(crate) fn declare(schema: Value) -> Result<Self, (String, String)> {
        let validator = compile(&schema)?;
        Ok(Self { declared: Some(Declared { schema, validator }) })
    }

    /// Whether the default of a field, where it has one, fits the field's own schema.
    pub(crate) fn default_fits(&self, name: &str, field: &Value) -> bool {
        let Some(default) = field.get("default") else { return true };
        let shared = self.schema().and_then(|schema| schema.get("$defs"));
        let alone = json!({"$defs": shared.unwrap_or(&json!({})), "properties": { name: field }});
        build(&alone).is_ok_and(|validator| validator.is_valid(&json!({ name: default })))
    }

    /// The JSON Schema of the whole input; `None` where the workflow declares nothing and takes anything.
    pub fn schema(&self) -> Option<&Value> {
        self.declared.as_ref().map(|declared| &declared.schema)
    }

    /// Checks an input and fills in defaults; null stands for an empty map where one is declared.
    pub fn accept(&self, input: &Value) -> Result<Value, Error> {
        cel::check_depth(input)?;
        let Some(Declared { schema, validator }) = &self.declared else { return Ok(input.clone()) };
        let fields = schema.get("type").and_then(Value::as_str) == Some("object");
        let mut input = if fields && input.is_null() { Value::Object(Map::new()) } else { input.clone() };
        fill_defaults(schema, &mut input);
        if validator.is_valid(&input) {
            return Ok(input);
        }
        Err(Error::new(Code::BadInput, findings(validator, "input", &input))
            .hint("compare the input with the workflow's `input`"))
    }
}

/// Checks and compiles a schema. The error is a message and the JSON pointer of the place in the schema.
pub(crate) fn compile(schema: &Value) -> Result<Validator, (String, String)> {
    check_size(schema)?;
    if let Err(error) = jsonschema::draft202012::meta::validate(schema) {
        return Err((short(&error), error.instance_path().to_string()));
    }
    build(schema).map_err(|error| (short(&error), error.schema_path().to_string()))
}

/// Everything that is wrong with a document, called `root`, in one message.
pub(crate) fn findings(validator: &Validator, root: &str, document: &Value) -> String {
    let mut findings: Vec<String> = validator.iter_errors(document).map(|error| finding(root, &error)).collect();
    findings.sort();
    findings.dedup();
    let more = findings.len().saturating_sub(FINDINGS_SHOWN_MAX);
    findings.truncate(FINDINGS_SHOWN_MAX);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!("{}{more}", findings.join("; "))
}

/// Compiles a schema that was checked; nothing is fetched, and patterns run in linear time.
fn build(schema: &Value) -> Result<Validator, ValidationError<'static>> {
    let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
    jsonschema::draft202012::options().offline().with_pattern_options(patterns).build(schema)
}

/// Puts in the `default` of each declared field that is missing, also in nested maps that are there.
fn fill_defaults(schema: &Value, value: &mut Value) {
    let (Some(properties), Value::Object(map)) = (schema.get("properties").and_then(Value::as_object), value) else {
        return;
    };
    for (name, field) in properties {
        if let Some(default) = field.get("default")
            && !map.contains_key(name)
        {
            map.insert(name.clone(), default.clone());
        }
        if let Some(inner) = map.get_mut(name) {
            fill_defaults(field, inner);
        }
    }
}

/// One finding about a document: the path of the field, and what is wrong with it.
fn finding(root: &str, error: &ValidationError<'_>) -> String {
    let pointer = error.instance_path().to_string();
    let path = format!("{root}{}", path(&pointer));
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            format!("`{path}.{}` is missing", property.as_str().unwrap_or_default())
        }
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let names: Vec<String> =
                unexpected.iter().take(FINDINGS_SHOWN_MAX).map(|name| format!("`{path}.{name}`")).collect();
            format!("{} not declared", names.join(" and ") + if names.len() > 1 { " are" } else { " is" })
        }
        ValidationErrorKind::Type { .. } => {
            format!("`{path}` is {}, {}", cel::kind_name(error.instance()), short(error).replace("value is ", ""))
        }
        _ => format!("`{path}`: {}", short(error)),
    }
}

/// The library's message without the value itself, which may be large or private.
fn short(error: &ValidationError<'_>) -> String {
    error.masked().to_string().replace('"', "`").chars().take(200).collect()
}

/// A JSON pointer as the path that an expression would use.
fn path(pointer: &str) -> String {
    let segments = pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~"));
    let written = segments.map(|part| {
        let position = part.bytes().all(|byte| byte.is_ascii_digit());
        if position { format!("[{part}]") } else { format!(".{part}") }
    });
    written.collect()
}

/// Refuses schemas whose validation could take long: large ones, and references that multiply or go round.
fn check_size(schema: &Value) -> Result<(), (String, String)> {
    let mut counter = Counter { root: schema, nodes: 0, references: Vec::new() };
    counter.count(schema, 0)
}

struct Counter<'s> {
    root: &'s Value,
    nodes: usize,
    /// References that are being followed.
    references: Vec<&'s str>,
}

impl<'s> Counter<'s> {
    fn count(&mut self, schema: &'s Value, depth: usize) -> Result<(), (String, String)> {
        self.nodes += 1;
        if self.nodes > limits::SCHEMA_NODES_MAX || depth > limits::NESTING_DEPTH_MAX {
            let message = format!(
                "the schema has more than {} parts or {} levels, references counted each time",
                limits::SCHEMA_NODES_MAX,
                limits::NESTING_DEPTH_MAX
            );
            return Err((message, String::new()));
        }
        match schema {
            Value::Array(items) => items.iter().try_for_each(|item| self.count(item, depth + 1)),
            Value::Object(map) => map.iter().try_for_each(|(key, value)| self.entry(key, value, depth)),
            _ => Ok(()),
        }
    }

    fn entry(&mut self, key: &'s str, value: &'s Value, depth: usize) -> Result<(), (String, String)> {
        let refuse = |message: String| Err((message, String::new()));
        match (key, value) {
            ("$dynamicRef" | "$dynamicAnchor" | "$id" | "$schema" | "$anchor", Value::String(_)) => {
                refuse(format!("`{key}` is not supported in an input schema"))
            }
            ("$ref", Value::String(target)) => {
                let Some(found) = target.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer)) else {
                    return refuse(format!(
                        "`$ref` to `{target}`: only places in this schema, such as `#/$defs/NAME`, can be named"
                    ));
                };
                if self.references.contains(&target.as_str()) {
                    return refuse(format!("`$ref` to `{target}` goes round in a circle"));
                }
                self.references.push(target);
                let result = self.count(found, depth + 1);
                self.references.pop();
                result
            }
            _ => self.count(value, depth + 1),
        }
    }
}
