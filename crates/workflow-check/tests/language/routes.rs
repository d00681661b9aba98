//! `route`: which instances may perform a call.

use consort_workflow_check::language_schema;
use serde_json::json;

fn with_route(route: &str) -> String {
    format!("workflow: test\nsteps:\n  a:\n    agent: writer\n    route: {route}\n")
}

/// The finding of a source that has one.
fn finding(source: &str) -> (&'static str, String, String) {
    let found = crate::refuse(source);
    assert_eq!(found.0.len(), 1, "{}", found.render("flow.yaml", source, false));
    let found = &found.0[0];
    (found.code, source[found.span.clone()].trim_end().to_owned(), found.hint.clone().unwrap_or_default())
}

#[test]
fn versions_are_ranges_or_what_the_author_wrote() {
    for (written, version) in [
        ("\"^1.2\"", "^1.2"),
        ("\" >=1.4, <2 \"", ">=1.4, <2"),
        ("1.10", "1.10"),
        ("2", "2"),
        ("v7-beta", "v7-beta"),
        ("\"2026-11-22\"", "2026-11-22"),
    ] {
        let definition = crate::parse(&with_route(&format!("{{ version: {written} }}")));
        assert_eq!(definition.root().steps[0].route.as_ref().unwrap().version.as_deref(), Some(version));
    }
}

#[test]
fn what_cannot_be_a_route_is_reported_where_it_stands() {
    let long = "x".repeat(129);
    for (route, code, at) in [
        ("{ version: \"^one\" }", "bad-version", "\"^one\""),
        ("{ version: \">1 <2\" }", "bad-version", "\">1 <2\""),
        ("{ version: \"${{ input.v }}\" }", "bad-version", "\"${{ input.v }}\""),
        ("{ version: \"\" }", "bad-version", "\"\""),
        (&format!("{{ version: {long} }}"), "bad-version", &long),
        ("{ version: [1] }", "bad-type", "[1]"),
        ("{ labels: {} }", "out-of-range", "labels"),
        ("{ labels: eu }", "bad-type", "eu"),
        ("{ labels: { a b: x } }", "bad-name", "a b"),
        ("{ labels: { a: [x] } }", "bad-type", "[x]"),
        (&format!("{{ labels: {{ a: {long} }} }}"), "too-large", &long),
        ("{ sticky: \"${{ inptu.user }}\" }", "unknown-variable", "inptu"),
        ("{ label: { a: x } }", "unknown-key", "label"),
        ("{}", "missing-key", "route"),
        ("eu", "bad-type", "eu"),
    ] {
        let (found, place, _) = finding(&with_route(route));
        assert_eq!((found, place.as_str()), (code, at), "{route}");
    }
    let many: Vec<String> = (0..33).map(|n| format!("l{n}: x")).collect();
    assert_eq!(finding(&with_route(&format!("{{ labels: {{ {} }} }}", many.join(", ")))).0, "out-of-range");
    let (code, place, _) = finding("workflow: test\nsteps:\n  a: { wait: 1s, route: { sticky: x } }\n");
    assert_eq!((code, place.as_str()), ("misplaced-key", "route"));
}

#[test]
fn a_version_behind_the_agent_belongs_into_the_route() {
    let (code, place, hint) = finding("workflow: test\nsteps:\n  a: { agent: writer@^1.2 }\n");
    assert_eq!((code, place.as_str()), ("bad-name", "writer@^1.2"));
    assert_eq!(hint, "write `agent: writer` and `route: { version: \"^1.2\" }`");
    let (code, _, hint) = finding("workflow: test\nsteps:\n  a: { agent: a b@1 }\n");
    assert_eq!(code, "bad-name");
    assert!(!hint.contains("route"), "{hint}");
}

#[test]
fn what_a_route_looks_at_comes_first() {
    let source = "workflow: test
steps:
  where: { capability: find }
  who: { capability: find }
  a:
    capability: x
    route: { labels: { region: \"${{ steps.where.output.region }}\" }, sticky: \"${{ steps.who.output }}\" }
";
    assert_eq!(crate::parse(source).root().steps[2].needs, vec![0, 1]);
}

#[test]
fn the_schema_knows_routes() {
    let schema = jsonschema::draft202012::options().build(&language_schema()).unwrap();
    let with =
        |route: serde_json::Value| json!({"workflow": "test", "steps": {"a": {"capability": "x", "route": route}}});
    assert!(schema.is_valid(&with(json!({"version": "^1", "labels": {"region": "eu", "gpu": true}, "sticky": [1]}))));
    assert!(schema.is_valid(&with(json!({"version": 1.2}))));
    for wrong in [json!({}), json!("eu"), json!({"labels": {}}), json!({"labels": {"a": []}}), json!({"label": {}})] {
        assert!(!schema.is_valid(&with(wrong.clone())), "{wrong}");
    }
}
