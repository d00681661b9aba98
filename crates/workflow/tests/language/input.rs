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
        "`input.mode`: value is not one of `fast` or `deep`; `input.nope` is not declared; \
         `input.note`: value does not match `^a`; `input.question` is a number, not of type `string`; \
         `input.sources[1]` is a number, not of type `string`"
    );
    assert_eq!(refused(&json!({"question": "a"})), "`input.question`: value is shorter than 3 characters");
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
