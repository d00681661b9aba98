//! Changed code deployed three times under each SDK while its runs are in flight: every effect once.
//!
//! For: the gate. Not for: exact moments (see `scenarios`).
//! Invariant: the seed is printed, so that the moments can be tried again: `CONSORT_CRASH_SEED`.

use consort_conformance::{deploys::deploys, sdk::Sdk};
use consort_crash::seed;

fn check(sdk: Sdk) {
    let seed = seed();
    let found = deploys(sdk, seed).unwrap_or_else(|error| panic!("{error}"));
    println!("{} seed {seed}: {found:?}", sdk.name());
    assert!(found.orders == 12 && found.diverged == 2 && found.gifts == 4, "{found:?}");
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
