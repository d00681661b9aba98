//! Limits on concurrency and rate, for namespaces, capabilities, agents and keys.
//!
//! For: what is held back, and when it goes. Not for: starts that are refused (see `partition`).
//! Invariant: after each round, nothing waits that no limit holds back.

use consort_dispatch::Dispatcher;
use consort_types::{
    Span, StepInstanceId, Time,
    registry::{LimitScope, Rate, TaskLimit},
};

use super::{NS, Scene, key};

fn at_once(tasks: u32) -> TaskLimit {
    TaskLimit { concurrency: Some(tasks), ..TaskLimit::default() }
}

fn rate(tasks: u32, seconds: u64, burst: u32) -> TaskLimit {
    TaskLimit { rate: Some(Rate { tasks, per: Span::from_secs(seconds), burst }), ..TaskLimit::default() }
}

fn set(scene: &mut Scene, scope: &LimitScope, limit: TaskLimit) {
    scene.dispatcher.set_limit(NS, scope, limit, scene.now);
}

/// Assigns as much as possible, then ends all of it. Returns how many.
fn turn(scene: &mut Scene, held: &mut Vec<StepInstanceId>) -> usize {
    let given = scene.assign();
    held.extend(given.iter().map(|(task, _)| *task));
    given.len()
}

#[test]
fn each_scope_limits_what_is_with_instances_at_once() {
    let scopes = [
        LimitScope::Namespace,
        LimitScope::Capability("x".into()),
        LimitScope::Agent("a".into()),
        LimitScope::Key("k".into()),
    ];
    for scope in scopes {
        let mut scene = Scene::new();
        scene.join_with("a", "1", 100, &["x", "y"], &[]);
        set(&mut scene, &scope, at_once(3));
        for n in 0..20_u16 {
            scene.ready(n % 4, |task| {
                task.concurrency = Some(key("k", 1_000));
                task.capability = Some("x".into());
            });
        }
        let mut held = Vec::new();
        assert_eq!(turn(&mut scene, &mut held), 3, "{scope}");
        assert_eq!(turn(&mut scene, &mut held), 0, "{scope}");
        let view = scene.dispatcher.views().limits(NS);
        assert_eq!((view.len(), view[0].taken, view[0].limited), (1, 3, 17), "{scope}");
        let reason = scene.dispatcher.views().queues(NS, scene.now)[0].reason.clone().unwrap();
        assert!(reason.contains(&scope.to_string()) && reason.contains('3'), "{scope}: {reason}");
        scene.complete(held[0]);
        assert_eq!(turn(&mut scene, &mut held), 1, "{scope}");
        set(&mut scene, &scope, at_once(5));
        assert_eq!(turn(&mut scene, &mut held), 2, "{scope}: a wider limit lets more go at once");
        set(&mut scene, &scope, TaskLimit::default());
        assert_eq!(turn(&mut scene, &mut held), 14, "{scope}: without the limit all go");
        assert!(scene.dispatcher.views().limits(NS).is_empty(), "{scope}");
    }
}

#[test]
fn a_limit_that_comes_late_counts_what_is_held_already() {
    for scope in [LimitScope::Namespace, LimitScope::Capability("x".into()), LimitScope::Agent("a".into())] {
        let mut scene = Scene::new();
        let gone = scene.join("a", "1", 2);
        let tasks: Vec<_> = (0..6).map(|_| scene.ready(1, |_| {})).collect();
        assert_eq!(scene.assign().len(), 2);
        // Tasks whose instance may reconnect still count.
        scene.dispatcher.disconnect(gone, scene.now.after(Span::from_secs(10)));
        scene.join("a", "1", 9);
        set(&mut scene, &scope, at_once(3));
        assert_eq!(scene.assign().len(), 1, "{scope}");
        assert_eq!(scene.dispatcher.views().limits(NS)[0].taken, 3, "{scope}");
        scene.dispatcher.remove(tasks[0], None);
        assert_eq!(scene.assign().len(), 1, "{scope}");
    }
}

#[test]
fn zero_hands_out_nothing() {
    let mut scene = Scene::new();
    scene.join("a", "1", 9);
    set(&mut scene, &LimitScope::Namespace, at_once(0));
    scene.ready(1, |_| {});
    assert_eq!(scene.assign(), []);
    assert_eq!(scene.dispatcher.next_opening(), None, "no time opens it");
}

#[test]
fn one_limit_does_not_hold_back_what_is_not_its_own() {
    let mut scene = Scene::new();
    scene.join_with("a", "1", 100, &["x", "y"], &[]);
    scene.join_with("b", "1", 100, &["x"], &[]);
    set(&mut scene, &LimitScope::Capability("x".into()), at_once(1));
    set(&mut scene, &LimitScope::Key("k".into()), at_once(1));
    (0..3).for_each(|_| {
        scene.ready(1, |_| {});
    });
    (0..3).for_each(|_| {
        scene.ready(2, |task| task.capability = Some("y".into()));
    });
    (0..3).for_each(|_| {
        scene.ready(3, |task| {
            task.capability = Some("y".into());
            task.concurrency = Some(key("k", 9));
        });
    });
    assert_eq!(scene.assign().len(), 1 + 3 + 1);
}

#[test]
fn an_agent_at_its_limit_leaves_the_work_to_others() {
    let mut scene = Scene::new();
    let (a, b) = (scene.join("a", "1", 9), scene.join("b", "1", 2));
    set(&mut scene, &LimitScope::Agent("a".into()), at_once(1));
    (0..5).for_each(|_| {
        scene.ready(1, |_| {});
    });
    let given: Vec<_> = scene.assign().into_iter().map(|(_, instance)| instance).collect();
    assert_eq!(given.iter().filter(|instance| **instance == a).count(), 1);
    assert_eq!(given.iter().filter(|instance| **instance == b).count(), 2);
}

/// How many tasks are assigned in each second, called every hundredth of one.
fn seconds(scene: &mut Scene, seconds: usize) -> Vec<usize> {
    let second = |scene: &mut Scene| {
        let mut given = 0;
        for _ in 0..100 {
            let some = scene.assign();
            given += some.len();
            for (task, _) in some {
                scene.complete(task);
            }
            scene.pass(Span::from_millis(10));
        }
        given
    };
    (0..seconds).map(|_| second(scene)).collect()
}

#[test]
fn each_scope_limits_the_rate() {
    let scopes = [
        LimitScope::Namespace,
        LimitScope::Capability("x".into()),
        LimitScope::Agent("a".into()),
        LimitScope::Key("k".into()),
    ];
    for scope in scopes {
        let mut scene = Scene::new();
        scene.join("a", "1", 1_000);
        set(&mut scene, &scope, rate(5, 1, 10));
        (0..100).for_each(|_| {
            scene.ready(1, |task| task.concurrency = Some(key("k", 1_000)));
        });
        let given = seconds(&mut scene, 6);
        assert_eq!(given[0], 4, "{scope}: the bucket starts empty, the fifth token comes with the next second");
        assert_eq!(given[1..], [5, 5, 5, 5, 5], "{scope}");
    }
}

#[test]
fn a_pause_saves_up_a_burst_and_no_more() {
    let mut scene = Scene::new();
    scene.join("a", "1", 1_000);
    set(&mut scene, &LimitScope::Namespace, rate(1, 1, 3));
    scene.pass(Span::from_secs(3_600));
    (0..50).for_each(|_| {
        scene.ready(1, |_| {});
    });
    assert_eq!(scene.assign().len(), 3);
    assert_eq!(scene.assign(), []);
    let due = scene.dispatcher.next_opening().unwrap();
    assert_eq!(due, scene.now.after(Span::from_secs(1)), "it returns when the next one is due");
    scene.now = Time(due.0 - 1);
    assert_eq!(scene.assign(), []);
    scene.now = due;
    assert_eq!(scene.assign().len(), 1);
    // A new rate keeps what was saved up, in tokens.
    scene.pass(Span::from_secs(2));
    set(&mut scene, &LimitScope::Namespace, rate(1, 60, 9));
    assert_eq!(scene.assign().len(), 2);
}

#[test]
fn a_release_without_waiters_wakes_none() {
    let mut scene = Scene::new();
    scene.join("a", "1", 9);
    set(&mut scene, &LimitScope::Namespace, rate(1, 1, 1));
    assert_eq!((scene.assign(), scene.dispatcher.next_opening()), (vec![], None));
    let task = scene.ready(1, |_| {});
    assert_eq!(scene.assign(), []);
    assert!(scene.dispatcher.next_opening().is_some());
    scene.dispatcher.remove(task, None);
    scene.pass(Span::from_secs(9));
    assert_eq!((scene.assign(), scene.dispatcher.next_opening()), (vec![], None));
}

#[test]
fn a_gate_goes_to_the_highest_priority_that_waits() {
    let mut scene = Scene::new();
    scene.join_with("a", "1", 100, &["x", "y", "z"], &[]);
    set(&mut scene, &LimitScope::Namespace, at_once(1));
    let ask = |scene: &mut Scene, capability: &str, priority: i32| {
        scene.ready(1, |task| {
            task.capability = Some(capability.into());
            task.priority = priority;
        })
    };
    let first = ask(&mut scene, "x", 0);
    assert_eq!(scene.assign().len(), 1);
    let low = ask(&mut scene, "y", 1);
    assert_eq!(scene.assign(), []);
    let middle = ask(&mut scene, "z", 3);
    assert_eq!(scene.assign(), []);
    let high = ask(&mut scene, "y", 9);
    let mut order = Vec::new();
    let mut before = first;
    for _ in 0..3 {
        scene.complete(before);
        let given = scene.assign();
        assert_eq!(given.len(), 1);
        before = given[0].0;
        order.push(before);
    }
    assert_eq!(order, [high, middle, low]);
}

#[test]
fn limits_hold_and_nothing_is_forgotten_over_many_mixed_calls() {
    let mut scene = Scene::new();
    let scopes = [
        (LimitScope::Namespace, at_once(7)),
        (LimitScope::Capability("x".into()), at_once(4)),
        (LimitScope::Agent("a".into()), TaskLimit { concurrency: Some(3), ..rate(50, 1, 5) }),
        (LimitScope::Key("k1".into()), at_once(1)),
    ];
    for (scope, limit) in &scopes {
        set(&mut scene, scope, *limit);
    }
    for agent in ["a", "b"] {
        scene.join_with(agent, "1", 5, &["x", "y"], &[]);
    }
    let (mut held, mut state, mut ended, mut made) = (Vec::new(), 7_u64, 0, 0);
    for _ in 0..3_000 {
        // A fixed linear congruential sequence: chance without chance.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pick = (state >> 33) as u32;
        match pick % 5 {
            0 | 1 => {
                made += 1;
                scene.ready((pick % 7) as u16, |task| {
                    task.capability = Some(if pick.is_multiple_of(3) { "y" } else { "x" }.into());
                    task.concurrency =
                        if pick.is_multiple_of(2) { Some(key(&format!("k{}", pick % 4), 2)) } else { None };
                    task.priority = (pick % 3).cast_signed();
                });
            }
            2 if !held.is_empty() => {
                scene.complete(held.swap_remove(pick as usize % held.len()));
                ended += 1;
            }
            3 => scene.pass(Span::from_millis(u64::from(pick % 50))),
            _ => drop(turn(&mut scene, &mut held)),
        }
        for view in scene.dispatcher.views().limits(NS) {
            assert!(view.taken <= view.limit.concurrency.unwrap(), "{view:?}");
        }
    }
    while scene.dispatcher.queued() > 0 {
        turn(&mut scene, &mut held);
        held.drain(..).for_each(|task| {
            scene.complete(task);
            ended += 1;
        });
        scene.pass(Span::from_millis(20));
    }
    let before: &Dispatcher = &scene.dispatcher;
    assert_eq!((ended, before.held(), before.queued()), (made, 0, 0));
}
