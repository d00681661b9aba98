//! Every scenario against every SDK.
//!
//! For: the gate. Not for: choosing (run `cargo run -p consort-conformance -- NAME`).
//! Invariant: an SDK that cannot be started fails its test: nothing is passed over in silence.

use consort_conformance::{outcomes, scenario, sdk::Sdk};

fn check(sdk: Sdk) {
    let scenarios = scenario::all().unwrap();
    let failures: Vec<String> = outcomes(&scenarios, sdk).into_iter().filter_map(Result::err).collect();
    assert!(
        failures.is_empty(),
        "{} of {} scenarios failed:\n{}",
        failures.len(),
        scenarios.len(),
        failures.join("\n")
    );
}

#[test]
fn rust() {
    check(Sdk::Rust);
}

#[test]
fn python() {
    check(Sdk::Python);
}

#[test]
fn typescript() {
    check(Sdk::TypeScript);
}
