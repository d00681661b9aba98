//! The targets: one file for each door through which bytes come in.
//!
//! For: this listing is what is fuzzed. Not for: how inputs are made (see the driver).
//! Invariant: a target's outcome depends on its input alone.

mod asks;
pub mod body;
pub mod definition;
pub mod expression;
pub mod log;
pub mod machine;
pub mod record;
pub mod rows;
pub mod texts;
mod world;
mod yaml;

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::Target;

/// Every target.
pub const ALL: [&Target; 8] = [
    &log::TARGET,
    &definition::TARGET,
    &expression::TARGET,
    &body::TARGET,
    &record::TARGET,
    &machine::TARGET,
    &rows::TARGET,
    &texts::TARGET,
];

/// The trace of what was seen.
fn trace(seen: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    seen.hash(&mut hasher);
    hasher.finish()
}

/// Bytes as text; what is not UTF-8 is replaced.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn texts(seeds: &[&str]) -> Vec<Vec<u8>> {
    seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect()
}
