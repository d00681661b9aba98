//! Bodies of HTTP requests.
//!
//! For: the documents that the HTTP interface reads. Not for: HTTP itself (its library reads that).
//! Invariant: that of `fuzz_body`.

use super::{texts, trace};
use crate::Target;

/// The target.
pub const TARGET: Target = Target { name: "body", run, seeds, words: WORDS, bytes_max: 8 * 1024 };

const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "null",
    "true",
    "1e999",
    "-0",
    "\\u0000",
    "\\ud800",
    "\"workflow\":",
    "\"input\":",
    "\"labels\":",
    "\"timeout\":",
    "\"priority\":",
    "\"decision\":",
    "\"done\"",
    "\"filter\":",
    "\"action\":",
    "\"keep\":",
    "\"source\":",
    "\"by\":",
    "\"limit\":",
    "99999999999999999999",
    "\"1h30m\"",
    "[[[[[[[[[[[[[[[[",
    "{\"a\":{\"a\":{\"a\":",
];

fn run(input: &[u8]) -> u64 {
    let takers = consort_api_http::fuzz_body(input);
    let kinds: Vec<bool> =
        WORDS.iter().map(|word| input.windows(word.len()).any(|part| part == word.as_bytes())).collect();
    trace((kinds, takers, serde_json::from_slice::<serde_json::Value>(input).is_ok()))
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = texts(&[
        r#"{"workflow":"w","input":{"a":[1,2.5,"x",null]},"labels":{"k":"v"},"priority":-3,"timeout":"1h30m"}"#,
        r#"{"source":"workflow: w\nsteps: { a: { capability: x } }\n"}"#,
        r#"{"decision":"done","by":"ann","comment":"ok","output":{"a":1}}"#,
        r#"{"filter":{"status":["failed"],"labels":{"k":"v"}},"action":"cancel","limit":10,"dry_run":true}"#,
        r#"{"keep":"30d"}"#,
        r#"{"reason":"x","force":true}"#,
        r#"{"from":"a","input":{"b":2}}"#,
        r#"{"max_concurrent":1,"rate":{"tasks":1,"per":"1s"},"max_waiting":9}"#,
        "",
    ]);
    // Every field of any operation is in a seed.
    seeds.extend(consort_api::operations().iter().map(|entry| {
        let fields = entry.body_fields().into_iter().map(|field| (field, serde_json::Value::Null));
        serde_json::Value::Object(fields.collect()).to_string().into_bytes()
    }));
    seeds
}
