//! Properties of matching over random sequences of calls, beside a simple reference.
//!
//! For: what must hold whatever is called in whatever order: one holder for each task, capacity, limits, priority, work
//! conservation, fairness, no starvation, the same assignments for the same calls. Not for: single rules, which
//! `scheduling` shows by small scripts.
//! Invariant: the reference knows only the calls to the dispatcher and their results.

mod order;
mod reference;

use consort_dispatch::Outcome;
use proptest::prelude::*;

use reference::{Op, World};

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => Just(Outcome::Completed),
        1 => Just(Outcome::Failed { blamed: false }),
        1 => Just(Outcome::Failed { blamed: true }),
        1 => Just(Outcome::Expired),
        1 => Just(Outcome::Lost),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let pick = any::<u16>;
    prop_oneof![
        4 => (pick(), 0..5_u32).prop_map(|(pick, capacity)| Op::Join { pick, capacity }),
        3 => (pick(), 0..40_u64).prop_map(|(pick, grace)| Op::Disconnect { pick, grace }),
        1 => pick().prop_map(|pick| Op::DrainInstance { pick }),
        2 => (pick(), 0..5_u32).prop_map(|(pick, capacity)| Op::SetCapacity { pick, capacity }),
        20 => any::<u64>().prop_map(|pick| Op::Ready { pick }),
        2 => any::<u64>().prop_map(|pick| Op::Restore { pick }),
        1 => pick().prop_map(|pick| Op::Remove { pick }),
        10 => (pick(), outcome()).prop_map(|(pick, outcome)| Op::End { pick, outcome }),
        1 => pick().prop_map(|pick| Op::Requeue { pick }),
        2 => (pick(), any::<bool>()).prop_map(|(pick, slowly)| Op::Read { pick, slowly }),
        5 => (pick(), pick(), prop::bool::weighted(0.8), any::<bool>()).prop_map(
            |(instance, task, current, recovered)| Op::Claim { instance, task, current, recovered }
        ),
        2 => Just(Op::Release),
        3 => Just(Op::Lost),
        2 => (0..5_u8, any::<bool>()).prop_map(|(run, held)| Op::Hold { run, held }),
        2 => (pick(), prop::option::of(0..4_u32), prop::option::weighted(0.3, (0..4_u32, 1..40_u64, 0..4_u32)))
            .prop_map(|(scope, concurrency, rate)| Op::SetLimit { scope, concurrency, rate }),
        1 => (pick(), 0..3_u32, any::<bool>())
            .prop_map(|(pick, weight, draining)| Op::SetState { pick, weight, draining }),
        4 => (0..30_u64).prop_map(|span| Op::Pass { span }),
        14 => Just(Op::Assign),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each task has at most one holder and one place; capacity, limits and rates are never passed; no task of a lower
    /// priority overtakes; what could be assigned is assigned.
    #[test]
    fn laws_hold_whatever_is_called(ops in prop::collection::vec(op(), 1..140)) {
        let mut world = World::default();
        for op in &ops {
            world.act(op);
            world.check();
        }
        world.finish();
    }

    #[test]
    fn the_same_calls_give_the_same_assignments(ops in prop::collection::vec(op(), 1..140)) {
        let [first, second] = [(); 2].map(|()| {
            let mut world = World::default();
            for op in &ops {
                world.act(op);
            }
            world.trace
        });
        prop_assert_eq!(first, second);
    }
}
