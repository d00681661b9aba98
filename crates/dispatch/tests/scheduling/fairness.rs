//! Priority, fairness between runs and keys, deadlines, work stealing.
//!
//! For: the order of assignment. Not for: limits.
//! Invariant: no test depends on how many tasks the greedy one has.

use consort_types::{Span, Time};

use super::{Scene, key};

#[test]
fn a_run_with_ten_thousand_tasks_does_not_starve_a_run_with_one() {
    let mut scene = Scene::new();
    scene.join("a", "1", 1);
    (0..10_000).for_each(|_| {
        scene.ready(1, |_| {});
    });
    scene.ready(2, |_| {});
    let order = scene.runs_in_order();
    assert_eq!(order[..3], [1, 2, 1]);
    assert_eq!(order.len(), 10_001);
}

#[test]
fn nor_where_it_has_a_key_for_each_task() {
    let mut scene = Scene::new();
    scene.join("a", "1", 1);
    for n in 0..1_000 {
        scene.ready(1, |task| task.concurrency = Some(key(&format!("k{n}"), 5)));
    }
    scene.ready(2, |_| {});
    // A run that shares a key with one of the many is not held up behind the many either.
    scene.ready(3, |task| task.concurrency = Some(key("k900", 5)));
    let order = scene.runs_in_order();
    let place = |run: u16| order.iter().position(|found| *found == run).unwrap();
    assert!(place(2) <= 3 && place(3) <= 3, "{:?}", &order[..8]);
}

#[test]
fn a_key_with_many_tasks_does_not_starve_another_key() {
    let mut scene = Scene::new();
    scene.join("a", "1", 1);
    (1..=500).for_each(|run| {
        scene.ready(run, |task| task.concurrency = Some(key("many", 9)));
    });
    scene.ready(600, |task| task.concurrency = Some(key("few", 9)));
    scene.ready(601, |task| task.concurrency = Some(key("few", 9)));
    let order = scene.runs_in_order();
    assert_eq!(order[..4], [1, 600, 2, 601], "keys take turns");
}

#[test]
fn who_was_blocked_by_its_key_is_not_behind_for_it() {
    let mut scene = Scene::new();
    scene.join("a", "1", 1);
    (1..=50).for_each(|run| {
        scene.ready(run, |task| task.concurrency = Some(key("narrow", 1)));
    });
    (101..=150).for_each(|run| {
        scene.ready(run, |task| task.concurrency = Some(key("wide", 9)));
    });
    let order = scene.runs_in_order();
    let narrow = order[..20].iter().filter(|run| **run <= 50).count();
    assert_eq!(narrow, 10, "both keys get half: {:?}", &order[..20]);
}

#[test]
fn queues_of_the_same_instance_take_turns() {
    let mut scene = Scene::new();
    scene.join_with("a", "1", 1, &["x", "y"], &[]);
    (0..1_000).for_each(|_| {
        scene.ready(1, |_| {});
    });
    scene.pass(Span::from_secs(1));
    scene.ready(2, |task| task.capability = Some("y".into()));
    assert_eq!(scene.runs_in_order()[..3], [1, 2, 1]);
}

#[test]
fn priority_goes_first_across_queues_and_instances() {
    let mut scene = Scene::new();
    for (run, capability, priority) in [(1, "x", 0), (2, "y", 5), (3, "x", 9), (4, "y", -1)] {
        scene.ready(run, |task| {
            task.capability = Some(capability.into());
            task.priority = priority;
        });
    }
    scene.join_with("a", "1", 1, &["x", "y"], &[]);
    assert_eq!(scene.runs_in_order(), [3, 2, 1, 4]);
}

#[test]
fn within_a_run_what_ends_sooner_goes_first_then_what_is_older() {
    let mut scene = Scene::new();
    let at = |seconds: u64| Some(Time(scene_begin() + seconds * 1_000_000));
    let late = scene.ready(1, |task| task.deadline = at(90));
    let never = scene.ready(1, |_| {});
    let soon = scene.ready(1, |task| task.deadline = at(10));
    let aged = scene.ready(1, |task| task.ready = Time(5));
    scene.join("a", "1", 9);
    let order: Vec<_> = scene.assign().into_iter().map(|(task, _)| task).collect();
    assert_eq!(order, [soon, late, aged, never]);
}

fn scene_begin() -> u64 {
    super::BEGIN.0
}

#[test]
fn whoever_has_credit_takes_what_was_meant_for_the_busy() {
    let mut scene = Scene::new();
    let first = scene.join("a", "1", 2);
    let tasks: Vec<_> = (0..6).map(|_| scene.ready(1, |_| {})).collect();
    let given = scene.assign();
    assert_eq!(given, [(tasks[0], first), (tasks[1], first)]);
    let late = scene.join("b", "7", 3);
    let given = scene.assign();
    assert_eq!(given, [(tasks[2], late), (tasks[3], late), (tasks[4], late)]);
    scene.complete(tasks[0]);
    assert_eq!(scene.assign(), [(tasks[5], first)]);
}

#[test]
fn credit_grows_shrinks_and_brings_no_one_back_who_leaves() {
    let mut scene = Scene::new();
    let one = scene.join("a", "1", 1);
    let tasks: Vec<_> = (0..5).map(|_| scene.ready(1, |_| {})).collect();
    assert_eq!(scene.assign().len(), 1);
    scene.dispatcher.set_capacity(one, 3);
    assert_eq!(scene.assign().len(), 2);
    scene.dispatcher.set_capacity(one, 1);
    scene.complete(tasks[0]);
    scene.complete(tasks[1]);
    assert_eq!(scene.assign(), [], "it still holds one, and its capacity is one");
    scene.complete(tasks[2]);
    assert_eq!(scene.assign().len(), 1);
    scene.dispatcher.drain_instance(one);
    scene.dispatcher.set_capacity(one, 9);
    assert_eq!(scene.assign(), [], "a draining instance gets nothing");
}

#[test]
fn the_least_loaded_goes_first_then_the_fastest() {
    let mut scene = Scene::new();
    let (slow, fast) = (scene.join("a", "1", 4), scene.join("a", "1", 4));
    let (first, second) = (scene.ready(1, |_| {}), scene.ready(1, |_| {}));
    assert_eq!(scene.assign(), [(first, slow), (second, fast)]);
    scene.pass(Span::from_millis(10));
    scene.complete(second);
    scene.pass(Span::from_secs(5));
    scene.complete(first);
    let third = scene.ready(1, |_| {});
    assert_eq!(scene.assign(), [(third, fast)], "of two that hold nothing, the fastest");
    let fourth = scene.ready(1, |_| {});
    assert_eq!(scene.assign(), [(fourth, slow)], "load comes before speed");
    // The share of its credit counts, not the number of tasks.
    let wide = scene.join("a", "1", 100);
    let more: Vec<_> = (0..3).map(|_| scene.ready(1, |_| {})).collect();
    let given: Vec<_> = scene.assign();
    assert_eq!(given, [(more[0], wide), (more[1], wide), (more[2], wide)]);
}
