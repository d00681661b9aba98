//! What steps have to do with everyone: `publish`, `state`, waits for events, `with_lock` and `reads`.

use consort_types::Span;
use consort_workflow::{Action, Reference, Template, Wait};
use serde_json::json;

use crate::{parse, refuse};

const FLOW: &str = include_str!("../../corpus/shared.yaml");

#[test]
fn steps_are_read_into_maps_that_the_machine_evaluates() {
    let definition = parse(FLOW);
    let action = |name: &str| &definition.root().steps[definition.root().position(name).unwrap()].action;
    let Action::Publish(Template::Map(event)) = action("tell") else { panic!("{definition:?}") };
    assert_eq!(event.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["data", "subject", "type"]);
    assert!(matches!(action("fixed"), Action::Publish(Template::Literal(event)) if *event == json!({"type": "a.b"})));
    let Action::State(write) = action("write") else { panic!("{definition:?}") };
    assert!(write.single && write.must_hold && matches!(write.transaction, Template::Map(_)));
    let Action::State(both) = action("both") else { panic!("{definition:?}") };
    assert!(!both.single && !both.must_hold);
    assert!(matches!(&both.transaction, Template::Literal(all) if all["do"][0]["op"] == "delete"));
    let Action::Wait(Wait::Event { topic, filter, timeout }) = action("hear") else { panic!("{definition:?}") };
    assert!(matches!(topic, Template::Literal(topic) if topic == "a.*"));
    assert_eq!(filter.as_ref().unwrap().references(), [Reference::Input, Reference::Event]);
    assert_eq!(*timeout, Some(Span::from_secs(300)));
    let held = &definition.root().steps[definition.root().position("held").unwrap()];
    let lock = held.with_lock.as_ref().unwrap();
    assert_eq!((lock.permits, lock.wait), (2, Some(Span::from_secs(3_600))));
    assert_eq!(held.reads.as_ref().unwrap()[0].name, "flag");
    let inner = &definition.blocks[1].steps[0];
    assert_eq!(inner.with.references(), [Reference::Lock, Reference::Reads]);
    let tell = &definition.root().steps[0];
    assert_eq!(tell.needs, [definition.root().position("write").unwrap()]);
}

#[test]
fn drawings_say_what_the_steps_do() {
    let tree = consort_workflow_check::Graph::of(&parse(FLOW)).tree();
    for line in [
        "tell: publish a.b",
        "write: state put k/… in s",
        "both: state delete k in s",
        "hear: wait for event a.*",
        "held: group · if reads.flag.value != null · under lock one",
    ] {
        assert!(tree.contains(line), "{line}\n{tree}");
    }
}

#[test]
fn what_cannot_be_is_found_before_a_run() {
    for (step, said) in [
        ("{ publish: { topic: a } }", "`type` is missing"),
        ("{ publish: { type: a, topic: 'a b' } }", "`a b` cannot be a topic"),
        ("{ publish: { type: a, to: b } }", "`publish` has no key `to`"),
        ("{ publish: { type: a }, retry: { attempts: 2 } }", "`retry` means nothing on a step of kind `publish`"),
        ("{ state: { get: k } }", "`space` is missing"),
        ("{ state: { space: s, get: k, put: k, value: 1 } }", "`state` does one thing"),
        ("{ state: { space: s, put: k } }", "`value` is missing"),
        ("{ state: { space: s, get: k, value: 1 } }", "`value` means nothing beside `get`"),
        ("{ state: { space: s, do: [] } }", "`space` means nothing beside `do`"),
        ("{ state: { if: [] } }", "`do` is missing"),
        ("{ state: { do: [{ op: push, space: s, key: k }] } }", "unknown variant `push`"),
        ("{ state: { space: 'no name', get: k } }", "no name"),
        ("{ wait: { event: 'a.>.b' } }", "cannot be a pattern"),
        ("{ wait: { event: a, filter: 'event.data' } }", "must be one expression"),
        ("{ wait: { event: a, filter: \"${{ 'text' }}\" } }", "must be true or false"),
        ("{ wait: { signal: a, filter: '${{ true }}' } }", "`filter` means nothing beside `signal`"),
        ("{ capability: c, with: { x: '${{ event.data }}' } }", "`event` is known only in triggers"),
        ("{ capability: c, with: { x: '${{ lock.token }}' } }", "`lock` has no value outside of `with_lock`"),
        ("{ capability: c, with: { x: '${{ reads.a }}' } }", "`reads` has no value where no step reads"),
        ("{ capability: c, with_lock: a, with: { x: '${{ lock.tokn }}' } }", "tokn"),
        ("{ capability: c, with_lock: a, if: '${{ lock.token > 1 }}' }", "`lock` has no value outside"),
        ("{ capability: c, with_lock: 'a b' }", "a b"),
        ("{ capability: c, with_lock: { name: a, permits: 0 } }", "`permits` is 0"),
        ("{ capability: c, with_lock: { name: a, ttl: 5s } }", "`with_lock` has no key `ttl`"),
        ("{ with_lock: a, steps: { x: { with_lock: a, capability: c } } }", "would wait for itself"),
        ("{ capability: c, reads: { a: { space: s } } }", "`key` is missing"),
        ("{ capability: c, reads: [a] }", "`reads` must be a map"),
    ] {
        let source = format!("workflow: test\nsteps:\n  a: {step}\n");
        let found = refuse(&source).render("test.yaml", &source, false);
        assert!(found.contains(said), "{step}: {said}\n{found}");
    }
    let many: Vec<String> = (0..17).map(|n| format!("r{n}: {{ space: s, key: k }}")).collect();
    let source = format!("workflow: test\nsteps:\n  a: {{ capability: c, reads: {{ {} }} }}\n", many.join(", "));
    let found = refuse(&source).render("test.yaml", &source, false);
    assert!(found.contains("`reads` has 17 keys, the limit is 16"), "{found}");
}
