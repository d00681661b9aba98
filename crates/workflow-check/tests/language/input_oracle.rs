//! The evaluator of inputs and the library of JSON Schema agree.
//!
//! For every keyword that inputs may use, over generated schemas and values.

use consort_workflow::InputSpec;
use consort_workflow_check::{compile_schema, library_validator};
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Map, Value, json};

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        (-4_i64..8).prop_map(Value::from),
        (-8_i64..16).prop_map(|n| json!(n as f64 / 2.0)),
        select(vec![json!(0.1), json!(0.3), json!(19.99), json!(1e20), json!(-0.0), json!(1_000_000), json!(2.5e-3)]),
    ]
}

fn text() -> impl Strategy<Value = String> {
    select(vec!["", "a", "ab", "abc", "b1", "é", "日本", "a b", "1", "a/b", "~"]).prop_map(str::to_owned)
}

fn field() -> impl Strategy<Value = String> {
    select(vec!["a", "b", "ab", "c1", "é"]).prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = Value> {
    let leaf =
        prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), number(), text().prop_map(Value::from)];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((field(), inner), 0..5).prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

fn one(key: &str, value: impl Into<Value>) -> Map<String, Value> {
    Map::from_iter([(key.to_owned(), value.into())])
}

fn simple() -> impl Strategy<Value = Map<String, Value>> {
    let types = ["null", "boolean", "integer", "number", "string", "array", "object"];
    let of_type = select(types.to_vec());
    let limit = |keys: Vec<&'static str>| {
        (select(keys), 0_u64..4, any::<bool>())
            .prop_map(|(key, n, float)| one(key, if float { json!(n as f64) } else { json!(n) }))
    };
    let patterns = vec!["^a", "b$", "[0-9]", r"^\w+$", r"\d", "^.{2}$", "a|b", "é", r"^[\w\-]+$", r"[^\d]"];
    prop_oneof![
        of_type.clone().prop_map(|name| one("type", name)),
        vec(of_type, 1..4).prop_map(|mut names| {
            names.sort_unstable();
            names.dedup();
            one("type", names)
        }),
        value().prop_map(|value| one("const", value)),
        vec(value(), 1..4).prop_map(|values| one("enum", values)),
        (select(vec!["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]), number())
            .prop_map(|(key, n)| one(key, n)),
        select(vec![json!(1), json!(2), json!(0.5), json!(0.1), json!(0.01), json!(2.0), json!(3)])
            .prop_map(|n| one("multipleOf", n)),
        limit(vec!["minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"]),
        select(patterns).prop_map(|text| one("pattern", text)),
        any::<bool>().prop_map(|unique| one("uniqueItems", unique)),
        vec(field(), 0..3).prop_map(|mut names| {
            names.sort();
            names.dedup();
            one("required", names)
        }),
        (field(), field()).prop_map(|(a, b)| one("dependentRequired", json!({ a: [b] }))),
    ]
}

fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        6 => vec(simple(), 0..3).prop_map(merged),
        1 => any::<bool>().prop_map(Value::from),
        1 => select(vec!["#/$defs/x", "#/$defs/y"]).prop_map(|target| json!({ "$ref": target })),
    ];
    leaf.prop_recursive(3, 32, 4, |inner| {
        let some = vec(inner.clone(), 1..4);
        let by_field = vec((field(), inner.clone()), 0..3).prop_map(|e| Value::Object(e.into_iter().collect()));
        let by_pattern = vec((select(vec!["^a", "b", r"\d$"]).prop_map(str::to_owned), inner.clone()), 0..3)
            .prop_map(|e| Value::Object(e.into_iter().collect()));
        let compound = prop_oneof![
            (select(vec!["allOf", "anyOf", "oneOf", "prefixItems"]), some).prop_map(|(key, all)| one(key, all)),
            (select(vec!["not", "items", "additionalProperties", "propertyNames"]), inner.clone())
                .prop_map(|(key, schema)| one(key, schema)),
            (inner.clone(), 0_u64..3, proptest::option::of(0_u64..3)).prop_map(|(schema, min, max)| {
                let mut map = one("contains", schema);
                map.insert("minContains".to_owned(), json!(min));
                map.extend(max.map(|max| ("maxContains".to_owned(), json!(max))));
                map
            }),
            inner.clone().prop_map(|schema| one("contains", schema)),
            (select(vec!["properties", "dependentSchemas"]), by_field).prop_map(|(key, all)| one(key, all)),
            by_pattern.prop_map(|all| one("patternProperties", all)),
            (inner.clone(), proptest::option::of(inner.clone()), proptest::option::of(inner)).prop_map(|(i, t, e)| {
                let mut map = one("if", i);
                map.extend(t.map(|then| ("then".to_owned(), then)));
                map.extend(e.map(|other| ("else".to_owned(), other)));
                map
            }),
        ];
        (vec(compound, 1..4), vec(simple(), 0..2)).prop_map(|(some, more)| merged([some, more].concat()))
    })
}

fn merged(maps: Vec<Map<String, Value>>) -> Value {
    Value::Object(maps.into_iter().flatten().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_say_the_same_of_every_value(
        root in schema(),
        shared in (simple(), simple()),
        values in vec(value(), 1..8),
    ) {
        let mut whole = root;
        if let Value::Object(map) = &mut whole {
            map.insert("$defs".to_owned(), json!({"x": shared.0, "y": {"anyOf": [shared.1, {"$ref": "#/$defs/x"}]}}));
        }
        // A schema that is too large for one is too large for the other.
        let Ok(library) = library_validator(&whole) else {
            prop_assert!(compile_schema(&whole).is_err());
            return Ok(());
        };
        let spec = InputSpec::declare(json!({}), compile_schema(&whole).unwrap());
        for value in values {
            prop_assert_eq!(spec.accept(&value).is_ok(), library.is_valid(&value), "{} against {}", value, whole);
        }
    }
}
