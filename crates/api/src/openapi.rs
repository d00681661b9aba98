//! The OpenAPI document.
//!
//! For: describing the interface to programs, and to the generators of clients. Not for: prose (see
//! `docs/http-api.md`).
//! Invariant: the same build gives the same bytes.

use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{
    Accepts, Entry, Form, NAMESPACE_DEFAULT, Param, Place, Problem, Returns, Scope, Spec, events::CloudEvent,
    operations,
};

/// The OpenAPI 3.1 document of the interface, as `GET /v1/openapi.json` answers it.
pub fn openapi() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for entry in operations() {
        let item = paths.entry(entry.spec.path).or_insert_with(|| json!({}));
        item[entry.spec.method.as_str().to_ascii_lowercase()] = operation(entry, &mut generator);
    }
    let problem = generator.subschema_for::<Problem>();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Consort",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Durable workflows of agents: deploy, run, watch, operate.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{}, { "token": [] }],
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "responses": {
                "Problem": {
                    "description": "A refusal, with a stable code.",
                    "content": { "application/problem+json": { "schema": problem } },
                },
            },
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn operation(entry: &Entry, generator: &mut SchemaGenerator) -> Value {
    let spec = &entry.spec;
    let in_path = spec.path_params().filter_map(|name| entry.params().iter().find(|param| param.name == name));
    let mut parameters: Vec<Value> = in_path.map(parameter).collect();
    if spec.scope == Scope::Namespace {
        parameters.push(json!({
            "name": "namespace", "in": "query", "description": "The namespace.",
            "schema": { "type": "string", "default": NAMESPACE_DEFAULT },
        }));
    }
    parameters.extend(entry.params().iter().filter(|param| param.place != Place::Path).map(parameter));
    let mut responses = Map::new();
    for (status, doc) in spec.answers {
        responses.insert(status.to_string(), answer(entry, *status, doc, generator));
    }
    responses.insert("default".to_owned(), json!({ "$ref": "#/components/responses/Problem" }));
    let codes: Vec<String> = Spec::ALWAYS.iter().chain(spec.errors).map(ToString::to_string).collect();
    let mut operation = json!({
        "operationId": spec.id,
        "tags": [spec.group],
        "summary": spec.doc,
        "parameters": parameters,
        "responses": responses,
        "x-consort-errors": codes,
    });
    if let Some(body) = body(entry, generator) {
        operation["requestBody"] = body;
    }
    operation
}

fn parameter(param: &Param) -> Value {
    let place = match param.place {
        Place::Path => "path",
        Place::Query => "query",
        Place::Header => "header",
    };
    let mut parameter = json!({
        "name": param.name, "in": place, "description": param.doc, "required": param.required, "schema": param.schema,
    });
    match param.form {
        // A family of names such as `label.KEY` is an object whose fields are the rest of the names.
        Form::Family => parameter["x-consort-form"] = json!(param.shown()),
        Form::Words(_) => (parameter["style"], parameter["explode"]) = (json!("form"), json!(false)),
        _ => {}
    }
    parameter
}

fn body(entry: &Entry, generator: &mut SchemaGenerator) -> Option<Value> {
    let of = |required: bool, schema: Value| {
        Some(json!({ "required": required, "content": { "application/json": { "schema": schema } } }))
    };
    match entry.spec.accepts {
        Accepts::Nothing => None,
        Accepts::Json { optional, .. } => of(!optional, json!((entry.body)(generator))),
        Accepts::Document => of(false, json!((entry.body)(generator))),
        Accepts::CloudEvents => {
            let mut body = of(true, json!((entry.body)(generator)))?;
            let event = generator.subschema_for::<CloudEvent>();
            body["content"]["application/cloudevents+json"] = json!({ "schema": event });
            body["content"]["application/cloudevents-batch+json"] =
                json!({ "schema": { "type": "array", "items": event } });
            Some(body)
        }
        Accepts::Workflow => {
            let mut body = of(true, json!((entry.body)(generator)))?;
            body["content"]["application/yaml"] = json!({ "schema": { "type": "string" } });
            Some(body)
        }
    }
}

fn answer(entry: &Entry, status: u16, doc: &str, generator: &mut SchemaGenerator) -> Value {
    let schema = |generator: &mut SchemaGenerator| json!((entry.reply)(generator));
    let (content_type, schema) = match entry.spec.returns {
        Returns::Nothing => return json!({ "description": doc }),
        _ if status == 204 => return json!({ "description": doc }),
        Returns::Json | Returns::Document => ("application/json", schema(generator)),
        Returns::Text(content_type) => (content_type, json!({ "type": "string" })),
        Returns::Events => {
            // The data of an event is the content of the variant that has the event's name.
            let events = schema(generator);
            let content = json!({ "schema": { "type": "string" }, "x-consort-events": events });
            return json!({ "description": doc, "content": { "text/event-stream": content } });
        }
    };
    json!({ "description": doc, "content": { content_type: { "schema": schema } } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(map) => {
                    found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    map.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let (document, mut found) = (openapi(), Vec::new());
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
        }
    }

    #[test]
    fn the_form_of_a_plain_value_is_said_once() {
        let document = openapi();
        for name in ["Time", "Duration", "RunId", "StepInstanceId", "QuotaScope"] {
            assert!(document["components"]["schemas"][name]["description"].is_string(), "{name}");
        }
        let started = &document["components"]["schemas"]["RunSummary"]["properties"]["started_at"];
        assert_eq!(started["$ref"], "#/components/schemas/Time");
    }
}
