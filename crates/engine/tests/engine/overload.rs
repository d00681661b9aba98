//! Limits through the partition: rates in log time, restarts, queues that are full, and who is blamed for what.
//!
//! For: that what the dispatcher promises holds where commands, timers and recovery drive it. Not for: order.
//! Invariant: nothing here depends on a clock or on chance.

use crate::support::{NS, World, agent, hello, start_command};
use consort_core::{
    Command,
    command::{CancelRun, SetLimit},
};
use consort_engine::{InstanceId, Locality};
use consort_types::{
    Code, EffectClass, Error, Span,
    registry::{AgentFilter, Health, LimitScope, Rate, TaskLimit},
    worker::FromWorker,
};

const ONE: &str = "workflow: w\nsteps:\n  a: { capability: x }\n";
const STUBBORN: &str =
    "workflow: w\nsteps:\n  a: { capability: x, retry: { attempts: 99, backoff: { initial: 1ms, max: 1ms } } }\n";
const X: &[(&str, EffectClass)] = &[("x", EffectClass::Idempotent)];

fn limit(world: &mut World, scope: LimitScope, limit: TaskLimit) {
    world.ask(Command::SetLimit(SetLimit { namespace: NS.into(), scope, limit })).unwrap();
}

fn rate(tasks: u32, burst: u32) -> TaskLimit {
    TaskLimit { rate: Some(Rate { tasks, per: Span::from_secs(1), burst }), ..TaskLimit::default() }
}

/// Advances time from one wake-up of the partition to the next; returns how many tasks were handed out in each second.
fn seconds(world: &mut World, instance: InstanceId, count: usize) -> Vec<usize> {
    let begin = world.now;
    let mut given = vec![0; count];
    loop {
        let wake = world.partition.next_wake().filter(|wake| *wake > world.now);
        let next = wake.unwrap_or(world.now.after(Span::from_secs(1)));
        let second = usize::try_from(next.since(begin).0 / 1_000_000).unwrap();
        if second >= count {
            return given;
        }
        world.now = next;
        let heard = world.now;
        world.partition.report(instance, FromWorker::Alive, heard);
        world.step();
        for offer in world.given(instance) {
            given[second] += 1;
            world.complete(instance, &offer, "1");
        }
    }
}

#[test]
fn a_rate_holds_in_log_time_and_over_a_restart() {
    let mut world = World::with(ONE);
    limit(&mut world, LimitScope::Namespace, rate(4, 8));
    let instance = world.join(X, Locality::Remote);
    (1..=200).for_each(|run| {
        world.start(run);
    });
    let given = seconds(&mut world, instance, 4);
    assert_eq!(given[0], 3, "the bucket starts empty");
    assert_eq!(given[1..], [4, 4, 4]);
    world.crash(0);
    let declaration = agent("a", X);
    let instance = world.attach(&hello(declaration, 64, Vec::new()), Locality::Remote);
    assert!(world.given(instance).is_empty(), "a restart gives no tokens");
    let given = seconds(&mut world, instance, 4);
    assert_eq!(given[1..], [4, 4, 4]);
    assert!(given[0] <= 4);
    limit(&mut world, LimitScope::Namespace, TaskLimit::default());
    assert!(!world.given(instance).is_empty(), "without the limit they go");
}

#[test]
fn a_full_queue_refuses_starts_and_says_when_to_come_back() {
    for scope in [LimitScope::Namespace, LimitScope::Capability("x".into())] {
        let mut world = World::with(ONE);
        world.ask(crate::support::deploy_command("workflow: other\nsteps:\n  a: { capability: y }\n")).unwrap();
        limit(&mut world, scope.clone(), TaskLimit { queue: Some(3), ..TaskLimit::default() });
        (1..=3).for_each(|run| {
            world.start(run);
        });
        let error = world.ask(start_command(4, "{}")).unwrap_err();
        assert_eq!(error.code, Code::Overloaded, "{scope}");
        assert!(error.message.contains("`3` tasks") && error.message.contains("the limit is 3"), "{error}");
        assert!(error.hint.as_ref().unwrap().contains("try again after"), "{error}");
        let Command::StartRun(mut other) = start_command(5, "{}") else { unreachable!("a start") };
        other.workflow = "other".into();
        let refused = world.ask(Command::StartRun(other)).is_err();
        assert_eq!(refused, scope == LimitScope::Namespace, "only what would add to the queue is refused");
        let instance = world.join(X, Locality::Local);
        let offers = world.given(instance);
        assert_eq!(offers.len(), 3);
        world.start(6);
        assert_eq!(world.given(instance).len(), 1, "what an instance took does not wait");
    }
}

#[test]
fn a_full_queue_is_full_after_a_restart() {
    let mut world = World::with(ONE);
    limit(&mut world, LimitScope::Namespace, TaskLimit { queue: Some(2), ..TaskLimit::default() });
    (1..=2).for_each(|run| {
        world.start(run);
    });
    world.crash(0);
    assert_eq!(world.ask(start_command(3, "{}")).unwrap_err().code, Code::Overloaded);
}

fn health(world: &mut World) -> (Health, Option<String>) {
    let views = world.partition.views().agents(NS, &AgentFilter::default(), world.now).unwrap();
    (views[0].health, views[0].reason.clone())
}

fn fail_as(world: &mut World, instance: InstanceId, code: Code, retryable: bool) {
    let offer = world.one(instance);
    let (task, token, error) = (offer.task, offer.token, Error::new(code, "no luck"));
    let report = FromWorker::Fail { task, token, error, retryable, retry_after: None };
    world.partition.report(instance, report, world.now);
    world.step();
    world.pass(Span::from_millis(5));
}

#[test]
fn failures_open_the_circuit_and_a_probe_closes_it() {
    let mut world = World::with(STUBBORN);
    let instance = world.join(X, Locality::Remote);
    let run = world.start(1);
    (0..5).for_each(|_| fail_as(&mut world, instance, Code::BadOutput, true));
    assert!(world.told(instance).is_empty(), "nothing is handed out any more");
    assert_eq!(health(&mut world), (Health::Unhealthy, Some("5 of the last 5 attempts failed".into())));
    let wake = world.partition.next_wake().unwrap();
    assert!(wake > world.now && wake <= world.now.after(Span::from_secs(1)));
    world.now = wake;
    world.step();
    let offer = world.one(instance);
    world.complete(instance, &offer, "1");
    assert_eq!((world.status(run).as_str(), health(&mut world).0), (r#"completed {"a":1}"#, Health::Healthy));
}

#[test]
fn one_bad_capability_never_overrides_the_retry_of_its_author() {
    let mut world = World::with(STUBBORN);
    let instance = world.join(X, Locality::Remote);
    let run = world.start(1);
    (0..8).for_each(|_| fail_as(&mut world, instance, Code::AgentFailed, true));
    assert_eq!(health(&mut world).0, Health::Degraded);
    let offer = world.one(instance);
    world.complete(instance, &offer, "1");
    assert_eq!(world.status(run), r#"completed {"a":1}"#);
}

#[test]
fn bad_inputs_and_cancelled_runs_blame_nobody() {
    let mut world = World::with(ONE);
    let instance = world.join(X, Locality::Remote);
    for run in 1..=9 {
        world.start(run);
        fail_as(&mut world, instance, Code::BadInput, false);
    }
    for run in 11..=19 {
        let id = world.start(run);
        world.one(instance);
        let cancel = CancelRun { namespace: NS.into(), run: id, reason: "enough".into(), force: false };
        world.ask(Command::CancelRun(cancel)).unwrap();
        world.told(instance);
    }
    assert_eq!(health(&mut world).0, Health::Healthy);
}

#[test]
fn timeouts_count_as_expired_and_against_the_instance() {
    let mut world = World::with(
        "workflow: w\nsteps:\n  a: { capability: x, timeout: 1s, retry: { attempts: 9, backoff: { initial: 1ms, max: 1ms } } }\n",
    );
    let instance = world.join(X, Locality::Remote);
    world.start(1);
    for _ in 0..5 {
        world.one(instance);
        world.pass(Span::from_millis(100));
        world.partition.report(instance, FromWorker::Alive, world.now);
        world.pass(Span::from_millis(1_000));
        world.told(instance);
        world.pass(Span::from_millis(5));
    }
    let views = world.partition.views().agents(NS, &AgentFilter::default(), world.now).unwrap();
    assert_eq!((views[0].health, views[0].skills[0].expired), (Health::Unhealthy, 5));
}

#[test]
fn lost_attempts_are_told_from_unknown_ones() {
    for (effect, unknown) in [(EffectClass::Idempotent, false), (EffectClass::Write, true)] {
        let mut world = World::with(ONE);
        let instance = world.join(&[("x", effect)], Locality::Local);
        world.start(1);
        world.one(instance);
        world.partition.detach(instance, world.now);
        world.step();
        let views = world.partition.views().agents(NS, &AgentFilter::default(), world.now).unwrap();
        let skill = &views[0].skills[0];
        assert_eq!((skill.lost, skill.unknown), (u64::from(!unknown), u64::from(unknown)), "{effect:?}");
        assert_eq!((views[0].health, views[0].instances.len()), (Health::Lost, 0));
    }
}

#[test]
fn an_idle_remote_instance_that_falls_silent_is_let_go() {
    let mut world = World::with(ONE);
    let instance = world.join(X, Locality::Remote);
    world.pass(Span::from_secs(20));
    world.partition.report(instance, FromWorker::Alive, world.now);
    world.pass(Span::from_secs(20));
    assert!(world.dropped.is_empty(), "it was heard of");
    let wake = world.partition.next_wake().unwrap();
    world.now = wake;
    world.step();
    assert_eq!(world.dropped, [instance]);
    world.start(1);
    assert!(world.told(instance).is_empty());
}

#[test]
fn agents_are_found_by_what_is_asked_for() {
    let mut world = World::new();
    world.join(X, Locality::Remote);
    let find = |world: &mut World, filter: AgentFilter| -> Vec<String> {
        let views = world.partition.views().agents(NS, &filter, world.now).unwrap();
        views.into_iter().map(|view| view.declaration.name).collect()
    };
    let some = |text: &str| Some(text.to_owned());
    for (filter, found) in [
        (AgentFilter::default(), true),
        (AgentFilter { name: some("a"), ..AgentFilter::default() }, true),
        (AgentFilter { name: some("b"), ..AgentFilter::default() }, false),
        (AgentFilter { version: some("1"), capability: some("x"), ..AgentFilter::default() }, true),
        (AgentFilter { capability: some("y"), ..AgentFilter::default() }, false),
        (AgentFilter { text: some("X"), ..AgentFilter::default() }, true),
        (AgentFilter { text: some("z"), ..AgentFilter::default() }, false),
        (AgentFilter { labels: [("k".to_owned(), "v".to_owned())].into(), ..AgentFilter::default() }, false),
    ] {
        assert_eq!(!find(&mut world, filter.clone()).is_empty(), found, "{filter:?}");
    }
}
