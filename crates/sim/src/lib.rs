//! The simulator: a whole partition in one thread on virtual time from one seed.
//!
//! For: finding an order of crashes, delays and false reports that breaks a law of the design, before users meet it.
//! Not for: measuring speed, or for real disks and networks (`tests/crash` and `bench` do that).
//! Invariant: the same plan gives the same trace, on every machine; nothing but the seed decides.

#![allow(clippy::unnecessary_wraps, reason = "whatever happens in the world may break a law, and says so alike")]
#![allow(clippy::struct_excessive_bools, reason = "faults are switches, each with a meaning of its own")]
#![allow(clippy::cast_possible_wrap, reason = "simulated times are far below the limits of 64 bits")]

mod actors;
mod answers;
mod assignments;
mod clock;
mod context;
mod disk;
mod event;
mod far;
mod forgery;
mod host;
mod network;
mod oracle;
mod plan;
mod random;
mod requests;
mod results;
mod roster;
mod service;
mod trace;
mod verdict;
mod workflows;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use consort_types::text::panic_message;

pub use plan::{Figures, InjectedBug, Law, Outcome, Plan, Violation};
use world::World;

/// Simulates what a plan says.
pub fn simulate(plan: &Plan) -> Outcome {
    let broken = |law, what: String| Violation { law, what };
    let mut world = match World::new(plan) {
        Ok(world) => world,
        Err(error) => {
            let violation = Some(broken(Law::Assertion, format!("the world cannot be made: {error}")));
            return Outcome { trace: [0; 32], figures: Figures::default(), violation };
        }
    };
    let result = catch_unwind(AssertUnwindSafe(|| world.run()));
    let violation = match result {
        Ok(checked) => checked.err(),
        Err(panic) => Some(broken(Law::Assertion, panic_message(&*panic).to_owned())),
    };
    let (trace, figures) = world.into_outcome();
    Outcome { trace, figures, violation }
}
