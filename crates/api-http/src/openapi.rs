//! The OpenAPI document.
//!
//! For: describing the interface to programs, from the very table that the router is made of. Not for: prose (see
//! `docs/http-api.md`).
//! Invariant: the same build gives the same bytes.

use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{
    model,
    route::{Gives, Kind, Param, Route, Takes, schema},
    router::ROUTES,
};

/// The OpenAPI 3.1 document of the interface, as `GET /v1/openapi.json` answers it.
pub fn openapi() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for route in ROUTES.iter() {
        let item = paths.entry(route.path).or_insert_with(|| json!({}));
        item[route.verb.key()] = operation(route, &mut generator);
    }
    let problem = schema::<model::Problem>(&mut generator);
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

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut parameters: Vec<Value> = route.path_params().map(path_parameter).collect();
    if route.namespaced {
        parameters.push(json!({
            "name": "namespace", "in": "query", "description": "The namespace.",
            "schema": { "type": "string", "default": "default" },
        }));
    }
    parameters.extend(route.query.iter().map(|param| parameter(param, "query")));
    parameters.extend(route.headers.iter().map(|param| parameter(param, "header")));
    let mut responses = Map::new();
    for (status, doc, gives) in route.answers {
        responses.insert(status.to_string(), answer(doc, *gives, generator));
    }
    responses.insert("default".to_owned(), json!({ "$ref": "#/components/responses/Problem" }));
    let mut operation = json!({
        "operationId": route.name,
        "summary": route.doc,
        "parameters": parameters,
        "responses": responses,
    });
    if let Some(body) = body(route.takes, generator) {
        operation["requestBody"] = body;
    }
    operation
}

fn path_parameter(name: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
}

fn parameter(param: &Param, place: &str) -> Value {
    let schema = match param.kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Count { max } => json!({ "type": "integer", "minimum": 1, "maximum": max }),
        Kind::Flag => json!({ "type": "boolean", "default": false }),
        Kind::Word(words) => json!({ "type": "string", "enum": words }),
    };
    // A family of names such as `label.*` is an object whose fields are the names.
    match param.name.strip_suffix(".*") {
        Some(family) => json!({
            "name": family, "in": place, "description": param.doc, "x-consort-form": param.name,
            "schema": { "type": "object", "additionalProperties": schema },
        }),
        None => json!({ "name": param.name, "in": place, "description": param.doc, "schema": schema }),
    }
}

fn body(takes: Takes, generator: &mut SchemaGenerator) -> Option<Value> {
    match takes {
        Takes::Nothing => None,
        Takes::Json { schema, optional, .. } => {
            Some(json!({ "required": !optional, "content": { "application/json": { "schema": schema(generator) } } }))
        }
        Takes::Any => Some(json!({ "required": false, "content": { "application/json": { "schema": {} } } })),
        Takes::Workflow { schema } => Some(json!({
            "required": true,
            "content": {
                "application/json": { "schema": schema(generator) },
                "application/yaml": { "schema": { "type": "string" } },
            },
        })),
    }
}

fn answer(doc: &str, gives: Gives, generator: &mut SchemaGenerator) -> Value {
    let (content_type, schema) = match gives {
        Gives::Nothing => return json!({ "description": doc }),
        Gives::Json(schema) => ("application/json", json!(schema(generator))),
        Gives::AnyJson => ("application/json", json!({})),
        Gives::Other(content_type) => (content_type, json!({ "type": "string" })),
    };
    json!({ "description": doc, "content": { content_type: { "schema": schema } } })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_described_once_and_nothing_else_is() {
        let document = openapi();
        let described: BTreeSet<(String, String)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |verb| (path.clone(), verb.clone())))
            .collect();
        let registered: BTreeSet<_> =
            ROUTES.iter().map(|route| (route.path.to_owned(), route.verb.key().to_owned())).collect();
        assert_eq!(described, registered);
        assert_eq!(registered.len(), ROUTES.len(), "no route stands twice");
        let names: BTreeSet<_> = ROUTES.iter().map(|route| route.name).collect();
        assert_eq!(names.len(), ROUTES.len(), "no name stands twice");
    }

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
    fn the_shipped_document_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/openapi.json");
        let current = format!("{}\n", serde_json::to_string_pretty(&openapi()).unwrap());
        if std::env::var_os("CONSORT_WRITE_DOCS").is_some() {
            std::fs::write(path, &current).unwrap();
        }
        let shipped = std::fs::read_to_string(path).unwrap();
        let again = "run `CONSORT_WRITE_DOCS=1 cargo test -p consort-api-http the_shipped_document`";
        assert!(shipped == current, "docs/reference/openapi.json has drifted: {again}");
    }
}
