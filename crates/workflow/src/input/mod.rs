//! What a run may be started with.
//!
//! For: checking a run's input, and filling in defaults. Not for: checking capability schemas, which the library of
//! `workflow-check` does outside of the machine.
//! Invariant: the same input gives the same answer and the same words on every machine and in every build; the work
//! is counted, and ends at `limits::VALIDATION_COST_MAX`.

mod compare;
mod evaluate;
pub mod schema;

use consort_types::{Code, Error, limits};
use minicbor::{Decode, Encode};
use serde_json::{Map, Value};

pub use self::evaluate::Finding;
use self::{
    evaluate::{Evaluation, Outcome},
    schema::{PartId, Rule, Schema},
};
use crate::{cel, form::json::Json};

/// The declared input of a workflow.
#[derive(Clone, Debug, Default, Encode, Decode)]
pub struct InputSpec {
    #[n(0)]
    declared: Option<Declared>,
}

#[derive(Clone, Debug, Encode, Decode)]
struct Declared {
    /// As its author declared it, to be shown and for the types of expressions; never evaluated.
    #[n(0)]
    json: Json,
    #[n(1)]
    schema: Schema,
}

impl InputSpec {
    /// An input declared by a JSON Schema, which `schema` was compiled from.
    pub fn declare(json: Value, schema: Schema) -> Self {
        Self { declared: Some(Declared { json: Json(json), schema }) }
    }

    /// The JSON Schema of the whole input; `None` where the workflow declares nothing and accepts anything.
    pub fn schema(&self) -> Option<&Value> {
        self.declared.as_ref().map(|declared| &declared.json.0)
    }

    /// Checks an input and fills in defaults; null means an empty map where one is declared.
    ///
    /// # Errors
    /// [`Code::BadInput`] with the first findings; [`Code::LimitReached`] where the input is nested too deep, or
    /// checking it costs more than [`limits::VALIDATION_COST_MAX`].
    pub fn accept(&self, input: &Value) -> Result<Value, Error> {
        self.accept_counted(input, &mut 0)
    }

    /// As [`InputSpec::accept`]; adds what the check cost to `cost`, also where the input is refused.
    pub fn accept_counted(&self, input: &Value, cost: &mut u64) -> Result<Value, Error> {
        cel::check_depth(input)?;
        let Some(Declared { json, schema }) = &self.declared else { return Ok(input.clone()) };
        let fields = json.0.get("type").and_then(Value::as_str) == Some("object");
        let mut input = if fields && input.is_null() { Value::Object(Map::new()) } else { input.clone() };
        fill_defaults(schema, schema.root(), &mut input);
        let mut evaluation = Evaluation::new(schema, limits::VALIDATION_COST_MAX);
        let outcome = evaluation.run("input", &input);
        *cost += evaluation.cost();
        match outcome {
            Outcome::Fits => Ok(input),
            Outcome::Wrong(findings, more) => Err(refusal(&findings, more)),
            Outcome::TooCostly => Err(Error::new(
                Code::LimitReached,
                format!(
                    "checking the input against the workflow's `input` costs more than {} units",
                    limits::VALIDATION_COST_MAX
                ),
            )
            .hint("send fewer items, or declare fewer alternatives for each")),
        }
    }

    /// Whether the default of each declared field fits the field's own schema; gives the names of those that do not.
    pub fn misfitting_defaults(&self) -> Vec<&str> {
        let Some(Declared { schema, .. }) = &self.declared else { return Vec::new() };
        let fields = fields_of(schema, schema.root());
        let misfits = fields.filter(|(_, part)| {
            schema.part(*part).default.as_ref().is_some_and(|default| {
                let mut evaluation = Evaluation::new(schema, limits::VALIDATION_COST_MAX);
                !evaluation.fits(*part, &default.0)
            })
        });
        misfits.map(|(name, _)| name).collect()
    }
}

fn refusal(findings: &[Finding], more: bool) -> Error {
    let texts: Vec<&str> = findings.iter().map(|finding| finding.message.as_str()).collect();
    let more = if more { "; and more" } else { "" };
    Error::new(Code::BadInput, format!("{}{more}", texts.join("; ")))
        .hint("compare the input with the workflow's `input`")
}

/// The fields that a part declares by name.
fn fields_of(schema: &Schema, part: PartId) -> impl Iterator<Item = (&str, PartId)> {
    let rules = schema.part(part).rules.iter();
    let named = rules.filter_map(|rule| if let Rule::Fields { named, .. } = rule { Some(named) } else { None });
    named.flatten().map(|(name, part)| (name.as_str(), *part))
}

/// Puts in the `default` of each declared field that is missing, also in nested maps that are there.
fn fill_defaults(schema: &Schema, part: PartId, value: &mut Value) {
    let Value::Object(map) = value else { return };
    for (name, field) in fields_of(schema, part) {
        if let Some(default) = &schema.part(field).default
            && !map.contains_key(name)
        {
            map.insert(name.to_owned(), default.0.clone());
        }
        if let Some(inner) = map.get_mut(name) {
            fill_defaults(schema, field, inner);
        }
    }
}
