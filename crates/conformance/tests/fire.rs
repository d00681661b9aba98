//! Worker and server killed in turn under each SDK: nothing is lost, no write is done twice.
//!
//! For: the gate. Not for: exact moments (see `scenarios`).
//! Invariant: the seed is printed, so that the moments can be tried again: `CONSORT_CRASH_SEED`.

use consort_conformance::{fire::fire, sdk::Sdk};
use consort_crash::seed;

/// Kills for each SDK.
const KILLS: u32 = 8;

fn check(sdk: Sdk) {
    let seed = seed();
    let found = fire(sdk, seed, KILLS).unwrap_or_else(|error| panic!("{error}"));
    println!("{} seed {seed}: {found:?}", sdk.name());
    assert_eq!(found.workers_killed + found.servers_killed, KILLS);
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
