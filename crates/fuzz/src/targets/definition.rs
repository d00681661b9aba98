//! The workflow parser, and everything that can be asked of what it read.
//!
//! For: texts from outside. Not for: running workflows (see `machine`).
//! Invariant: the same text gives the same answer, whatever the text is.

use std::{collections::BTreeMap, sync::Arc};

use consort_workflow::{Action, Definition, Environment, StatusFlags, Step, StepValue, Template, Wait};
use consort_workflow_check::{Graph, check};
use serde_json::{Value, json};

use super::{text, texts, trace, yaml};
use crate::{Choices, Target};

/// The target. A first byte of 1 makes the rest decisions out of which a workflow is written.
pub const TARGET: Target = Target { name: "definition", run, seeds, words: WORDS, bytes_max: 8 * 1024 };

const WORDS: &[&str] = &[
    "workflow: ",
    "steps:",
    "input:",
    "output: ",
    "for_each: ",
    "repeat: ",
    "until: ",
    "while: ",
    "max: ",
    "with: ",
    "needs: ",
    "if: ",
    "wait: ",
    "signal: ",
    "approve: ",
    "retry: ",
    "compensate: ",
    "timeout: ",
    "deadline: ",
    "concurrency: ",
    "capability: ",
    "agent: ",
    "effect: write",
    "on_unknown: reconcile with ",
    "${{ ",
    " }}",
    "steps.a.output",
    ".output",
    "item",
    "loop.previous",
    "[",
    "]",
    "{",
    "}",
    ": ",
    "- ",
    "&a ",
    "*a",
    "\n  ",
    "\n    ",
    "\"",
    "'",
    " #",
    "!!str ",
    "é",
    "99999999999999999999",
    "1e400",
    "\u{feff}",
    "\t",
    "|\n",
    ">-\n",
    "<<: ",
    "%YAML",
    "---\n",
    "$ref",
    "pattern",
    "(a|b)*",
    "0x7fffffffffffffff",
    "~",
];

fn run(input: &[u8]) -> u64 {
    let source = match input.split_first() {
        Some((1, rest)) => yaml::workflow("w", &mut Choices::new(rest)),
        _ => text(input),
    };
    match check(&source) {
        Ok(checked) => {
            let definition = checked.definition;
            let graph = Graph::of(&definition);
            let drawn = [graph.tree(), graph.mermaid(), graph.dot()].map(|drawing| drawing.len().ilog2());
            let again = check(&source).expect("what was read once is read again");
            assert_eq!(checked.compiled, again.compiled);
            let read = checked.compiled.definition().expect("a normal form is read");
            assert_eq!(format!("{read:?}"), format!("{definition:?}"), "a normal form is the definition");
            trace((drawn, accept(&definition), evaluate(&definition)))
        }
        Err(found) => {
            assert!(!found.0.is_empty(), "a refusal has a reason");
            assert_eq!(Err(&found), check(&source).as_ref().map(|_| ()), "the same text, the same findings");
            assert!(!found.render("w.yaml", &source, false).is_empty());
            let mut codes: Vec<&str> = found.0.iter().map(|found| found.code).collect();
            codes.sort_unstable();
            codes.dedup();
            trace(codes)
        }
    }
}

/// Which inputs the workflow takes.
fn accept(definition: &Definition) -> Vec<bool> {
    let inputs = [json!(null), json!({}), json!({"a": 1}), json!([]), json!({"orders": [{}], "customer": "x"})];
    let taken = inputs.iter().map(|input| {
        definition.accept_input(input).is_ok_and(|accepted| {
            assert_eq!(definition.accept_input(&accepted), Ok(accepted.clone()), "defaults are filled in once");
            true
        })
    });
    taken.collect()
}

/// What its expressions give, as codes.
fn evaluate(definition: &Definition) -> Vec<&'static str> {
    let environment = environment(definition);
    let mut seen = Vec::new();
    let mut fill = |template: &Template| {
        let value = template.evaluate(&environment);
        if let (Ok(value), Ok(bytes)) = (&value, template.evaluate_json(&environment)) {
            assert_eq!(serde_json::from_slice::<Value>(&bytes).ok().as_ref(), Some(value), "both ways give the same");
        }
        seen.push(value.map_or_else(|error| error.code.title(), |_| "ok"));
    };
    for step in definition.blocks.iter().flat_map(|block| &block.steps) {
        templates(step).into_iter().for_each(&mut fill);
        let _ = step.runs(&environment);
        let _ = step.repeat.as_ref().map(|repeat| repeat.ends(&environment));
        if let Action::Wait(Wait::Event { filter: Some(filter), .. }) = &step.action {
            let _ = filter.evaluate_bool(&environment);
        }
    }
    definition.output.iter().for_each(fill);
    seen.sort_unstable();
    seen.dedup();
    seen
}

fn templates(step: &Step) -> Vec<&Template> {
    let mut found = vec![&step.with];
    found.extend(step.for_each.as_ref().map(|each| &each.items));
    found.extend(step.compensate.as_ref().map(|compensate| &compensate.with));
    found.extend(step.concurrency.as_ref().and_then(|concurrency| concurrency.key.as_ref()));
    found.extend(step.with_lock.as_ref().map(|lock| &lock.name));
    found.extend(step.reads.iter().flatten().flat_map(|read| [&read.space, &read.key]));
    match &step.action {
        Action::Wait(Wait::For(template) | Wait::Until(template) | Wait::Event { topic: template, .. }) => {
            found.push(template);
        }
        Action::Approve(approve) => {
            found.push(&approve.title);
            found.extend(&approve.details);
        }
        Action::Publish(event) => found.push(event),
        Action::State(state) => found.push(&state.transaction),
        _ => {}
    }
    found
}

/// An environment in which every name of the workflow is bound.
pub(super) fn environment(definition: &Definition) -> Environment {
    let value = json!({"a": [1, 2.5, "x", null, {"b": true}], "id": "7", "score": 0.9, "text": "añb", "n": -1});
    let names = definition.blocks.iter().flat_map(|block| &block.steps).map(|step| Arc::from(step.name.as_str()));
    let known = StepValue { output: Arc::new(value.clone()), status: "succeeded", error: None, attempts: 1 };
    let steps: BTreeMap<Arc<str>, StepValue> = names.map(|name| (name, known.clone())).collect();
    Environment {
        input: Arc::new(value.clone()),
        item: Some(Arc::new(json!([3, "y"]))),
        index: Some(4),
        loop_: Some(Arc::new(json!({"index": 2, "previous": value}))),
        run: Arc::new(json!({"id": "r", "workflow": "w", "started_at": "2026-11-22T10:00:00Z"})),
        output: Some(Arc::new(value)),
        steps,
        status: StatusFlags::default(),
        ..Environment::default()
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let whole = include_str!("../../../workflow-check/tests/language/whole.yaml");
    let mut seeds = texts(&[
        whole,
        "workflow: w\nsteps:\n  a: { capability: x, with: { v: \"${{ input.a[0] }}\" } }\noutput: ${{ steps.a.output }}\n",
        "workflow: w\ninput: { a: { type: integer, default: 3 } }\nsteps: { a: { wait: \"${{ input.a }}\" } }\n",
        "workflow: w\nsteps: { g: { for_each: [1, 2], steps: { b: { approve: \"${{ item }}?\" } } } }\n",
    ]);
    seeds.extend(
        (0..8_u8).map(|seed| (0..60).map(|n: u8| if n == 0 { 1 } else { n.wrapping_mul(37 + seed) }).collect()),
    );
    seeds
}
