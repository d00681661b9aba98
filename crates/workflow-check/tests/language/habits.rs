//! What people bring along from other systems.

use consort_workflow_check::Diagnostic;

use crate::{checked, refuse};

/// The warnings of a workflow with these lines in `with`, after a step `a`.
fn warnings(value: &str) -> Vec<Diagnostic> {
    let source = format!(
        "workflow: w\ninput: {{ n: string }}\nsteps:\n  a: {{ capability: echo }}\n  b:\n    capability: echo\n    with: {{ x: {value} }}\n"
    );
    checked(&source).warnings.0
}

#[test]
fn an_expression_without_its_braces_is_warned_of() {
    for (written, right) in [
        ("steps.a.output", "${{ steps.a.output }}"),
        ("'steps.a.output.list[0].name'", "${{ steps.a.output.list[0].name }}"),
        ("input.n", "${{ input.n }}"),
        ("'{{ input.n }}'", "${{ input.n }}"),
        ("'for {{steps.a.output}} and more'", "${{ steps.a.output }}"),
        ("'${ input.n }'", "${{ input.n }}"),
        ("[input.n]", "${{ input.n }}"),
        ("'${{ input.n }} of {{ input.n }}'", "${{ input.n }}"),
    ] {
        let found = warnings(written);
        assert_eq!(found.len(), 1, "{written}: {found:?}");
        assert_eq!(found[0].code, "no-expression");
        assert!(found[0].hint.as_deref().is_some_and(|hint| hint.contains(right)), "{written}: {found:?}");
        assert_eq!(found[0].line, 7);
    }
    let output = checked("workflow: w\nsteps:\n  a: { capability: echo }\noutput: steps.a.output\n").warnings.0;
    assert_eq!((output.len(), output[0].code, output[0].column), (1, "no-expression", 9));
}

#[test]
fn a_text_that_may_be_meant_is_not_warned_of() {
    for written in [
        "input.txt",
        "steps.other.output",
        "steps.a",
        "'Say steps.a.output aloud'",
        "'Dear {{ name }}, welcome'",
        "'${HOME}/x'",
        "'$${{ input.n }}'",
        "item.name",
        "'{{ input.n'",
        "\"${{ 'input.n' }}\"",
    ] {
        assert!(warnings(written).is_empty(), "{written}: {:?}", warnings(written));
    }
}

#[test]
fn the_keys_of_other_systems_are_answered_with_ours() {
    let hint = |source: &str| {
        let found = refuse(source).0;
        let unknown =
            found.iter().find(|found| found.code == "unknown-key").unwrap_or_else(|| panic!("{source}: {found:?}"));
        unknown.hint.clone().unwrap_or_default()
    };
    for (key, ours) in [
        ("depends_on: a", "`needs: STEP`"),
        ("retries: 3", "`retry: { attempts: NUMBER }`"),
        ("timeout-minutes: 5", "`timeout: 10m`"),
        ("env: { A: b }", "`with: { NAME: VALUE }`"),
        ("uses: x", "`capability: NAME`"),
        ("run: make", "a workflow runs no programs itself"),
        ("when: x", "`if: ${{ CONDITION }}`"),
        ("inputs: {}", "`with: { NAME: VALUE }`"),
        ("name: Build", "`description: TEXT`"),
        ("retry: { attempts: 2, delay: 1s }", "`backoff: { initial: 1s }`"),
        ("retry: { max_attempts: 2 }", "`attempts`"),
        ("timout: 1s", "did you mean `timeout`?"),
        ("zzzzzz: 1", "its keys are "),
    ] {
        let source = format!("workflow: w\nsteps:\n  b: {{ capability: echo, {key} }}\n");
        assert!(hint(&source).contains(ours), "{key}: {}", hint(&source));
    }
    for (key, ours) in [
        ("jobs: {}", "`steps: { NAME: … }`"),
        ("name: CI", "`workflow: NAME`"),
        ("on: push", "runs are started from outside"),
        ("env: {}", "`input: { NAME: { default: VALUE } }`"),
        ("params: {}", "`input: { NAME: TYPE }`"),
    ] {
        let source = format!("workflow: w\n{key}\nsteps: {{ b: {{ capability: echo }} }}\n");
        assert!(hint(&source).contains(ours), "{key}: {}", hint(&source));
    }
}

#[test]
fn a_status_that_never_comes_is_warned_of() {
    let of = |condition: &str| {
        let source = format!(
            "workflow: w\nsteps:\n  a: {{ capability: echo }}\n  b: {{ capability: echo, if: \"${{{{ {condition} }}}}\" }}\n"
        );
        checked(&source).warnings.0
    };
    for wrong in [
        "always() && steps.a.status == 'succeeded'",
        "'sucess' != steps.a.status",
        "steps.a.status in ['completed', 'done']",
    ] {
        let found = of(wrong);
        assert_eq!((found.len(), found[0].code), (1, "no-such-status"), "{wrong}: {found:?}");
        assert!(found[0].hint.as_deref().is_some_and(|hint| hint.contains("`completed`")), "{found:?}");
    }
    for right in ["steps.a.status == 'completed'", "steps.a.status in ['failed', 'skipped', 'cancelled']"] {
        assert_eq!(of(right), [], "{right}");
    }
}
