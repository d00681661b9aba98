//! The reference page and the published schema agree with the parser.

use std::{collections::BTreeSet, fs, path::Path};

use consort_workflow_check::language_schema;
use jsonschema::Validator;
use serde_json::{Value, json};

const PAGE: &str = include_str!("../../../../docs/workflow-language.md");
const WHOLE: &str = include_str!("whole.yaml");

fn validator() -> Validator {
    jsonschema::draft202012::options().build(&language_schema()).unwrap()
}

/// A YAML file as JSON, by the way of the parser's own YAML: as a literal of a step.
fn json_of(source: &str) -> Value {
    let indented: Vec<String> = source.lines().map(|line| format!("      {line}")).collect();
    let quoted = indented.join("\n").replace("${{", "$${{");
    let wrapped = format!("workflow: test\nsteps:\n  a:\n    capability: x\n    with:\n{quoted}");
    match &crate::parse(&wrapped).root().steps[0].with {
        consort_workflow::Template::Literal(value) => value.clone(),
        other => panic!("{other:?}"),
    }
}

/// The fenced blocks of a language on the page.
fn blocks(language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    PAGE.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// Checks that parser and schema both accept a text.
#[track_caller]
fn taken(source: &str) {
    let checked = crate::checked(source);
    assert!(checked.warnings.0.is_empty(), "{}", checked.warnings.render("test.yaml", source, false));
    let document = json_of(source);
    let errors: Vec<String> =
        validator().iter_errors(&document).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}\n{source}");
}

#[test]
fn every_example_of_the_page_is_taken() {
    let examples = blocks("yaml");
    assert!(examples.len() >= 10);
    for source in &examples {
        taken(source);
    }
    taken(WHOLE);
}

#[test]
fn every_shipped_workflow_is_taken() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../workflows");
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.extension().is_some_and(|extension| extension == "yaml") {
            taken(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_expression_of_the_page_has_the_value_that_it_says() {
    let mut checked = 0;
    for line in PAGE.lines().filter(|line| line.contains("` → `")) {
        let (left, right) = line.split_once("` → `").unwrap();
        let expression = left.rsplit_once("| `").unwrap().1.replace("\\|", "|");
        let expected: Value = serde_json::from_str(right.split_once("` |").unwrap().0).unwrap();
        let value = crate::expressions::compile(&expression).evaluate(&crate::expressions::environment()).unwrap();
        assert_eq!(value.to_string(), expected.to_string(), "{expression}");
        checked += 1;
    }
    assert!(checked > 40, "{checked} examples");
}

#[test]
fn the_page_names_every_key_of_the_schema() {
    let schema = language_schema();
    for pointer in ["/properties", "/$defs/step/properties"] {
        for key in schema.pointer(pointer).and_then(Value::as_object).unwrap().keys() {
            assert!(PAGE.contains(&format!("| `{key}` |")), "{key} has no row");
        }
    }
}

#[test]
fn the_schema_refuses_what_is_wrong() {
    let validator = validator();
    let step = |step: Value| json!({"workflow": "test", "steps": {"a": step}});
    assert!(validator.is_valid(&step(json!({"capability": "x"}))));
    for wrong in [
        json!([]),
        json!({"workflow": "test"}),
        json!({"steps": {"a": {"capability": "x"}}}),
        json!({"workflow": "no name", "steps": {"a": {"capability": "x"}}}),
        json!({"workflow": "test", "steps": {}}),
        json!({"workflow": "test", "step": {"a": {"capability": "x"}}, "steps": {"a": {"capability": "x"}}}),
        step(json!({})),
        step(json!({"capability": "x", "wait": "3s"})),
        step(json!({"capability": "x", "timeout": 5})),
        step(json!({"capability": "x", "if": "success()"})),
        step(json!({"capability": "x", "for_each": "text"})),
        step(json!({"capability": "x", "max_parallel": 3})),
        step(json!({"capability": "x", "priority": 101})),
        step(json!({"capability": "x", "on_unknown": "maybe"})),
        step(json!({"capability": "x", "repeat": {"until": "${{ true }}"}})),
        step(json!({"capability": "x", "retry": {"backoff": {}}})),
        step(json!({"capability": "x", "with": "text"})),
        step(json!({"consensus": {}})),
    ] {
        assert!(!validator.is_valid(&wrong), "{wrong}");
        assert!(consort_workflow_check::check(&wrong.to_string()).is_err(), "{wrong}");
    }
}

#[test]
fn the_page_names_every_code_of_the_findings() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut codes = BTreeSet::new();
    for file in [
        "workflow-check/src/yaml.rs",
        "workflow-check/src/parse/mod.rs",
        "workflow-check/src/parse/action.rs",
        "workflow-check/src/parse/fields.rs",
        "workflow-check/src/parse/order.rs",
        "workflow-check/src/parse/step.rs",
        "workflow-check/src/parse/scope.rs",
        "workflow-check/src/parse/values.rs",
        "workflow/src/cel/parser.rs",
        "workflow/src/cel/lexer.rs",
        "workflow/src/cel/functions.rs",
        "workflow/src/cel/types.rs",
    ] {
        let text = fs::read_to_string(crates.join(file)).unwrap();
        for marker in ["report.error(\"", "report.warning(\"", "Problem::new(\"", "code: \""] {
            codes.extend(text.split(marker).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }
    assert!(codes.len() > 30);
    for code in codes {
        assert!(PAGE.contains(&format!("`{code}`")), "{code} is not on the page");
    }
}
