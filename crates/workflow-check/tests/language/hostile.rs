//! Texts that want to cost time, memory or stack. Test threads have 2 MiB of stack.

use std::fmt::Write as _;

use consort_types::limits;
use consort_workflow_check::{Graph, check as read};
use proptest::{prelude::*, sample::Index};

/// Checks that a text is refused, and that the first finding has the code.
#[track_caller]
fn check(source: &str, code: &str) {
    let found = crate::refuse(source);
    assert_eq!(found.0[0].code, code, "{:?}", found.0[0]);
    assert!(found.0.len() <= 2 * limits::DIAGNOSTICS_MAX);
    assert!(found.render("test.yaml", source, true).len() < 1024 * 1024);
}

/// A workflow with one expression.
fn with_expression(expression: &str) -> String {
    format!("workflow: test\nsteps:\n  a:\n    capability: x\n    with: {{ v: \"${{{{ {expression} }}}}\" }}\n")
}

#[test]
fn large_and_deep_texts() {
    check(&" ".repeat(limits::WORKFLOW_BYTES_MAX + 1), "too-large");
    check(&"[".repeat(500_000), "too-deep");
    check(&"{a: ".repeat(200_000), "too-deep");
    check(&"- ".repeat(500_000), "too-deep");
    check(&"a: &x [".repeat(100_000), "too-deep");
    check(&"? ".repeat(500_000), "bad-key");
    check(&"a:\n".repeat(300_000), "duplicate-key");
    check(&"- 1\n".repeat(250_000), "too-large");
    let mut nested = String::new();
    for depth in 0..1_000 {
        let _ = writeln!(nested, "{}a:", " ".repeat(depth));
    }
    check(&nested, "too-deep");
}

#[test]
fn aliases_count_as_what_they_repeat() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let repeated = vec![format!("*a{}", level - 1); 10].join(", ");
        let _ = writeln!(bomb, "a{level}: &a{level} [{repeated}]");
    }
    check(&bomb, "too-large");
    let mut deep = "a0: &a0 [x]\n".to_owned();
    for level in 1..100 {
        let _ = writeln!(deep, "a{level}: &a{level} [*a{}]", level - 1);
    }
    check(&deep, "too-deep");
    check("a: &a [*a]", "bad-alias");
}

#[test]
fn many_steps_and_deep_groups() {
    let mut many = "workflow: test\nsteps:\n".to_owned();
    for step in 0..30_000 {
        let _ = writeln!(many, "  s{step}: {{ capability: x }}");
    }
    check(&many, "too-large");
    let mut groups = "workflow: test\nsteps:\n".to_owned();
    for depth in 1..=limits::WORKFLOW_DEPTH_MAX {
        let _ = writeln!(groups, "{0}g{depth}:\n{0} steps:", " ".repeat(2 * depth));
    }
    let _ = writeln!(groups, "{}a: {{ capability: x }}", " ".repeat(40));
    check(&groups, "too-deep");
}

#[test]
fn many_findings_are_cut() {
    let mut keys = "workflow: test\nsteps: { a: { capability: x } }\n".to_owned();
    for key in 0..40_000 {
        let _ = writeln!(keys, "outpot{key}: 1");
    }
    assert_eq!(crate::refuse(&keys).0.len(), limits::DIAGNOSTICS_MAX);
    let mut cycles = "workflow: test\nsteps:\n".to_owned();
    for step in 0..limits::WORKFLOW_STEPS_MAX {
        let _ = writeln!(cycles, "  s{step}: {{ capability: x, needs: s{} }}", step ^ 1);
    }
    check(&cycles, "cycle");
}

#[test]
fn many_warnings_hide_nothing() {
    let mut source = "workflow: test\ninput:\n".to_owned();
    for field in 0..300 {
        let _ = writeln!(source, "  f{field}: {{ tpye: string }}");
    }
    source.push_str("steps:\n  a: { capability: x }\n  b: { capability: x, needs: a }\n");
    let found = crate::checked(&source);
    assert_eq!((found.warnings.0.len(), found.definition.root().steps.len()), (limits::DIAGNOSTICS_MAX, 2));
    check(&source.replace("needs: a", "needs: c"), "unknown-keyword");
    assert!(crate::refuse(&source.replace("needs: a", "needs: c")).0.iter().any(|found| found.code == "unknown-step"));
}

#[test]
fn expressions_that_are_deep_long_or_many() {
    check(&with_expression(&format!("{}1{}", "(".repeat(33), ")".repeat(33))), "expression-too-deep");
    check(&with_expression(&"(".repeat(8_000)), "expression-too-deep");
    check(&with_expression(&"[".repeat(8_000)), "expression-too-deep");
    check(&with_expression(&"{1:".repeat(2_000)), "expression-too-deep");
    check(&with_expression(&"a?b:".repeat(2_000)), "unknown-variable");
    check(&with_expression(&"size(".repeat(1_600)), "expression-too-deep");
    check(&with_expression(&format!("{}1", "-".repeat(8_000))), "expression-too-deep");
    check(&with_expression(&format!("{}true", "!".repeat(8_000))), "expression-too-deep");
    check(&with_expression(&format!("input{}", ".a".repeat(4_000))), "expression-too-deep");
    check(&with_expression(&vec!["1"; 4_000].join("+")), "expression-too-deep");
    check(&with_expression(&vec!["1"; 4_000].join("<")), "expression-too-deep");
    check(&with_expression(&"1".repeat(8_193)), "expression-too-long");
    check(&with_expression("'a'.matches('((a{1,1000}){1,1000}){1,1000}')"), "bad-pattern");
    let long = vec!["true"; 1_300].join("&&");
    assert!(read(&with_expression(&long)).is_ok());
    let mut many = "workflow: test\nsteps:\n".to_owned();
    for step in 0..100 {
        let _ = writeln!(many, "  s{step}: {{ capability: x, with: {{ v: \"${{{{ {long} }}}}\" }} }}");
    }
    check(&many, "too-large");
    check(
        &format!("workflow: test\noutput: \"{}\"\nsteps: {{ a: {{ capability: x }} }}", "${{ ' }} ".repeat(100_000)),
        "too-large",
    );
    check(&with_expression("").replace("${{", &"${{".repeat(100_000)), "too-large");
}

#[test]
fn schemas_that_multiply_or_go_round() {
    let source = |schema: &str| format!("workflow: test\ninput: {schema}\nsteps: {{ a: {{ capability: x }} }}\n");
    check(&source("{ type: object, $ref: '#' }"), "bad-schema");
    let round = "{ type: object, $defs: { a: { $ref: '#/$defs/b' }, b: { $ref: '#/$defs/a' } } }";
    check(&source(round), "bad-schema");
    let mut bomb = "{ type: object, $defs: { a0: { type: string }".to_owned();
    for level in 1..40 {
        let _ = write!(
            bomb,
            ", a{level}: {{ anyOf: [{{ $ref: '#/$defs/a{0}' }}, {{ $ref: '#/$defs/a{0}' }}] }}",
            level - 1
        );
    }
    check(&source(&format!("{bomb} }} }}")), "bad-schema");
    check(&source("{ a: { pattern: '((a{1,1000}){1,1000}){1,1000}' } }"), "bad-schema");
    check(&source("{ a: { $ref: 'https://example.com/schema' } }"), "bad-schema");
    check(&source("{ a: { $ref: 'file:///etc/passwd' } }"), "bad-schema");
}

/// A workflow in which most words of the language occur.
const WHOLE: &str = include_str!("whole.yaml");

/// Words that change what a text means.
const WORDS: [&str; 36] = [
    "steps",
    "input",
    "for_each",
    "repeat",
    "until",
    "while",
    "max",
    "with",
    "needs",
    "if",
    "wait",
    "signal",
    "approve",
    "retry",
    "compensate",
    "${{",
    "}}",
    "steps.",
    ".output",
    "item",
    "loop.index",
    "[",
    "]",
    "{",
    "}",
    ":",
    "- ",
    "&a ",
    "*a",
    "\n  ",
    "\"",
    "'",
    "#",
    "!!str",
    "é",
    "99999999999999999999",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,200}") {
        let _ = read(&text);
    }

    #[test]
    fn no_expression_makes_the_parser_panic(text in "[-a-z0-9 .+*/%()\\[\\]{}'\"!?:,<>=&|\\\\é]{0,80}") {
        let _ = read(&with_expression(&text.replace('\\', "\\\\").replace('"', "\\\"")));
    }

    #[test]
    fn no_change_to_a_workflow_makes_the_parser_panic(
        cuts in prop::collection::vec((any::<Index>(), 0_usize..12, any::<Index>()), 1..6),
    ) {
        let mut text: Vec<char> = WHOLE.chars().collect();
        for (place, length, word) in cuts {
            let start = place.index(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, WORDS[word.index(WORDS.len())].chars());
        }
        let text: String = text.into_iter().collect();
        match read(&text) {
            Ok(checked) => {
                prop_assert!(!Graph::of(&checked.definition).tree().is_empty());
                let read = checked.compiled.definition().unwrap();
                prop_assert_eq!(format!("{read:?}"), format!("{:?}", checked.definition));
            }
            Err(found) => {
                prop_assert!(!found.0.is_empty());
                prop_assert_eq!(&found, &crate::refuse(&text), "the same text gives the same findings");
                prop_assert!(!found.render("test.yaml", &text, false).is_empty());
            }
        }
    }
}
