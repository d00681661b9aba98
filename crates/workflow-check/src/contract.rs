//! What a capability declares that its documents look like.
//!
//! For: compiling a declared schema once, and checking documents against it. Not for: the inputs of workflows (see
//! `consort_workflow::InputSpec`), which have defaults besides.
//! Invariant: as for inputs: nothing is fetched, and a validation's work is bounded by `limits::SCHEMA_NODES_MAX` for
//! each value of the document.

use std::collections::BTreeSet;

use consort_types::{Code, Error, limits};
use jsonschema::Validator;
use serde_json::Value;

use crate::input;

/// The only dialect; schemas may name it.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// A schema that does not accept everything, ready to check with.
#[derive(Clone, Debug)]
pub struct Contract {
    validator: Validator,
}

impl Contract {
    /// Compiles a declared JSON Schema (2020-12); `None` where it accepts everything. `what` names it in errors.
    ///
    /// # Errors
    /// [`Code::BadRequest`] where it is no schema, or one whose validation could take long, with the place in it.
    pub fn compile(what: &str, schema: &Value) -> Result<Option<Self>, Error> {
        let empty = |map: &serde_json::Map<_, _>| map.keys().all(|key: &String| ANNOTATIONS.contains(&key.as_str()));
        if matches!(schema, Value::Bool(true) | Value::Null) || schema.as_object().is_some_and(empty) {
            return Ok(None);
        }
        let mut schema = without_annotations(schema);
        break_circles(&mut schema);
        let compiled = input::library_validator(&schema);
        compiled.map(|validator| Some(Self { validator })).map_err(|(message, pointer)| {
            let place = if pointer.is_empty() { String::new() } else { format!(" at `{pointer}`") };
            Error::new(Code::BadRequest, format!("{what} cannot be used{place}: {message}"))
                .hint("declare a JSON Schema (2020-12), or `true` to accept anything")
        })
    }

    /// Checks a document, which errors call `root`; the message names the paths of what does not fit.
    pub fn check(&self, root: &str, document: &Value) -> Result<(), String> {
        if self.validator.is_valid(document) {
            return Ok(());
        }
        Err(input::findings(&self.validator, root, document))
    }
}

/// Keywords at the root of a schema that do not constrain documents.
const ANNOTATIONS: [&str; 6] = ["$schema", "$id", "$comment", "title", "description", "examples"];

/// A schema without the names that generators put on it: its dialect, where it is ours, and its own address.
fn without_annotations(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Value::Object(map) = &mut schema {
        map.remove("$id");
    }
    forget_dialect(&mut schema);
    schema
}

/// Schemas that were assembled from generated ones name their dialect in each part.
fn forget_dialect(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            let ours = |dialect: &str| dialect.trim_end_matches('#') == DIALECT;
            if map.get("$schema").and_then(Value::as_str).is_some_and(ours) {
                map.remove("$schema");
            }
            map.values_mut().for_each(forget_dialect);
        }
        Value::Array(parts) => parts.iter_mut().for_each(forget_dialect),
        _ => {}
    }
}

/// Keywords whose values are documents and not schemas.
const DOCUMENTS: [&str; 5] = ["enum", "const", "default", "examples", "example"];

/// Cuts references that lead back to a schema that contains them: a tree is checked down to its first branches, and
/// what is below accepts everything. Following such references would let a document decide how long its check takes.
fn break_circles(schema: &mut Value) {
    let mut search = Circles { root: schema, open: vec![String::new()], found: BTreeSet::new(), steps: 0 };
    search.look(schema, "", 0);
    let found = search.found;
    for place in found {
        if let Some(Value::Object(map)) = schema.pointer_mut(&place) {
            map.remove("$ref");
        }
    }
}

/// Finds references that form a cycle.
struct Circles<'a> {
    root: &'a Value,
    /// Places whose parts are being visited.
    open: Vec<String>,
    /// Places of references that lead back.
    found: BTreeSet<String>,
    steps: usize,
}

impl Circles<'_> {
    fn look(&mut self, at: &Value, place: &str, depth: usize) {
        self.steps += 1;
        // What is larger or deeper is refused when it is compiled.
        if self.steps > limits::SCHEMA_NODES_MAX || depth > limits::NESTING_DEPTH_MAX {
            return;
        }
        match at {
            Value::Array(parts) => {
                for (n, part) in parts.iter().enumerate() {
                    self.look(part, &format!("{place}/{n}"), depth + 1);
                }
            }
            Value::Object(map) => {
                self.follow(map.get("$ref"), place, depth);
                for (key, part) in map.iter().filter(|(key, _)| !DOCUMENTS.contains(&key.as_str())) {
                    let key = key.replace('~', "~0").replace('/', "~1");
                    self.look(part, &format!("{place}/{key}"), depth + 1);
                }
            }
            _ => {}
        }
    }

    fn follow(&mut self, reference: Option<&Value>, place: &str, depth: usize) {
        let Some(target) = reference.and_then(Value::as_str).and_then(|text| text.strip_prefix('#')) else { return };
        if self.open.iter().any(|open| open == target) {
            self.found.insert(place.to_owned());
        } else if let Some(next) = self.root.pointer(target) {
            self.open.push(target.to_owned());
            self.look(next, target, depth + 1);
            self.open.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_tree_is_checked_down_to_its_first_branches() {
        let tree = json!({
            "$ref": "#/$defs/Tree",
            "$defs": {"Tree": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "below": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}},
                "required": ["name"]
            }}
        });
        let contract = Contract::compile("it", &tree).unwrap().unwrap();
        contract.check("$", &json!({"name": "a", "below": [{"name": "b", "below": []}]})).unwrap();
        for wrong in [json!({"below": []}), json!({"name": 1}), json!({"name": "a", "below": 2})] {
            assert!(contract.check("$", &wrong).is_err(), "{wrong}");
        }
        let own = json!({"type": "object", "properties": {"a": {"$ref": "#"}}});
        let contract = Contract::compile("it", &own).unwrap().unwrap();
        contract.check("$", &json!({"a": {"a": {}}})).unwrap();
        assert!(contract.check("$", &json!(1)).is_err());
    }

    #[test]
    fn what_accepts_everything_costs_nothing() {
        for schema in [json!(true), json!({}), json!(null), json!({"$schema": DIALECT, "title": "Anything"})] {
            assert!(Contract::compile("it", &schema).unwrap().is_none(), "{schema}");
        }
        assert!(Contract::compile("it", &json!(false)).unwrap().is_some());
    }

    #[test]
    fn the_path_of_what_does_not_fit_is_named() {
        let schema = json!({
            "$schema": DIALECT, "$id": "https://example.com/a",
            "type": "object", "required": ["items"],
            "properties": {"items": {"type": "array", "items": {"$ref": "#/$defs/item"}}},
            "$defs": {"item": {"$schema": DIALECT, "type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}},
        });
        let contract = Contract::compile("it", &schema).unwrap().unwrap();
        contract.check("output", &json!({"items": [{"n": 1}]})).unwrap();
        let message = contract.check("output", &json!({"items": [{"n": 1}, {"n": "x"}, {}]})).unwrap_err();
        assert!(message.contains("`output.items[1].n` is a text"), "{message}");
        assert!(message.contains("`output.items[2].n` is missing"), "{message}");
    }

    #[test]
    fn a_schema_that_cannot_be_used_is_refused_with_its_reason() {
        for (schema, reason) in [
            (json!({"type": "objekt"}), "`/type`"),
            (json!({"$ref": "https://example.com/a"}), "only places in this schema"),
            (json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}), "$schema"),
        ] {
            let error = Contract::compile("the input schema of `x`", &schema).unwrap_err();
            assert!(error.code == Code::BadRequest && error.message.contains(reason), "{error}");
            assert!(error.message.contains("the input schema of `x`"), "{error}");
        }
    }
}
