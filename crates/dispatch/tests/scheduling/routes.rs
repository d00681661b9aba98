//! Routes: versions, weights, labels, sticky keys.
//!
//! For: which instance gets a task. Not for: how an instance does (see `health`).
//! Invariant: a task waits rather than going to an instance that does not fit.

use std::collections::BTreeMap;

use consort_dispatch::WorkerInstanceId;
use consort_types::registry::AgentState;
use consort_types::{Span, worker::Route};

use super::{NS, Scene, map, sticky, versions};

fn weigh(scene: &mut Scene, version: &str, weight: u32) {
    scene.dispatcher.set_agent_state(NS, "a", version, Some(AgentState { weight, draining: false }));
}

/// How many of `tasks` each instance gets, each task ending at once.
fn shares(scene: &mut Scene, tasks: u32, route: Option<&Route>) -> BTreeMap<WorkerInstanceId, u32> {
    let mut shares = BTreeMap::new();
    for _ in 0..tasks {
        scene.ready(1, |task| task.route = route.cloned());
        for (task, instance) in scene.assign() {
            *shares.entry(instance).or_default() += 1;
            scene.complete(task);
        }
    }
    shares
}

#[test]
fn a_new_version_takes_exactly_its_share() {
    let mut scene = Scene::new();
    let (old, new) = (scene.join("a", "1.0.0", 8), scene.join("a", "1.1.0", 8));
    weigh(&mut scene, "1.0.0", 95);
    weigh(&mut scene, "1.1.0", 5);
    assert_eq!(shares(&mut scene, 200, None), BTreeMap::from([(old, 190), (new, 10)]));
    weigh(&mut scene, "1.1.0", 0);
    assert_eq!(shares(&mut scene, 50, None), BTreeMap::from([(old, 50)]));
    let named = versions("1.1.0");
    assert_eq!(shares(&mut scene, 5, Some(&named)), BTreeMap::from([(new, 5)]), "a task that names it gets it");
    // Work is never left lying for the sake of shares.
    weigh(&mut scene, "1.1.0", 5);
    scene.dispatcher.disconnect(old, scene.now);
    assert_eq!(shares(&mut scene, 5, None), BTreeMap::from([(new, 5)]));
}

#[test]
fn weights_stand_whoever_comes_first() {
    let mut scene = Scene::new();
    weigh(&mut scene, "2", 0);
    let two = scene.join("a", "2", 8);
    scene.ready(1, |_| {});
    assert_eq!(scene.assign(), []);
    let reason = scene.dispatcher.views().queues(NS, scene.now)[0].reason.clone().unwrap();
    assert!(reason.contains("weight of 0"), "{reason}");
    weigh(&mut scene, "2", 1);
    assert_eq!(scene.assign().len(), 1);
    scene.dispatcher.set_agent_state(NS, "a", "2", None);
    scene.ready(1, |_| {});
    assert_eq!(scene.assign()[0].1, two, "a version has a weight by default");
}

#[test]
fn a_draining_version_gets_nothing_and_comes_back() {
    let mut scene = Scene::new();
    let (one, two) = (scene.join("a", "1", 8), scene.join("a", "2", 8));
    let drain = |scene: &mut Scene, draining| {
        scene.dispatcher.set_agent_state(NS, "a", "1", Some(AgentState { weight: 100, draining }));
    };
    drain(&mut scene, true);
    assert_eq!(shares(&mut scene, 10, None), BTreeMap::from([(two, 10)]));
    scene.ready(1, |task| task.route = Some(versions("1")));
    assert_eq!(scene.assign(), [], "not even for a task that names it");
    drain(&mut scene, false);
    assert_eq!(scene.assign()[0].1, one);
}

#[test]
fn a_version_range_finds_what_fits() {
    let mut scene = Scene::new();
    let made: Vec<_> = ["1.2.0", "1.9.9", "2.0.0", "spring"].map(|version| scene.join("a", version, 99)).into();
    for (range, fitting) in [
        ("^1.2", vec![0, 1]),
        (">=1.5, <3", vec![1, 2]),
        ("~2.0", vec![2]),
        ("spring", vec![3]),
        ("1.2.0", vec![0]),
        ("*", vec![0, 1, 2, 3]),
        ("1", vec![]),
    ] {
        let route = versions(range);
        let found: Vec<_> = shares(&mut scene, 12, Some(&route)).into_keys().collect();
        let expected: Vec<_> = fitting.into_iter().map(|index: usize| made[index]).collect();
        assert_eq!(found, expected, "{range}");
    }
    let views = scene.dispatcher.views().queues(NS, scene.now);
    assert!(views[0].reason.as_ref().unwrap().contains("version that matches the route"), "{views:?}");
}

#[test]
fn labels_of_the_instance_stand_above_those_of_its_agent() {
    let mut scene = Scene::new();
    let slow = scene.join("a", "1", 99);
    let quick = scene.join_with("a", "1", 99, &["x"], &[("tier", "quick"), ("region", "north")]);
    let wanting = |labels: &[(&str, &str)]| Route { labels: map(labels), ..Route::default() };
    for (labels, fitting) in [
        (vec![("tier", "slow")], vec![slow]),
        (vec![("tier", "quick")], vec![quick]),
        (vec![("of", "agent"), ("region", "north")], vec![quick]),
        (vec![("of", "agent")], vec![slow, quick]),
        (vec![("tier", "slow"), ("region", "north")], vec![]),
    ] {
        let given = shares(&mut scene, 9, Some(&wanting(&labels)));
        let found: Vec<_> = given.into_keys().collect();
        assert!(found.iter().all(|instance| fitting.contains(instance)), "{labels:?}");
        assert_eq!(found.is_empty(), fitting.is_empty(), "{labels:?}");
    }
    let views = scene.dispatcher.views().queues(NS, scene.now);
    assert!(views[0].reason.as_ref().unwrap().contains("labels"), "{views:?}");
    // An instance that connects later and fits gets the waiting task.
    let late = scene.join_with("a", "1", 99, &["x"], &[("tier", "slow"), ("region", "north")]);
    let given = scene.assign();
    assert!(given.len() == 9 && given.iter().all(|(_, instance)| *instance == late));
}

#[test]
fn a_sticky_key_stays_with_its_instance_while_that_is_there() {
    let mut scene = Scene::new();
    let made: Vec<_> = (0..4).map(|_| scene.join("a", "1", 2)).collect();
    let route = sticky("talk 7");
    let bound = *shares(&mut scene, 10, Some(&route)).first_key_value().unwrap().0;
    assert_eq!(shares(&mut scene, 10, Some(&route)), BTreeMap::from([(bound, 10)]));
    // It waits for the busy one, while others do what is not bound.
    let tasks: Vec<_> = (0..3).map(|_| scene.ready(1, |task| task.route = Some(sticky("talk 7")))).collect();
    let free = scene.ready(2, |_| {});
    let given = scene.assign();
    assert_eq!(given.iter().filter(|(_, instance)| *instance == bound).count(), 2);
    assert!(given.iter().any(|(task, instance)| *task == free && *instance != bound));
    assert_eq!(scene.dispatcher.queued(), 1);
    scene.complete(tasks[0]);
    assert_eq!(scene.assign(), [(tasks[2], bound)]);
    // When it goes, its key finds another instance, and stays there.
    let waiting = scene.ready(1, |task| task.route = Some(sticky("talk 7")));
    assert_eq!(scene.assign(), []);
    scene.dispatcher.disconnect(bound, scene.now.after(Span::from_secs(10)));
    let (task, heir) = scene.assign()[0];
    assert!(task == waiting && heir != bound && made.contains(&heir));
    scene.complete(waiting);
    assert_eq!(shares(&mut scene, 10, Some(&route)), BTreeMap::from([(heir, 10)]));
}

#[test]
fn a_sticky_key_leaves_an_instance_that_is_leaving_or_drained() {
    let mut scene = Scene::new();
    let (one, two) = (scene.join("a", "1", 2), scene.join("a", "2", 2));
    let route = sticky("k");
    let bound = *shares(&mut scene, 3, Some(&route)).first_key_value().unwrap().0;
    let (version, other) = if bound == one { ("1", two) } else { ("2", one) };
    scene.dispatcher.set_agent_state(NS, "a", version, Some(AgentState { weight: 100, draining: true }));
    assert_eq!(shares(&mut scene, 3, Some(&route)), BTreeMap::from([(other, 3)]));
    scene.dispatcher.set_agent_state(NS, "a", version, None);
    scene.dispatcher.drain_instance(other);
    assert_eq!(shares(&mut scene, 3, Some(&route)), BTreeMap::from([(bound, 3)]));
}
