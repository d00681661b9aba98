//! Circuit breakers: a failing instance is left out, probed, and recovers.
//!
//! For: what the outcomes of attempts show about their instance. Not for: silence (see `dispatcher`).
//! Invariant: no task starves because instances are unhealthy.

use consort_dispatch::{Outcome, WorkerInstanceId};
use consort_types::{Span, registry::Health};

use super::{NS, Scene, sticky};

const FAILED: Outcome = Outcome::Failed { blamed: true };
const TIMEOUT: Span = Span::from_secs(30);

/// Gives one instance tasks until it has done `count`, with this outcome.
fn run(scene: &mut Scene, instance: WorkerInstanceId, count: u32, outcome: Outcome) {
    let mut done = 0;
    while done < count {
        scene.ready(1, |_| {});
        for (task, by) in scene.assign() {
            if by == instance {
                done += 1;
                scene.end(task, outcome);
            } else {
                scene.complete(task);
            }
        }
    }
}

/// Each of two instances completes a task.
fn do_well(scene: &mut Scene) {
    for _ in 0..2 {
        scene.ready(1, |_| {});
    }
    for (task, _) in scene.assign() {
        scene.complete(task);
    }
}

fn health(scene: &Scene, instance: WorkerInstanceId) -> (Health, String) {
    let name = scene.dispatcher.name(instance).unwrap().to_string();
    let seen = scene.dispatcher.views().observed(NS, "a", "1", scene.now, TIMEOUT);
    let view = seen.instances.into_iter().find(|view| view.name == name).unwrap();
    (view.health, view.reason.unwrap_or_default())
}

#[test]
fn who_fails_is_left_out_and_others_do_the_work() {
    let mut scene = Scene::new();
    let (bad, good) = (scene.join("a", "1", 1), scene.join("a", "1", 1));
    do_well(&mut scene);
    run(&mut scene, bad, 3, Outcome::Completed);
    run(&mut scene, bad, 3, FAILED);
    assert_eq!(health(&scene, bad).0, Health::Degraded);
    run(&mut scene, bad, 4, FAILED);
    assert_eq!(health(&scene, bad), (Health::Unhealthy, "7 of the last 10 attempts failed".into()));
    for _ in 0..20 {
        let task = scene.ready(1, |_| {});
        assert_eq!(scene.assign(), [(task, good)]);
        scene.complete(task);
    }
    let seen = scene.dispatcher.views().observed(NS, "a", "1", scene.now, TIMEOUT);
    assert_eq!((seen.health, seen.reason), (Health::Healthy, None), "an agent does as its best instance");
}

#[test]
fn after_a_pause_one_task_tries_it_and_a_success_brings_it_back() {
    let mut scene = Scene::new();
    let only = scene.join("a", "1", 8);
    run(&mut scene, only, 5, Outcome::Expired);
    let tasks: Vec<_> = (0..4).map(|_| scene.ready(1, |_| {})).collect();
    assert_eq!(scene.assign(), [], "all instances are unhealthy");
    let reason = scene.dispatcher.views().queues(NS, scene.now)[0].reason.clone().unwrap();
    assert!(reason.contains("unhealthy"), "{reason}");
    let due = scene.dispatcher.next_opening().unwrap();
    scene.now = due;
    assert_eq!(scene.assign(), [(tasks[0], only)], "one task at a time");
    assert_eq!((scene.assign(), scene.dispatcher.next_opening()), (vec![], None));
    scene.complete(tasks[0]);
    assert_eq!(health(&scene, only).0, Health::Healthy);
    assert_eq!(scene.assign().len(), 3);
}

#[test]
fn each_failed_probe_doubles_the_pause_up_to_a_minute() {
    let mut scene = Scene::new();
    let only = scene.join("a", "1", 8);
    run(&mut scene, only, 5, Outcome::Expired);
    let mut pauses = Vec::new();
    for _ in 0..9 {
        let task = scene.ready(1, |_| {});
        assert_eq!(scene.assign(), []);
        let due = scene.dispatcher.next_opening().unwrap();
        pauses.push(due.since(scene.now).0 / 1_000_000);
        scene.now = due;
        assert_eq!(scene.assign(), [(task, only)]);
        scene.end(task, Outcome::Expired);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
}

#[test]
fn a_probe_that_says_nothing_lets_the_next_one_go() {
    let mut scene = Scene::new();
    let only = scene.join("a", "1", 8);
    run(&mut scene, only, 5, Outcome::Expired);
    scene.pass(Span::from_secs(1));
    let (first, second) = (scene.ready(1, |_| {}), scene.ready(1, |_| {}));
    assert_eq!(scene.assign(), [(first, only)]);
    scene.dispatcher.remove(first, None);
    assert_eq!(scene.assign(), [(second, only)]);
    scene.complete(second);
    assert_eq!(health(&scene, only).0, Health::Healthy);
}

#[test]
fn bad_inputs_and_cancellations_are_not_the_instances_fault() {
    let mut scene = Scene::new();
    let only = scene.join("a", "1", 8);
    run(&mut scene, only, 50, Outcome::Failed { blamed: false });
    assert_eq!(health(&scene, only).0, Health::Healthy);
    let skills = scene.dispatcher.views().observed(NS, "a", "1", scene.now, TIMEOUT).skills;
    assert_eq!((skills[0].failed, skills[0].completed), (50, 0), "they are counted all the same");
}

#[test]
fn who_is_much_slower_than_its_peers_is_degraded() {
    let mut scene = Scene::new();
    let (slow, quick) = (scene.join("a", "1", 1), scene.join("a", "1", 1));
    for _ in 0..20 {
        scene.ready(1, |_| {});
        scene.ready(1, |_| {});
        let given = scene.assign();
        let done = |scene: &mut Scene, by: WorkerInstanceId| {
            let (task, _) = *given.iter().find(|(_, instance)| *instance == by).unwrap();
            scene.complete(task);
        };
        scene.pass(Span::from_millis(200));
        done(&mut scene, quick);
        scene.pass(Span::from_secs(5));
        done(&mut scene, slow);
    }
    for instance in [slow, quick] {
        scene.dispatcher.heard(instance, scene.now);
    }
    let (health_of_slow, reason) = health(&scene, slow);
    assert_eq!(health_of_slow, Health::Degraded);
    assert!(reason.contains("times as long as usual"), "{reason}");
    assert_eq!(health(&scene, quick).0, Health::Healthy);
}

#[test]
fn silence_shows_before_it_is_too_long() {
    let mut scene = Scene::new();
    let only = scene.join("a", "1", 1);
    scene.pass(Span::from_secs(14));
    assert_eq!(health(&scene, only).0, Health::Healthy);
    scene.pass(Span::from_secs(6));
    assert_eq!(health(&scene, only), (Health::Degraded, "no message came for 20s".into()));
    scene.dispatcher.heard(only, scene.now);
    assert_eq!(health(&scene, only).0, Health::Healthy);
}

#[test]
fn a_sticky_key_does_not_wait_for_an_unhealthy_instance() {
    let mut scene = Scene::new();
    let (one, two) = (scene.join("a", "1", 1), scene.join("a", "1", 1));
    do_well(&mut scene);
    let first = scene.ready(1, |task| task.route = Some(sticky("k")));
    let (_, bound) = scene.assign()[0];
    let other = if bound == one { two } else { one };
    let waiting = scene.ready(1, |task| task.route = Some(sticky("k")));
    assert_eq!(scene.assign(), []);
    scene.end(first, FAILED);
    let mut task = waiting;
    for _ in 0..4 {
        assert_eq!(scene.assign(), [(task, bound)]);
        let next = scene.ready(1, |task| task.route = Some(sticky("k")));
        assert_eq!(scene.assign(), []);
        scene.end(task, FAILED);
        task = next;
    }
    assert_eq!(scene.assign(), [(task, other)]);
}

#[test]
fn ordinary_failures_never_stop_the_only_instance_that_can_do_it() {
    let mut scene = Scene::new();
    let only = scene.join("a", "1", 8);
    run(&mut scene, only, 50, FAILED);
    let task = scene.ready(1, |_| {});
    assert_eq!(scene.assign(), [(task, only)], "its author's `retry` decides");
    let (health, reason) = health(&scene, only);
    assert_eq!((health, reason.as_str()), (Health::Degraded, "10 of the last 10 attempts at `x` failed"));
}

#[test]
fn a_capability_that_fails_does_not_stop_another_one() {
    let mut scene = Scene::new();
    let both = [(); 2].map(|()| scene.join_with("a", "1", 1, &["x", "y"], &[]));
    for _ in 0..40 {
        let good = scene.ready(1, |task| task.capability = Some("y".into()));
        let bad = scene.ready(1, |_| {});
        assert_eq!(scene.assign().len(), 2);
        scene.end(bad, FAILED);
        scene.complete(good);
    }
    for instance in both {
        assert_ne!(health(&scene, instance).0, Health::Unhealthy);
    }
}

#[test]
fn one_that_was_left_out_for_failures_works_again_when_no_other_is_there() {
    let mut scene = Scene::new();
    let (bad, good) = (scene.join("a", "1", 1), scene.join("a", "1", 1));
    do_well(&mut scene);
    run(&mut scene, bad, 5, FAILED);
    assert_eq!(health(&scene, bad).0, Health::Unhealthy);
    scene.dispatcher.disconnect(good, scene.now);
    let task = scene.ready(1, |_| {});
    assert_eq!(scene.assign(), [(task, bad)]);
}
