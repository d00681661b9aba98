//! Expressions: compiled and evaluated.
//!
//! For: texts between `${{` and `}}`. Not for: the YAML around them (see `definition`).
//! Invariant: an evaluation ends within its budget, gives the same value each time, and never panics.

use consort_workflow::Template;

use super::{definition, text, texts, trace};
use crate::{Choices, Target};

/// The target. A first byte of 1 makes the rest decisions out of which an expression is written.
pub const TARGET: Target = Target { name: "expression", run, seeds, words: WORDS, bytes_max: 4 * 1024 };

const WORDS: &[&str] = &[
    "input",
    ".a",
    "[0]",
    "[-1]",
    "item",
    "index",
    "loop.previous",
    "steps.a.output",
    "run.id",
    "size(",
    ".map(x, ",
    ".filter(x, ",
    ".all(x, ",
    ".exists(x, ",
    ".exists_one(x, ",
    "has(input.a)",
    ".matches('",
    "contains(",
    "in ",
    " && ",
    " || ",
    "!",
    "-",
    " + ",
    " - ",
    " * ",
    " / ",
    " % ",
    " == ",
    " != ",
    " < ",
    " >= ",
    "? ",
    " : ",
    "null",
    "true",
    "9223372036854775807",
    "-9223372036854775808",
    "1e308",
    "0.0",
    "'a'",
    "r'\\d'",
    "'''",
    "\\u0000",
    "é",
    "{'k': 1}",
    "[1, 2]",
    "(",
    ")",
    "[",
    "]",
    "success()",
    "failure()",
    "string(",
    "int(",
    "double(",
    "join(",
    "split(",
    "0x",
    "u",
    "b'x'",
    "duration('1s')",
    "timestamp(",
    "range(",
    "flatten(",
    "sort(",
    "replace(",
    "substring(",
];

fn run(input: &[u8]) -> u64 {
    let expression = match input.split_first() {
        Some((1, rest)) => written(&mut Choices::new(rest), 0),
        _ => text(input),
    };
    // A JSON text is a YAML text in double quotes.
    let quoted = serde_json::Value::String(format!("${{{{ {expression} }}}}"));
    let source =
        format!("workflow: w\nsteps:\n  a: {{ capability: x }}\n  b: {{ capability: x, with: {{ v: {quoted} }} }}\n");
    let definition = match consort_workflow_check::check(&source) {
        Ok(checked) => checked.definition,
        Err(found) => return trace(found.0.first().map(|found| (found.code, found.message.len()))),
    };
    let environment = definition::environment(&definition);
    let with = &definition.root().steps[1].with;
    let value = with.evaluate(&environment);
    assert_eq!(value, with.evaluate(&environment), "twice the same");
    let shape = match &value {
        Ok(value) => value.to_string().len().checked_ilog2().unwrap_or(0),
        Err(error) => error.message.len() as u32,
    };
    let parts = if let Template::Map(entries) = with { entries.len() } else { 0 };
    trace((value.is_ok(), shape, parts))
}

/// An expression out of decisions.
fn written(choices: &mut Choices<'_>, depth: usize) -> String {
    if depth > 5 || choices.is_done() {
        return choices.word(LEAVES).to_owned();
    }
    let mut part = || written(choices, depth + 1);
    let (one, two) = (part(), part());
    match choices.byte() % 12 {
        0 => format!("{one} {} {two}", choices.word(&["+", "-", "*", "/", "%"])),
        1 => format!("{one} {} {two}", choices.word(&["==", "!=", "<", "<=", ">", ">=", "in"])),
        2 => format!("({one}) {} ({two})", choices.word(&["&&", "||"])),
        3 => format!("({one} ? {two} : {one})"),
        4 => format!("[{one}, {two}]"),
        5 => format!("{{'k': {one}, 'l': {two}}}"),
        6 => format!("({one})[{two}]"),
        7 => format!("{one}.{}(x, {two})", choices.word(&["map", "filter", "all", "exists", "exists_one"])),
        8 => format!("{}({one})", choices.word(&["size", "string", "int", "double", "-", "!", "bool", "type"])),
        9 => format!(
            "({one}).{}({two})",
            choices.word(&["contains", "startsWith", "endsWith", "matches", "split", "join", "indexOf"])
        ),
        10 => format!("has({one}.a) || {two}"),
        _ => choices.word(LEAVES).to_owned(),
    }
}

const LEAVES: &[&str] = &[
    "input",
    "input.a",
    "x",
    "item",
    "index",
    "loop.previous",
    "steps.a.output.text",
    "1",
    "-1",
    "0",
    "2.5",
    "1e308",
    "9223372036854775807",
    "-9223372036854775808",
    "'añb'",
    "''",
    "null",
    "true",
    "[]",
    "{}",
    "input.a[4]",
    "'a'",
    "5e-324",
];

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = texts(&[
        "input.a.map(x, x).filter(y, y != null)",
        "size(steps.a.output.text) + index * 2 - 1",
        "has(input.n) && input.n in [1, -1] ? 'x' : 'y'",
        "{'a': 1, 'b': [1, 2, 3].all(x, x > 0)}",
        "'abc'.matches('^a.*c$') || input.text.contains('ñ')",
        "loop.previous.score >= 0.8 || run.id == 'r'",
    ]);
    seeds.extend(
        (0..8_u8).map(|seed| (0..40).map(|n: u8| if n == 0 { 1 } else { n.wrapping_mul(91 + seed) }).collect()),
    );
    seeds
}
