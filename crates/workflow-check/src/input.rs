//! From a JSON Schema to rules.
//!
//! For: declared inputs of workflows, and the schemas of capabilities. Not for: evaluating inputs (`workflow` does).
//! Invariant: what is compiled accepts what the JSON Schema accepts (tests compare it with the library); a keyword that
//! the evaluator does not have is refused, never left out; nothing is fetched.

use std::collections::BTreeMap;

use consort_types::limits;
use consort_workflow::{
    Json, cel,
    schema::{Part, PartId, Pattern, Rule, Schema, Type},
};
use jsonschema::{PatternOptions, ValidationError, Validator, error::ValidationErrorKind};
use serde_json::{Map, Value};

/// Bytes that one `pattern` may take when compiled.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// Findings that one error message lists.
const FINDINGS_SHOWN_MAX: usize = 5;

/// Keywords of JSON Schema 2020-12 that constrain values, and that inputs cannot use.
const UNSUPPORTED: [&str; 3] = ["unevaluatedItems", "unevaluatedProperties", "$vocabulary"];

/// What is wrong with a schema: a message and the JSON pointer of the place.
pub(crate) type Problem = (String, String);

/// Compiles a JSON Schema (2020-12) to the rules of the evaluator.
///
/// # Errors
/// A message and the JSON pointer of the place: no schema, too large, or a keyword that is not supported.
pub fn compile_schema(schema: &Value) -> Result<Schema, (String, String)> {
    check_schema(schema)?;
    let mut compiler = Compiler { root: schema, parts: Vec::new(), named: BTreeMap::new() };
    let root = compiler.part(schema, "")?;
    // The whole may have been compiled before, as what a reference names; the last part is the root.
    if root as usize + 1 < compiler.parts.len() {
        compiler.parts.push(Part { rules: vec![Rule::All(vec![root])], default: None });
    }
    Schema::new(compiler.parts).ok_or_else(|| ("the schema nests too deep".to_owned(), String::new()))
}

/// The library's validator of a schema.
///
/// # Errors
/// As [`compile_schema`], except that every keyword of JSON Schema 2020-12 is taken.
pub fn library_validator(schema: &Value) -> Result<Validator, (String, String)> {
    check_schema(schema)?;
    build(schema).map_err(|error| (short(&error), error.schema_path().to_string()))
}

fn check_schema(schema: &Value) -> Result<(), Problem> {
    check_size(schema)?;
    jsonschema::draft202012::meta::validate(schema).map_err(|error| (short(&error), error.instance_path().to_string()))
}

/// Builds a validator of a schema that was checked; nothing is fetched, and patterns run in linear time.
fn build(schema: &Value) -> Result<Validator, ValidationError<'static>> {
    let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
    jsonschema::draft202012::options().offline().with_pattern_options(patterns).build(schema)
}

struct Compiler<'s> {
    root: &'s Value,
    parts: Vec<Part>,
    /// Parts that references name, by pointer.
    named: BTreeMap<&'s str, PartId>,
}

impl<'s> Compiler<'s> {
    /// Recursion is as deep as the schema with its references, which was checked before.
    fn part(&mut self, schema: &'s Value, at: &str) -> Result<PartId, Problem> {
        let part = match schema {
            Value::Bool(true) => Part::default(),
            Value::Bool(false) => Part { rules: vec![Rule::Never], default: None },
            Value::Object(map) => {
                let default = map.get("default").map(|value| Json(value.clone()));
                Part { rules: self.rules(map, at)?, default }
            }
            _ => return Err(("a schema must be a map, `true` or `false`".to_owned(), at.to_owned())),
        };
        self.parts.push(part);
        Ok(self.parts.len() as PartId - 1)
    }

    fn rules(&mut self, map: &'s Map<String, Value>, at: &str) -> Result<Vec<Rule>, Problem> {
        if let Some(key) = UNSUPPORTED.iter().find(|key| map.contains_key(**key)) {
            let message = format!("the keyword `{key}` is not supported in the input of a workflow");
            return Err((message, below(at, key)));
        }
        let mut rules = Vec::new();
        rules.extend(self.reference(map, at)?);
        rules.extend(map.get("type").map(types));
        rules.extend(map.get("const").map(|value| Rule::OneOf(vec![Json(value.clone())])));
        rules.extend(map.get("enum").map(|values| Rule::OneOf(list(values).iter().cloned().map(Json).collect())));
        rules.extend(number_rules(map));
        rules.extend(text_rules(map, at)?);
        self.list_rules(map, at, &mut rules)?;
        self.map_rules(map, at, &mut rules)?;
        self.combined(map, at, &mut rules)?;
        Ok(rules)
    }

    fn reference(&mut self, map: &'s Map<String, Value>, at: &str) -> Result<Option<Rule>, Problem> {
        let Some(Value::String(target)) = map.get("$ref") else { return Ok(None) };
        let known = self.named.get(target.as_str()).copied();
        let part = if let Some(part) = known {
            part
        } else {
            let missing = || (format!("`$ref` to `{target}` names nothing"), below(at, "$ref"));
            let pointer = target.strip_prefix('#').ok_or_else(missing)?;
            let found = self.root.pointer(pointer).ok_or_else(missing)?;
            self.part(found, pointer)?
        };
        self.named.insert(target, part);
        Ok(Some(Rule::All(vec![part])))
    }

    /// The part under a keyword, where it is there.
    fn under(&mut self, map: &'s Map<String, Value>, key: &str, at: &str) -> Result<Option<PartId>, Problem> {
        map.get(key).map(|schema| self.part(schema, &below(at, key))).transpose()
    }

    /// The parts of a list under a keyword.
    fn listed(&mut self, map: &'s Map<String, Value>, key: &str, at: &str) -> Result<Option<Vec<PartId>>, Problem> {
        let Some(Value::Array(schemas)) = map.get(key) else { return Ok(None) };
        let place = below(at, key);
        let parts = schemas.iter().enumerate().map(|(n, schema)| self.part(schema, &format!("{place}/{n}")));
        parts.collect::<Result<_, _>>().map(Some)
    }

    /// The parts of a map under a keyword, in order of their names.
    fn by_name(&mut self, map: &'s Map<String, Value>, key: &str, at: &str) -> Result<Vec<(String, PartId)>, Problem> {
        let Some(Value::Object(schemas)) = map.get(key) else { return Ok(Vec::new()) };
        let place = below(at, key);
        let mut parts = Vec::with_capacity(schemas.len());
        for (name, schema) in schemas {
            parts.push((name.clone(), self.part(schema, &below(&place, name))?));
        }
        parts.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(parts)
    }

    fn list_rules(&mut self, map: &'s Map<String, Value>, at: &str, rules: &mut Vec<Rule>) -> Result<(), Problem> {
        rules.extend(count(map, "minItems").map(Rule::MinItems));
        rules.extend(count(map, "maxItems").map(Rule::MaxItems));
        rules.extend((map.get("uniqueItems") == Some(&Value::Bool(true))).then_some(Rule::UniqueItems));
        let prefix = self.listed(map, "prefixItems", at)?.unwrap_or_default();
        let rest = self.under(map, "items", at)?;
        if !prefix.is_empty() || rest.is_some() {
            rules.push(Rule::Items { prefix, rest });
        }
        if let Some(part) = self.under(map, "contains", at)? {
            let min = count(map, "minContains").unwrap_or(1);
            rules.push(Rule::Contains { part, min, max: count(map, "maxContains") });
        }
        Ok(())
    }

    fn map_rules(&mut self, map: &'s Map<String, Value>, at: &str, rules: &mut Vec<Rule>) -> Result<(), Problem> {
        rules.extend(count(map, "minProperties").map(Rule::MinProperties));
        rules.extend(count(map, "maxProperties").map(Rule::MaxProperties));
        rules.extend(map.get("required").map(|names| Rule::Required(texts(names))));
        if let Some(Value::Object(dependent)) = map.get("dependentRequired") {
            let dependent = dependent.iter().map(|(name, names)| (name.clone(), texts(names)));
            rules.push(Rule::DependentRequired(dependent.collect()));
        }
        let dependent = self.by_name(map, "dependentSchemas", at)?;
        if !dependent.is_empty() {
            rules.push(Rule::DependentParts(dependent));
        }
        let named = self.by_name(map, "properties", at)?;
        let mut matching = Vec::new();
        for (text, part) in self.by_name(map, "patternProperties", at)? {
            matching.push((pattern(&text, &below(&below(at, "patternProperties"), &text))?, part));
        }
        let rest = self.under(map, "additionalProperties", at)?;
        if !named.is_empty() || !matching.is_empty() || rest.is_some() {
            rules.push(Rule::Fields { named, matching, rest });
        }
        rules.extend(self.under(map, "propertyNames", at)?.map(Rule::FieldNames));
        Ok(())
    }

    fn combined(&mut self, map: &'s Map<String, Value>, at: &str, rules: &mut Vec<Rule>) -> Result<(), Problem> {
        rules.extend(self.listed(map, "allOf", at)?.map(Rule::All));
        rules.extend(self.listed(map, "anyOf", at)?.map(Rule::Any));
        rules.extend(self.listed(map, "oneOf", at)?.map(Rule::ExactlyOne));
        rules.extend(self.under(map, "not", at)?.map(Rule::Not));
        if let Some(condition) = self.under(map, "if", at)? {
            let (then, otherwise) = (self.under(map, "then", at)?, self.under(map, "else", at)?);
            rules.push(Rule::If { condition, then, otherwise });
        }
        Ok(())
    }
}

fn number_rules(map: &Map<String, Value>) -> Vec<Rule> {
    let limit = |key: &str| map.get(key).map(|value| Json(value.clone()));
    [
        limit("minimum").map(Rule::AtLeast),
        limit("exclusiveMinimum").map(Rule::Above),
        limit("maximum").map(Rule::AtMost),
        limit("exclusiveMaximum").map(Rule::Below),
        limit("multipleOf").map(Rule::MultipleOf),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn text_rules(map: &Map<String, Value>, at: &str) -> Result<Vec<Rule>, Problem> {
    let mut rules = Vec::new();
    rules.extend(count(map, "minLength").map(Rule::MinLength));
    rules.extend(count(map, "maxLength").map(Rule::MaxLength));
    if let Some(Value::String(text)) = map.get("pattern") {
        rules.push(Rule::Pattern(pattern(text, &below(at, "pattern"))?));
    }
    Ok(rules)
}

fn types(value: &Value) -> Rule {
    let of = |name: &Value| Type::ALL.into_iter().find(|known| Some(known.name()) == name.as_str());
    let names = if let Value::Array(names) = value { names } else { std::slice::from_ref(value) };
    Rule::Types(names.iter().filter_map(of).collect())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn texts(value: &Value) -> Vec<String> {
    list(value).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// A count, which may be written as `2.0`.
#[expect(clippy::cast_sign_loss, reason = "a schema was checked: counts are not negative")]
fn count(map: &Map<String, Value>, key: &str) -> Option<u64> {
    let value = map.get(key)?;
    // A count beyond 64 bits is cut to what no document reaches.
    value.as_u64().or_else(|| value.as_f64().map(|double| double as u64))
}

fn below(at: &str, key: &str) -> String {
    format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Compiles a pattern as JSON Schema means it.
fn pattern(text: &str, at: &str) -> Result<Pattern, Problem> {
    let built = regex::RegexBuilder::new(&in_rust(text)).size_limit(PATTERN_BYTES_MAX).build();
    built.map(Pattern).map_err(|error| {
        let error = error.to_string();
        let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        let shown: String = text.chars().take(60).collect();
        (format!("`{shown}` is not a pattern: {reason}"), at.to_owned())
    })
}

/// JSON Schema's patterns are those of ECMAScript: there `\d` and `\w` mean ASCII, and brackets inside of a class are
/// characters.
fn in_rust(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let (mut escaped, mut class) = (false, false);
    for c in pattern.chars() {
        match c {
            _ if escaped => {
                escaped = false;
                match c {
                    'd' => out.push_str("[0-9]"),
                    'D' => out.push_str("[^0-9]"),
                    'w' => out.push_str("[0-9A-Za-z_]"),
                    'W' => out.push_str("[^0-9A-Za-z_]"),
                    '/' => out.push('/'),
                    c => out.extend(['\\', c]),
                }
            }
            '\\' => escaped = true,
            '[' | '&' | '~' if class => out.extend(['\\', c]),
            c => {
                class = (class || c == '[') && c != ']';
                out.push(c);
            }
        }
    }
    if escaped {
        out.push('\\');
    }
    out
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

/// Refuses schemas whose validation could take long: large ones, and references that multiply or form a cycle.
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
