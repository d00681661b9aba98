//! Values with expressions in them.

use std::sync::Arc;

use consort_types::{Code, Span, Time, limits};
use consort_workflow::{Template, span_of, time_of};
use serde_json::{Value, json};

use crate::expressions::environment;

/// The `with` of a step, as a template.
fn template(with: &Value) -> Template {
    let source = json!({
        "workflow": "test",
        "steps": {"a": {"capability": "x"}, "probe": {"for_each": [1], "capability": "x", "with": {"value": with}}},
    });
    crate::parse(&source.to_string()).root().steps[1].with.clone()
}

#[test]
fn whole_expressions_keep_their_type_and_embedded_ones_become_text() {
    for (with, expected) in [
        (json!("${{ input.n }}"), json!(7)),
        (json!("  ${{ input.n }}"), json!("  7")),
        (json!("${{ input.tags }}"), json!(["x", "y", "x"])),
        (
            json!("n=${{ input.n }}, q=${{ input.question }}, t=${{ input.tags }}"),
            json!("n=7, q=why, t=[\"x\",\"y\",\"x\"]"),
        ),
        (json!("${{ input.n }}${{ input.n }}"), json!("77")),
        (json!("costs $5, ${x} and $${{ this }}"), json!("costs $5, ${x} and ${{ this }}")),
        (json!("${{ {'a': {'b': '}}'}} }}"), json!({"a": {"b": "}}"}})),
        (json!("${{ 'a}}b' }}!"), json!("a}}b!")),
        (
            json!(["${{ input.n }}", {"k": "${{ steps.a.output.name }}", "l": true}]),
            json!([7, {"k": "Ada", "l": true}]),
        ),
        (json!({"z": 1, "a": [], "m": null}), json!({"a": [], "m": null, "z": 1})),
        (json!(""), json!("")),
    ] {
        let template = template(&with);
        let value = template.evaluate(&environment()).unwrap();
        assert_eq!(value, json!({ "value": expected }), "{with}");
        let bytes = template.evaluate_json(&environment()).unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), value.to_string(), "both ways give one document");
    }
}

#[test]
fn failures_come_through_with_their_expression() {
    let template = template(&json!({"deep": ["${{ input.nope }}"]}));
    let by_value = template.evaluate(&environment()).unwrap_err();
    assert_eq!(by_value.code, Code::Expression);
    assert_eq!(template.evaluate_json(&environment()).unwrap_err(), by_value);
}

#[test]
fn documents_are_limited_in_size_and_depth() {
    let mut environment = environment();
    environment.input = Arc::new(json!({"n": "x".repeat(limits::PAYLOAD_BYTES_MAX / 2)}));
    let twice = template(&json!(["${{ input.n }}", "${{ input.n }}"]));
    assert_eq!(twice.evaluate_json(&environment).unwrap_err().code, Code::PayloadTooLarge);
    let mut deep = json!("[\"\\{");
    for _ in 0..limits::VALUE_DEPTH_MAX - 1 {
        deep = json!([deep]);
    }
    environment.input = Arc::new(deep);
    assert!(template(&json!("${{ input }}")).evaluate_json(&environment).is_ok());
    let deeper = template(&json!(["${{ input }}"]));
    assert_eq!(deeper.evaluate_json(&environment).unwrap_err().code, Code::LimitReached);
    assert_eq!(deeper.evaluate(&environment).unwrap_err().code, Code::LimitReached);
}

#[test]
fn spans_and_instants_are_read_from_values() {
    assert_eq!(span_of(&json!("1m")).unwrap(), Span::from_secs(60));
    assert_eq!(span_of(&json!(90)).unwrap(), Span::from_secs(90));
    assert!(time_of(&json!("1970-01-01T00:00:01Z")).unwrap() == Time(1_000_000));
    for bad in [json!(-1), json!(1.5), json!("soon"), json!(null), json!([1])] {
        assert_eq!(span_of(&bad).unwrap_err().code, Code::BadDuration, "{bad}");
        assert_eq!(time_of(&bad).unwrap_err().code, Code::BadTime, "{bad}");
    }
}

#[test]
fn references_of_all_parts_are_collected() {
    let template =
        template(&json!({"a": "${{ input.n }} ${{ item }}", "b": ["${{ steps.a.output }}", "${{ input }}"]}));
    let names = format!("{:?}", template.references());
    assert_eq!(names, r#"[Input, Step { up: 0, index: 0, name: "a" }, Item]"#);
}

#[test]
fn maps_have_one_order() {
    // `preserve_order` or `arbitrary_precision` of serde_json anywhere in the build would change log bytes.
    let map: Value = serde_json::from_str(r#"{"b": 1, "a": 1.0, "C": 10000000000000000000000}"#).unwrap();
    assert_eq!(map.to_string(), r#"{"C":1e+22,"a":1.0,"b":1}"#);
}
