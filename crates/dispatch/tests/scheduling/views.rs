//! What is shown of agents and queues.
//!
//! For: that the words and numbers are the ones that help. Not for: declared agents (see `registry`).
//! Invariant: a reason is given exactly where something waits.

use consort_dispatch::Outcome;
use consort_types::{Span, registry::Health};

use super::{NS, Scene, run_id, versions};

fn reason(scene: &mut Scene) -> String {
    let views = scene.dispatcher.views().queues(NS, scene.now);
    views.iter().find_map(|view| view.reason.clone()).unwrap_or_default()
}

#[test]
fn each_cause_of_waiting_has_its_words() {
    let mut scene = Scene::new();
    let task = scene.ready(1, |_| {});
    assert_eq!(reason(&mut scene), "no instance has the capability `x`");
    scene.join_with("other", "1", 1, &["y"], &[]);
    assert_eq!(reason(&mut scene), "no instance has the capability `x`");
    let one = scene.join("a", "1", 1);
    scene.assign();
    assert_eq!(reason(&mut scene), "", "nothing waits");
    scene.ready(1, |_| {});
    scene.assign();
    assert_eq!(reason(&mut scene), "the one instance that could take them is busy");
    scene.dispatcher.drain_instance(one);
    assert_eq!(reason(&mut scene), "every instance that could take them is leaving");
    scene.dispatcher.hold(run_id(1), true);
    assert_eq!(reason(&mut scene), "its runs are paused");
    assert_eq!(scene.dispatcher.views().queues(NS, scene.now)[0].paused, 1);
    scene.dispatcher.drain();
    assert_eq!(reason(&mut scene), "the server is draining");
    scene.complete(task);
}

#[test]
fn queues_show_depth_age_throughput_and_holders() {
    let mut scene = Scene::new();
    let (one, two) = (scene.join("a", "1", 2), scene.join("a", "1", 1));
    let begin = scene.now;
    let tasks: Vec<_> = (0..4).map(|_| scene.ready(1, |_| {})).collect();
    scene.ready(2, |task| task.route = Some(versions("^7")));
    scene.assign();
    scene.pass(Span::from_secs(5));
    scene.complete(tasks[0]);
    scene.ready(3, |task| task.namespace = "other".into());
    let views = scene.dispatcher.views().queues(NS, scene.now);
    assert_eq!(views.len(), 1, "routes to the same capability are one queue: {views:?}");
    let view = &views[0];
    assert_eq!((view.capability.as_deref(), view.agent.as_deref()), (Some("x"), None));
    assert_eq!((view.waiting, view.limited, view.paused, view.oldest), (2, 0, 0, Some(begin)));
    assert_eq!((view.instances, view.handed_out_minute, view.ended_minute), (2, 3, 1));
    assert_eq!(view.holders.iter().map(|holder| holder.held).sum::<u32>(), 2);
    let name = |id| scene.dispatcher.name(id).unwrap().to_string();
    assert!(view.holders.iter().all(|holder| [name(one), name(two)].contains(&holder.instance)));
    assert_eq!(scene.dispatcher.views().queues("other", scene.now).len(), 1);
}

#[test]
fn skills_show_outcomes_times_and_delays() {
    let mut scene = Scene::new();
    let one = scene.join("a", "1", 9);
    for _ in 0..10 {
        let task = scene.ready(1, |_| {});
        scene.pass(Span::from_secs(1));
        scene.assign();
        scene.pass(Span::from_secs(4));
        scene.complete(task);
    }
    for outcome in [Outcome::Failed { blamed: true }, Outcome::Expired, Outcome::Lost, Outcome::Unknown] {
        let task = scene.ready(1, |_| {});
        scene.assign();
        scene.end(task, outcome);
    }
    let seen = scene.dispatcher.views().observed(NS, "a", "1", scene.now, Span::from_secs(300));
    let skill = &seen.skills[0];
    assert_eq!(skill.capability, "x");
    assert_eq!((skill.completed, skill.failed, skill.expired, skill.lost, skill.unknown), (10, 1, 1, 1, 1));
    let near = |found: Option<Span>, seconds: u64| {
        let found = found.unwrap().0;
        assert!((seconds * 1_000_000..seconds * 1_300_000).contains(&found), "{found}");
    };
    near(skill.p50, 4);
    near(skill.p95, 4);
    near(skill.queued_p50, 1);
    // Statistics stay when the instance is disconnected; it is shown as lost.
    let heard = scene.now;
    scene.dispatcher.heard(one, heard);
    scene.dispatcher.disconnect(one, scene.now);
    scene.pass(Span::from_secs(60));
    let seen = scene.dispatcher.views().observed(NS, "a", "1", scene.now, Span::from_secs(300));
    assert_eq!((seen.health, seen.seen, seen.skills[0].completed), (Health::Lost, Some(heard), 10));
}

#[test]
fn instances_show_who_they_are() {
    let mut scene = Scene::new();
    scene.join_with("a", "1", 4, &["x"], &[("tier", "quick")]);
    scene.ready(1, |_| {});
    scene.assign();
    let seen = scene.dispatcher.views().observed(NS, "a", "1", scene.now, Span::from_secs(30));
    let view = &seen.instances[0];
    assert_eq!((view.name.as_str(), view.client.as_str()), ("remote:s:1:a", "test/1 here:1"));
    assert_eq!((view.labels["tier"].as_str(), view.labels["of"].as_str()), ("quick", "agent"));
    assert_eq!((view.held, view.credit, view.connected, view.seen), (1, 4, scene.now, scene.now));
}
