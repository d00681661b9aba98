//! What the machine gets from a definition.

use consort_types::{EffectClass, OnUnknown, Span};
use consort_workflow::{Action, BlockId, Definition, Template, Wait};
use serde_json::{Value, json};

const WHOLE: &str = include_str!("whole.yaml");

/// Names of the steps that each step of a block needs.
fn needs(definition: &Definition, block: BlockId) -> Vec<String> {
    let steps = &definition.block(block).steps;
    let line = |step: &consort_workflow::Step| {
        let names: Vec<&str> = step.needs.iter().map(|at| steps[*at].name.as_str()).collect();
        format!("{}: {}", step.name, names.join(" "))
    };
    steps.iter().map(line).collect()
}

#[test]
fn every_word_of_the_language_is_understood() {
    let checked = crate::checked(WHOLE);
    assert!(checked.warnings.0.is_empty(), "{:?}", checked.warnings);
    let definition = checked.definition;
    assert_eq!((definition.name.as_str(), definition.version.as_deref()), ("whole", Some("1.10")));
    assert_eq!(definition.description, "Uses every word of the language.");
    assert_eq!(definition.timeout, Some(Span::from_secs(7200)));
    let step = |name: &str| &definition.root().steps[definition.root().position(name).unwrap()];

    let check = step("check");
    assert!(
        matches!(&check.action, Action::Call { capability: Some(c), agent: Some(a) } if c == "customers.check" && a == "crm")
    );
    assert_eq!(
        (check.retry.attempts, check.retry.initial, check.retry.factor_milli),
        (5, Span::from_millis(500), 1500)
    );
    assert_eq!(
        (check.retry.max, check.timeout, check.deadline),
        (Span::from_secs(20), Some(Span::from_secs(30)), Some(Span::from_secs(300)))
    );
    assert_eq!((check.priority, check.effect), (10, Some(EffectClass::Read)));

    let charge = step("charge");
    let each = charge.for_each.as_ref().unwrap();
    assert_eq!((each.max_parallel, each.fail_fast), (Some(4), false));
    assert_eq!(charge.on_unknown, OnUnknown::Reconcile("payments.find".to_owned()));
    assert_eq!(charge.concurrency.as_ref().unwrap().limit, 1);
    let route = charge.route.as_ref().unwrap();
    assert_eq!(route.version.as_deref(), Some("^1.2"));
    assert!(matches!(&route.labels[0], (name, Template::Literal(Value::Bool(true))) if name == "gpu"));
    assert!(matches!(&route.labels[1], (name, Template::Expression(_)) if name == "region"));
    assert!(matches!(route.sticky, Some(Template::Expression(_))));
    assert_eq!(charge.compensate.as_ref().unwrap().capability, "payments.refund");
    assert!(charge.condition.is_some() && !charge.continue_on_error);

    let polish = step("polish");
    let repeat = polish.repeat.as_ref().unwrap();
    assert_eq!((repeat.max, repeat.delay, repeat.until.is_some()), (3, Some(Span::from_secs(10)), true));
    assert_eq!(definition.block(BlockId(1)).parent, Some((BlockId::ROOT, 2)));
    assert_eq!(definition.root().parent, None);

    let poll = step("poll");
    assert!(matches!(&poll.action, Action::Call { capability: None, agent: Some(agent) } if agent == "clerk"));
    assert!(poll.continue_on_error && poll.repeat.as_ref().unwrap().while_true.is_some());
    assert!(matches!(&step("pause").action, Action::Wait(Wait::For(Template::Literal(span))) if *span == json!("30s")));
    assert!(matches!(&step("morning").action, Action::Wait(Wait::Until(Template::Expression(_)))));
    assert!(matches!(&step("word").action, Action::Wait(Wait::Signal { name, timeout: Some(_), .. }) if name == "go"));
    assert!(
        matches!(&step("ask").action, Action::Approve(approve) if approve.timeout == Some(Span::from_secs(172_800)))
    );
    assert!(
        matches!(&step("send").action, Action::Workflow { name, version: Some(v) } if name == "mailing" && v == "2")
    );
    assert!(matches!(&step("sorry").action, Action::Workflow { name, version: None } if name == "apology"));
    assert!(matches!(&step("sorry").with, Template::Literal(Value::Object(map)) if map.is_empty()));
    assert!(definition.output.is_some());
}

#[test]
fn needs_follow_from_references_anywhere_inside_a_step() {
    let definition = crate::parse(WHOLE);
    let expected = [
        "check: ",
        "charge: check",
        "polish: charge",
        "poll: ",
        "pause: polish",
        "morning: polish",
        "word: ",
        "ask: polish pause word",
        "send: polish ask",
        "sorry: ask",
    ];
    assert_eq!(needs(&definition, BlockId::ROOT), expected);
    assert_eq!(needs(&definition, BlockId(1)), ["draft: ", "review: draft"]);
    assert_eq!(definition.root().steps[2].dependents, [4, 5, 7, 8]);
}

#[test]
fn the_nearest_step_of_a_name_is_meant() {
    let source = "
workflow: test
steps:
  a: { capability: x }
  b: { capability: x }
  group:
    repeat: { max: 2, until: '${{ steps.a.output.done && steps.b.output.done }}' }
    steps:
      a: { capability: x, with: { v: '${{ steps.b.output }}' } }
      inner:
        steps: { c: { capability: x, with: { near: '${{ steps.a.output }}', far: '${{ steps.b.output }}' } } }
";
    let definition = crate::parse(source);
    assert_eq!(needs(&definition, BlockId::ROOT), ["a: ", "b: ", "group: b"]);
    assert_eq!(needs(&definition, BlockId(1)), ["a: ", "inner: a"]);
    let shown = |template: &Template| format!("{:?}", template.references());
    assert_eq!(
        shown(&definition.block(BlockId(2)).steps[0].with),
        r#"[Step { up: 1, index: 0, name: "a" }, Step { up: 2, index: 1, name: "b" }]"#
    );
    let until = definition.root().steps[2].repeat.as_ref().unwrap().until.as_ref().unwrap();
    let shown = format!("{:?}", until.references());
    assert_eq!(shown, r#"[Step { up: 0, index: 0, name: "a" }, Step { up: 1, index: 1, name: "b" }]"#);
}

#[test]
fn yaml_means_what_yaml_1_2_says() {
    let source = "
workflow: test
steps:
  a:
    capability: x
    with:
      texts: [no, on, yes, 'true', 1.2.3, 12:30, 2026-11-22, 0x, '', +a, a-, e5, 1_000]
      values: [true, null, ~, 12, -3, 0x1f, 0o17, 1.5, 1e3, -0.5, .5, +7, 18446744073709551615]
      quoted: \"a\\tb\\u00e9\"
      block: |
        two
        lines
      folded: >-
        one
        line
      forced: !!str 12
      shared: &s { k: [1] }
      again: *s
      1: key
";
    let definition = crate::parse(source);
    let expected = json!({
        "texts": ["no", "on", "yes", "true", "1.2.3", "12:30", "2026-11-22", "0x", "", "+a", "a-", "e5", "1_000"],
        "values": [true, null, null, 12, -3, 31, 15, 1.5, 1000.0, -0.5, 0.5, 7, u64::MAX],
        "quoted": "a\tbé", "block": "two\nlines\n", "folded": "one line", "forced": "12",
        "shared": {"k": [1]}, "again": {"k": [1]}, "1": "key",
    });
    match &definition.root().steps[0].with {
        Template::Literal(value) => assert_eq!(value, &expected),
        other => panic!("{other:?}"),
    }
}

#[test]
fn definitions_are_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    shared(&crate::parse(WHOLE));
}
