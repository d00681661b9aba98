//! The order of assignments, and that none starves.
//!
//! For: deadline and age within a run, fairness between runs and keys, no starvation. Not for: limits (see `reference`).
//! Invariant: each property bounds what a greedy run, key or queue can take from another.

use std::collections::BTreeMap;

use consort_dispatch::{Dispatcher, Outcome};
use consort_types::{
    Locality, StepInstanceId, Time,
    task::{ConcurrencyKey, ReadyTask},
};
use proptest::prelude::*;

use super::reference::{hello, ready};

/// A dispatcher with one instance that holds one task at a time.
struct OneByOne {
    dispatcher: Dispatcher,
    waiting: BTreeMap<StepInstanceId, ReadyTask>,
}

impl OneByOne {
    fn new() -> Self {
        let mut dispatcher = Dispatcher::new();
        dispatcher.join(&hello("a", "1", &["x", "y"], 1), Locality::Local, 28, Time(0));
        Self { dispatcher, waiting: BTreeMap::new() }
    }

    fn add(&mut self, task: ReadyTask) {
        self.waiting.insert(task.task, task.clone());
        self.dispatcher.ready(task);
    }

    /// Assigns and completes the next task.
    fn next(&mut self) -> Option<ReadyTask> {
        let assignments = self.dispatcher.assign(Time(100));
        assert!(assignments.len() <= 1, "the instance holds one task at a time");
        let assignment = assignments.first()?;
        self.dispatcher.ended(assignment.task, assignment.token, Outcome::Completed, Time(100));
        self.dispatcher.remove(assignment.task, Some(assignment.token));
        self.waiting.remove(&assignment.task)
    }
}

fn keyed(mut task: ReadyTask, key: u8) -> ReadyTask {
    task.concurrency = Some(ConcurrencyKey { key: format!("k{key}"), limit: 9 });
    task
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Within a run: by priority, then by deadline, then by age, then by arrival.
    #[test]
    fn a_run_is_served_by_priority_deadline_and_age(
        tasks in prop::collection::vec((0..3_i32, prop::option::of(0..4_u64), 0..4_u64), 1..40),
    ) {
        let mut world = OneByOne::new();
        let mut expected = Vec::new();
        for (arrival, (priority, deadline, age)) in tasks.into_iter().enumerate() {
            let mut task = ready(1, arrival as u32, 1);
            (task.priority, task.deadline, task.ready) = (priority, deadline.map(Time), Time(age));
            world.add(task);
            expected.push((-priority, deadline.unwrap_or(u64::MAX), age, arrival as u32));
        }
        expected.sort_unstable();
        for (.., index) in expected {
            prop_assert_eq!(world.next().map(|task| task.task.index), Some(index));
        }
        prop_assert!(world.next().is_none());
    }

    /// Runs that wait together are served in turn: while two of them wait, neither is served twice more than the other.
    #[test]
    fn runs_and_keys_take_turns(sizes in prop::collection::vec(1..12_u32, 2..6), by_key in any::<bool>()) {
        let mut world = OneByOne::new();
        for (group, size) in sizes.iter().enumerate() {
            for index in 0..*size {
                // Each task of a key comes from a run of its own, so that only keys can be fair to each other.
                let run = if by_key { (group as u8) * 16 + index as u8 } else { group as u8 };
                let task = ready(run, group as u32 * 100 + index, 1);
                world.add(if by_key { keyed(task, group as u8) } else { task });
            }
        }
        let mut served = vec![0_u32; sizes.len()];
        while let Some(task) = world.next() {
            served[(task.task.index / 100) as usize] += 1;
            let waiting = || served.iter().zip(&sizes).filter(|(served, size)| served < size).map(|(served, _)| *served);
            if let (Some(least), Some(most)) = (waiting().min(), waiting().max()) {
                prop_assert!(most - least <= 1, "{served:?} of {sizes:?}");
            }
        }
        prop_assert_eq!(served, sizes);
    }

    /// A run that spreads its tasks over many keys is not served more than one that has none, while both wait.
    #[test]
    fn a_run_gains_nothing_by_many_keys(keys in prop::collection::vec(0..6_u8, 2..30), plain in 2..30_u32) {
        let mut world = OneByOne::new();
        let sizes = [keys.len() as u32, plain];
        for (index, key) in keys.iter().enumerate() {
            world.add(keyed(ready(0, index as u32, 1), *key));
        }
        (0..plain).for_each(|index| world.add(ready(1, index, 1)));
        let mut served = [0; 2];
        while served[0] < sizes[0] && served[1] < sizes[1] {
            let run = world.next().map(|task| usize::from(task.task.run.0[0]));
            served[run.unwrap()] += 1;
            prop_assert!(served[0].abs_diff(served[1]) <= 1, "{served:?} of {sizes:?}");
        }
    }

    /// A task is assigned within a bounded number of assignments, whatever arrives meanwhile at its priority or below.
    #[test]
    fn no_task_starves(
        before in prop::collection::vec(any::<u16>(), 0..60),
        arrivals in prop::collection::vec((any::<u16>(), any::<u16>()), 40),
        victim in any::<u16>(),
    ) {
        const RUNS: u16 = 4;
        const KEYS: u16 = 3;
        let mut world = OneByOne::new();
        let mut made = 0;
        let mut add = |world: &mut OneByOne, pick: u16, run: u8| {
            made += 1;
            let mut task = ready(run, made, 1);
            task.capability = Some(if pick.is_multiple_of(2) { "x" } else { "y" }.into());
            let key = (pick / 2 % (KEYS + 1)) as u8;
            let task = if u16::from(key) < KEYS { keyed(task, key) } else { task };
            let id = task.task;
            world.add(task);
            id
        };
        for pick in before {
            add(&mut world, pick, (pick / 8 % RUNS) as u8);
        }
        let victim = add(&mut world, victim, 200);
        // Two queues; in each of them each key and each run without a key has a turn, and behind a key each of its runs.
        let bound = 2 * (usize::from(KEYS) * usize::from(RUNS + 1) + usize::from(RUNS) + 1);
        for (one, two) in arrivals {
            add(&mut world, one, (one / 8 % RUNS) as u8);
            add(&mut world, two, (two / 8 % RUNS) as u8);
        }
        let mut assignments = 0;
        let mut more = (0..).map(|n: u16| n.wrapping_mul(40_503));
        while world.waiting.contains_key(&victim) {
            prop_assert!(assignments < bound, "not assigned after {bound} assignments");
            assignments += 1;
            prop_assert!(world.next().is_some());
            let pick = more.next().unwrap_or_default();
            add(&mut world, pick, (pick / 8 % RUNS) as u8);
        }
    }
}
