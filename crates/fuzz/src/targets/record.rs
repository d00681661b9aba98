//! Records of the log: bytes that claim to be a command, decoded and applied to a partition with active runs.
//!
//! For: `Command::decode`, and one strange command among good ones. Not for: long sequences (see `machine`).
//! Invariant: bytes are refused or understood; what is understood is refused or applied, and the laws hold after it.

use consort_core::Command;

use super::{machine, trace, world::World};
use crate::{Choices, Target};

/// The target: the input is one record.
pub const TARGET: Target =
    Target { name: "record", run, seeds, words: &["default", "w0", "leaf", "null", "{}"], bytes_max: 4 * 1024 };

fn run(input: &[u8]) -> u64 {
    let Ok(command) = Command::decode(input) else { return trace(input.first()) };
    let mut world = busy();
    let before = world.outcomes.len();
    let halted = world.apply(&command).is_none();
    if !halted {
        world.verify();
    }
    trace((halted, &world.outcomes[before..]))
}

/// A partition in the middle of something.
fn busy() -> World {
    let mut world = machine::begin();
    machine::play(&mut world, &mut Choices::new(&STORY), 24);
    world
}

/// Decisions that start runs and leave tasks open.
const STORY: [u8; 60] = {
    let mut story = [0; 60];
    let mut at = 0;
    while at < story.len() {
        story[at] = (at * 29 + 3) as u8;
        at += 1;
    }
    story
};

/// Rows of a partition with active runs, for the target `rows`.
pub(super) fn stored_rows() -> Vec<(Vec<u8>, Vec<u8>)> {
    busy().rows()
}

/// One record of each kind, as decisions make them.
fn seeds() -> Vec<Vec<u8>> {
    let mut world = busy();
    (0..=255_u8)
        .map(|first| {
            let decisions: Vec<u8> =
                (0..32).map(|n: u8| if n == 0 { first } else { n.wrapping_mul(first | 1) }).collect();
            machine::command(&mut world, &mut Choices::new(&decisions)).encode()
        })
        .collect()
}
