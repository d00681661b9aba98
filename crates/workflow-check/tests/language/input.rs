//! What a run may be started with.

use consort_types::Code;
use serde_json::{Value, json};

const SOURCE: &str = "
workflow: test
input:
  question: { type: string, minLength: 3 }
  sources: { type: array, items: { type: string }, default: [docs] }
  depth: { type: integer, required: false }
  mode: { enum: [fast, deep], default: fast }
  place: { type: object, required: false, properties: { city: { default: Basel } } }
  note: { type: string, required: false, pattern: '^a' }
steps:
  a: { capability: x }
";

#[track_caller]
fn refused(input: &Value) -> String {
    let error = crate::parse(SOURCE).accept_input(input).unwrap_err();
    assert_eq!(error.code, Code::BadInput);
    error.message
}

#[test]
fn defaults_are_filled_in() {
    let definition = crate::parse(SOURCE);
    let accepted = definition.accept_input(&json!({"question": "why?", "place": {}})).unwrap();
    assert_eq!(accepted, json!({"question": "why?", "sources": ["docs"], "mode": "fast", "place": {"city": "Basel"}}));
    assert_eq!(definition.accept_input(&accepted).unwrap(), accepted);
}

#[test]
fn refusals_name_the_field() {
    assert_eq!(refused(&json!({})), "`input.question` is missing");
    assert_eq!(refused(&Value::Null), "`input.question` is missing");
    assert_eq!(refused(&json!([1])), "`input` is a list, not of type `object`");
    assert_eq!(
        refused(&json!({"question": 5, "sources": ["a", 2], "nope": 1, "mode": "slow", "note": "b"})),
        "`input.mode` is not one of `fast`, `deep`; `input.nope` is not declared; `input.note` does not match `^a`; \
         `input.question` is a number, not of type `string`; `input.sources[1]` is a number, not of type `string`"
    );
    assert_eq!(refused(&json!({"question": "a"})), "`input.question` is shorter than 3 characters");
}

#[test]
fn without_a_declaration_everything_is_taken() {
    let definition = crate::parse("workflow: test\nsteps: { a: { capability: x } }");
    assert!(definition.input.schema().is_none());
    for input in [json!(null), json!([1]), json!({"a": 1})] {
        assert_eq!(definition.accept_input(&input).unwrap(), input);
    }
}

#[test]
fn a_whole_schema_is_taken_as_it_is() {
    let source = "
workflow: test
input:
  type: object
  properties: { who: { $ref: '#/$defs/person' }, n: { type: integer, default: 3 } }
  required: [who]
  $defs: { person: { type: object, required: [name] } }
steps: { a: { capability: x, with: { v: '${{ input.anything }}' } } }
";
    let definition = crate::parse(source);
    assert_eq!(definition.accept_input(&json!({"who": {"name": 1}})).unwrap(), json!({"who": {"name": 1}, "n": 3}));
    let error = definition.accept_input(&json!({"who": {}})).unwrap_err();
    assert_eq!(error.message, "`input.who.name` is missing");
}

#[test]
fn deep_inputs_are_refused() {
    let definition = crate::parse("workflow: test\nsteps: { a: { capability: x } }");
    let mut deep = json!(1);
    for _ in 0..101 {
        deep = json!([deep]);
    }
    assert_eq!(definition.accept_input(&deep).unwrap_err().code, Code::LimitReached);
}

/// A workflow whose input has one field, with this JSON Schema (as JSON, which is YAML).
fn with_field(schema: &Value) -> consort_workflow::Definition {
    crate::parse(&format!("workflow: test\ninput: {{ t: {schema} }}\nsteps: {{ a: {{ capability: x }} }}"))
}

#[test]
fn a_check_ends_at_the_first_findings() {
    let definition = with_field(&json!({"type": "array", "items": {"type": "string"}}));
    let message = definition.accept_input(&json!({"t": vec![0; 100_000]})).unwrap_err().message;
    let found: Vec<&str> = message.split("; ").collect();
    assert_eq!((found.len(), found[4], found[5]), (6, "`input.t[4]` is a number, not of type `string`", "and more"));
}

#[test]
fn a_check_that_costs_too_much_is_refused_with_the_limit() {
    let alternatives: Vec<Value> = (0..2_000).map(|n| json!({ "const": n })).collect();
    let definition = with_field(&json!({"type": "array", "items": {"anyOf": alternatives}}));
    let error = definition.accept_input(&json!({"t": vec![1_999; 10_000]})).unwrap_err();
    assert_eq!(error.code, Code::LimitReached);
    assert!(error.message.contains(&consort_types::limits::VALIDATION_COST_MAX.to_string()), "{error}");
    // What is cheap to decide is decided.
    definition.accept_input(&json!({"t": vec![0; 100_000]})).unwrap();
    assert_eq!(definition.accept_input(&json!({"t": [2_000]})).unwrap_err().code, Code::BadInput);
}

#[test]
fn every_kind_of_work_is_counted() {
    let text = "x".repeat(500_000);
    let items: Vec<Value> = (0..100_000).map(|n| json!({ "n": n })).collect();
    for (schema, value) in [
        (json!({"allOf": vec![json!({"pattern": "y"}); 20]}), json!(text)),
        (json!({ "const": text }), json!(text)),
        (json!({"uniqueItems": true}), json!(items)),
        (json!({"items": {"not": {"enum": vec![json!({"a": 1}); 60]}}}), json!(items)),
        (json!({"contains": {"required": vec!["a"; 1]}, "minContains": 0, "propertyNames": false}), json!(items)),
    ] {
        let mut cost = 0;
        let definition = with_field(&schema);
        let _ = definition.input.accept_counted(&json!({ "t": value }), &mut cost);
        assert!(cost > 30_000, "{schema:.60} cost {cost}");
    }
}

#[test]
fn keywords_that_the_evaluator_does_not_have_are_refused_at_check() {
    for keyword in ["unevaluatedItems", "unevaluatedProperties"] {
        let source = format!(
            "workflow: test\ninput: {{ t: {{ anyOf: [{{ {keyword}: false }}] }} }}\nsteps: {{ a: {{ capability: x }} }}"
        );
        let found = crate::refuse(&source);
        let found = found.0.iter().find(|found| found.code == "bad-schema").unwrap();
        assert!(found.message.contains(keyword) && found.message.contains("not supported"), "{found:?}");
        assert_eq!(found.line, 2);
    }
}
