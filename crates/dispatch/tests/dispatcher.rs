//! The dispatcher alone: order, fairness, keys, credit, losses.
//!
//! For: each rule of assignment, by small scripts. Not for: what is recorded (`partition`).
//! Invariant: every test is a sequence of calls without clock or chance.

use std::collections::BTreeMap;

use consort_dispatch::{Claim, Dispatcher, WorkerInstanceId};
use consort_types::{
    EffectClass, Locality, RunId, Span, StepInstanceId, Time, Token,
    task::{ConcurrencyKey, ReadyTask},
    worker::{AgentDeclaration, CapabilityDeclaration, Hello},
};

fn task(run: u8, index: u32) -> StepInstanceId {
    StepInstanceId { run: RunId([run; 16]), scope: 0, index }
}

fn ready(run: u8, index: u32) -> ReadyTask {
    ReadyTask {
        task: task(run, index),
        token: Token(1),
        namespace: "n".into(),
        capability: Some("x".into()),
        agent: None,
        priority: 0,
        ready: Time(10),
        concurrency: None,
        effect: None,
        deadline: None,
        written_by: None,
        route: None,
    }
}

fn keyed(run: u8, index: u32, key: &str, limit: u32) -> ReadyTask {
    ReadyTask { concurrency: Some(ConcurrencyKey { key: key.into(), limit }), ..ready(run, index) }
}

fn hello(agent: &str, capabilities: &[&str], concurrency: u32) -> Hello {
    let capability = |name: &&str| CapabilityDeclaration {
        name: (*name).to_owned(),
        description: String::new(),
        effect: EffectClass::Idempotent,
        input_schema: true.into(),
        output_schema: true.into(),
        cost_hint_microdollars: None,
        time_hint: None,
    };
    let agent = AgentDeclaration {
        name: agent.to_owned(),
        version: "1".into(),
        description: String::new(),
        capabilities: capabilities.iter().map(capability).collect(),
        subscriptions: Vec::new(),
        labels: BTreeMap::new(),
    };
    Hello {
        namespace: "n".into(),
        agent,
        concurrency,
        held: Vec::new(),
        client: String::new(),
        worker: "one".into(),
        labels: BTreeMap::new(),
    }
}

fn join(dispatcher: &mut Dispatcher, agent: &str, capabilities: &[&str], concurrency: u32) -> WorkerInstanceId {
    dispatcher.join(&hello(agent, capabilities, concurrency), Locality::Remote, 28, Time(0))
}

/// Assigns, and returns the assigned tasks as (run, index).
fn assign(dispatcher: &mut Dispatcher) -> Vec<(u8, u32)> {
    dispatcher.assign(Time(1_000)).iter().map(|given| (given.task.run.0[0], given.task.index)).collect()
}

/// Assigns everything one by one: each instance completes its task at once.
fn order(dispatcher: &mut Dispatcher) -> Vec<(u8, u32)> {
    let mut all = Vec::new();
    loop {
        let some = assign(dispatcher);
        if some.is_empty() {
            return all;
        }
        for (run, index) in some {
            dispatcher.remove(task(run, index), Some(Token(1)));
            all.push((run, index));
        }
    }
}

#[test]
fn priority_goes_before_age_and_runs_take_turns() {
    let mut dispatcher = Dispatcher::new();
    for index in 0..3 {
        dispatcher.ready(ready(1, index));
    }
    dispatcher.ready(ready(2, 0));
    dispatcher.ready(ready(2, 1));
    dispatcher.ready(ReadyTask { priority: 5, ..ready(3, 0) });
    dispatcher.ready(ReadyTask { ready: Time(1), ..ready(1, 9) });
    join(&mut dispatcher, "a", &["x"], 1);
    let expected = vec![(3, 0), (1, 9), (2, 0), (1, 0), (2, 1), (1, 1), (1, 2)];
    assert_eq!(order(&mut dispatcher), expected);
}

#[test]
fn credit_is_kept_and_the_least_loaded_goes_first() {
    let mut dispatcher = Dispatcher::new();
    let small = join(&mut dispatcher, "a", &["x"], 1);
    let large = join(&mut dispatcher, "a", &["x"], 3);
    (0..6).for_each(|index| dispatcher.ready(ready(1, index)));
    let given: Vec<WorkerInstanceId> = dispatcher.assign(Time(1_000)).iter().map(|given| given.instance).collect();
    assert_eq!(given, vec![small, large, large, large]);
    assert_eq!((dispatcher.held(), dispatcher.queued()), (4, 2));
    assert_eq!(dispatcher.remove(task(1, 0), Some(Token(1))), Some(small));
    assert_eq!(assign(&mut dispatcher), vec![(1, 4)]);
    let agents = dispatcher.views().agents("n");
    assert_eq!((agents.len(), agents[0].instances, agents[0].held, agents[0].credit), (1, 2, 4, 0));
}

#[test]
fn tasks_find_who_can_do_them() {
    let mut dispatcher = Dispatcher::new();
    let both = join(&mut dispatcher, "both", &["x", "y"], 9);
    let named = join(&mut dispatcher, "named", &["z"], 9);
    let ask = |index, capability: Option<&str>, agent: Option<&str>| ReadyTask {
        capability: capability.map(str::to_owned),
        agent: agent.map(str::to_owned),
        ..ready(1, index)
    };
    dispatcher.ready(ask(0, Some("y"), None));
    dispatcher.ready(ask(1, None, Some("named")));
    dispatcher.ready(ask(2, Some("z"), Some("both")));
    dispatcher.ready(ReadyTask { namespace: "other".into(), ..ready(1, 3) });
    let given: Vec<_> = dispatcher.assign(Time(1_000)).iter().map(|given| (given.task.index, given.instance)).collect();
    assert_eq!(given, vec![(0, both), (1, named)]);
    let late = join(&mut dispatcher, "both", &["z"], 1);
    let given: Vec<_> = dispatcher.assign(Time(1_000)).iter().map(|given| (given.task.index, given.instance)).collect();
    assert_eq!(given, vec![(2, late)]);
    assert_eq!(dispatcher.queued(), 1);
}

#[test]
fn a_key_limits_how_many_are_taken_at_once() {
    let mut dispatcher = Dispatcher::new();
    join(&mut dispatcher, "a", &["x"], 99);
    (0..4).for_each(|index| dispatcher.ready(keyed(1, index, "k", 2)));
    dispatcher.ready(ready(1, 9));
    assert_eq!(assign(&mut dispatcher), vec![(1, 0), (1, 9), (1, 1)], "tasks without a key take turns with the key");
    dispatcher.remove(task(1, 0), None);
    assert_eq!(assign(&mut dispatcher), vec![(1, 2)]);
    dispatcher.remove(task(1, 3), None);
    dispatcher.remove(task(1, 1), None);
    dispatcher.remove(task(1, 2), None);
    assert_eq!(assign(&mut dispatcher), vec![]);
    dispatcher.ready(keyed(1, 5, "k", 2));
    assert_eq!(assign(&mut dispatcher), vec![(1, 5)]);
}

#[test]
fn a_key_is_not_kept_by_a_task_that_no_instance_can_take() {
    let mut dispatcher = Dispatcher::new();
    join(&mut dispatcher, "a", &["x"], 99);
    dispatcher.ready(keyed(1, 0, "k", 1));
    assert_eq!(assign(&mut dispatcher), vec![(1, 0)]);
    dispatcher.ready(ReadyTask { capability: Some("unknown".into()), ..keyed(2, 0, "k", 1) });
    dispatcher.ready(keyed(3, 0, "k", 1));
    assert_eq!(assign(&mut dispatcher), vec![]);
    dispatcher.remove(task(1, 0), None);
    assert_eq!(assign(&mut dispatcher), vec![(3, 0)]);
}

#[test]
fn held_runs_stand_aside() {
    let mut dispatcher = Dispatcher::new();
    join(&mut dispatcher, "a", &["x"], 99);
    dispatcher.ready(keyed(1, 0, "k", 1));
    dispatcher.ready(keyed(1, 1, "k", 1));
    assert_eq!(assign(&mut dispatcher), vec![(1, 0)]);
    dispatcher.hold(RunId([1; 16]), true);
    dispatcher.ready(ready(1, 2));
    dispatcher.ready(ready(2, 0));
    dispatcher.remove(task(1, 0), None);
    assert_eq!(assign(&mut dispatcher), vec![(2, 0)]);
    assert_eq!(dispatcher.queued(), 2);
    dispatcher.hold(RunId([1; 16]), false);
    assert_eq!(assign(&mut dispatcher), vec![(1, 1), (1, 2)]);
}

#[test]
fn an_old_token_takes_nothing_away() {
    let mut dispatcher = Dispatcher::new();
    let instance = join(&mut dispatcher, "a", &["x"], 1);
    dispatcher.ready(ReadyTask { token: Token(7), ..ready(1, 0) });
    assert_eq!(dispatcher.remove(task(1, 0), Some(Token(6))), None);
    dispatcher.assign(Time(1_000));
    assert_eq!(dispatcher.holder(task(1, 0), Token(6)), None);
    assert_eq!(dispatcher.holder(task(1, 0), Token(7)), Some(instance));
    dispatcher.ready(ReadyTask { token: Token(8), ..ready(1, 0) });
    assert_eq!((dispatcher.held(), dispatcher.queued()), (0, 1));
}

#[test]
fn tasks_of_an_instance_that_left_wait_and_are_lost_once() {
    let mut dispatcher = Dispatcher::new();
    let first = join(&mut dispatcher, "a", &["x"], 2);
    dispatcher.ready(keyed(1, 0, "k", 1));
    dispatcher.ready(ready(1, 1));
    dispatcher.assign(Time(1_000));
    dispatcher.disconnect(first, Time(50));
    assert_eq!((dispatcher.next_loss(), dispatcher.lost(Time(49)).len()), (Some(Time(50)), 0));
    let second = join(&mut dispatcher, "a", &["x"], 2);
    let granted = Claim::Granted { from: None, unrecorded: false };
    assert_eq!(dispatcher.claim(second, task(1, 1), Token(1), false, Time(40)), granted);
    let over = Claim::Refused { reason: "the attempt is over" };
    let elsewhere = Claim::Refused { reason: "the attempt is not with this instance" };
    assert_eq!(dispatcher.claim(second, task(1, 1), Token(2), false, Time(40)), over);
    let lost = dispatcher.lost(Time(50));
    assert_eq!(lost.iter().map(|lost| lost.task).collect::<Vec<_>>(), vec![task(1, 0)]);
    assert!(lost[0].reason.contains("remote:s:1:a"), "{}", lost[0].reason);
    assert!(dispatcher.lost(Time(99)).is_empty(), "an attempt is reported as lost once");
    assert_eq!(dispatcher.claim(second, task(1, 0), Token(1), false, Time(60)), elsewhere);
    dispatcher.ready(keyed(2, 0, "k", 1));
    assert_eq!(assign(&mut dispatcher), vec![], "a lost attempt counts on its key until it is over");
    dispatcher.remove(task(1, 0), None);
    assert_eq!(assign(&mut dispatcher), vec![(2, 0)]);
}

#[test]
fn a_claim_takes_a_task_out_of_its_queue_or_from_another_connection() {
    let mut dispatcher = Dispatcher::new();
    dispatcher.ready(ready(1, 0));
    let first = join(&mut dispatcher, "a", &["x"], 1);
    let unrecorded = Claim::Granted { from: None, unrecorded: true };
    assert_eq!(dispatcher.claim(first, task(1, 0), Token(1), true, Time(5)), unrecorded);
    assert_eq!(assign(&mut dispatcher), vec![]);
    let second = join(&mut dispatcher, "a", &["x"], 1);
    let moved = Claim::Granted { from: Some(first), unrecorded: true };
    assert_eq!(dispatcher.claim(second, task(1, 0), Token(1), false, Time(60)), moved);
    assert_eq!(dispatcher.holder(task(1, 0), Token(1)), Some(second));
    assert_eq!(dispatcher.held(), 1);
}

#[test]
fn remote_instances_can_be_silent_with_and_without_tasks() {
    let mut dispatcher = Dispatcher::new();
    dispatcher.join(&hello("local", &["x"], 1), Locality::Local, 28, Time(0));
    assert_eq!(dispatcher.longest_silence(), None, "an instance in this process cannot be silent");
    let idle = join(&mut dispatcher, "idle", &["y"], 1);
    let busy = join(&mut dispatcher, "busy", &["z"], 1);
    dispatcher.ready(ReadyTask { capability: Some("z".into()), ..ready(1, 1) });
    dispatcher.assign(Time(1_000));
    assert_eq!((dispatcher.longest_silence(), dispatcher.silent(Time(1))), (Some(Time(0)), vec![idle, busy]));
    dispatcher.heard(busy, Time(30));
    assert_eq!((dispatcher.longest_silence(), dispatcher.silent(Time(30))), (Some(Time(0)), vec![idle]));
    dispatcher.heard(idle, Time(40));
    assert_eq!((dispatcher.longest_silence(), dispatcher.silent(Time(30))), (Some(Time(30)), vec![]));
    dispatcher.disconnect(busy, Time(99));
    assert_eq!(dispatcher.longest_silence(), Some(Time(40)));
}

#[test]
fn a_draining_dispatcher_and_a_leaving_instance_get_nothing() {
    let mut dispatcher = Dispatcher::new();
    let leaving = join(&mut dispatcher, "a", &["x"], 9);
    dispatcher.ready(ready(1, 0));
    assert_eq!(assign(&mut dispatcher), vec![(1, 0)]);
    dispatcher.drain_instance(leaving);
    dispatcher.ready(ready(1, 1));
    assert_eq!(assign(&mut dispatcher), vec![]);
    dispatcher.remove(task(1, 0), None);
    assert_eq!(assign(&mut dispatcher), vec![]);
    join(&mut dispatcher, "a", &["x"], 9);
    dispatcher.drain();
    assert_eq!((assign(&mut dispatcher), dispatcher.queued()), (vec![], 1));
}

/// A mixed script: the same calls give the same assignments, every task is in one place, and nothing is lost.
#[test]
fn many_mixed_calls_conserve_tasks() {
    let script = || {
        let mut dispatcher = Dispatcher::new();
        let (mut trace, mut live, mut state) = (Vec::new(), BTreeMap::new(), 7_u64);
        let mut instances = Vec::new();
        for step in 0..4_000_u64 {
            // A fixed linear congruential sequence: chance without chance.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let pick = (state >> 33) as u32;
            let id = task((pick % 5) as u8, pick / 5 % 40);
            match pick % 11 {
                0..=3 => {
                    let key =
                        pick.is_multiple_of(3).then(|| ConcurrencyKey { key: format!("k{}", pick % 2), limit: 2 });
                    let priority = (pick % 4).cast_signed();
                    let offer =
                        ReadyTask { task: id, token: Token(step + 1), priority, concurrency: key, ..ready(0, 0) };
                    dispatcher.ready(offer);
                    live.insert(id, Token(step + 1));
                }
                4 | 5 => {
                    let token = live.remove(&id);
                    dispatcher.remove(id, token);
                }
                6 => dispatcher.hold(id.run, pick.is_multiple_of(2)),
                7 => instances.push(join(&mut dispatcher, "a", &["x"], 1 + pick % 3)),
                8 if !instances.is_empty() => {
                    let gone = instances.swap_remove(pick as usize % instances.len());
                    dispatcher.disconnect(gone, Time(step).after(Span(20)));
                }
                9 => dispatcher.lost(Time(step)).into_iter().for_each(|lost| {
                    dispatcher.remove(lost.task, Some(lost.token));
                    live.remove(&lost.task);
                }),
                _ => trace.extend(dispatcher.assign(Time(1_000))),
            }
            assert!(dispatcher.held() + dispatcher.queued() <= live.len());
        }
        (0..5).for_each(|run| dispatcher.hold(RunId([run; 16]), false));
        dispatcher.lost(Time(u64::MAX)).into_iter().for_each(|lost| {
            dispatcher.remove(lost.task, None);
            live.remove(&lost.task);
        });
        assert_eq!(dispatcher.held() + dispatcher.queued(), live.len(), "every task is somewhere");
        // What is held keeps its key: let it end, and then everything else can be assigned.
        let held: Vec<_> = live.iter().filter(|(id, token)| dispatcher.holder(**id, **token).is_some()).collect();
        let held: Vec<StepInstanceId> = held.into_iter().map(|(id, _)| *id).collect();
        for id in held {
            dispatcher.remove(id, live.remove(&id));
        }
        join(&mut dispatcher, "a", &["x"], 10_000);
        loop {
            let some = dispatcher.assign(Time(1_000));
            if some.is_empty() {
                break;
            }
            for given in some {
                dispatcher.remove(given.task, None);
                live.remove(&given.task);
            }
        }
        assert_eq!((dispatcher.queued(), dispatcher.held(), live.len()), (0, 0, 0), "everything can be assigned");
        trace
    };
    let first = script();
    assert!(first.len() > 200);
    assert_eq!(first, script());
}

#[test]
fn a_task_with_a_journal_waits_for_the_version_that_wrote_it_then_goes_to_any() {
    let mut dispatcher = Dispatcher::new();
    let written_by = |version: &str| Some(("a".to_owned(), version.to_owned()));
    join(&mut dispatcher, "a", &["x"], 8);
    dispatcher.ready(ReadyTask { written_by: written_by("1"), ..ready(1, 0) });
    dispatcher.ready(ReadyTask { written_by: written_by("2"), ..ready(1, 1) });
    assert_eq!(assign(&mut dispatcher), [(1, 0)]);
    let (wait, second) = (Span::from_secs(10), Time(1_000_000));
    dispatcher.writers().release(second, wait);
    assert_eq!(dispatcher.writers().next_release(wait), Some(second.after(wait)));
    assert_eq!(assign(&mut dispatcher), []);
    let reason = dispatcher.views().queues("n", second).into_iter().find_map(|queue| queue.reason).unwrap_or_default();
    assert!(reason.contains("no instance of `a@2`, whose code wrote their journals"), "{reason}");
    dispatcher.writers().release(second.after(wait), wait);
    assert_eq!(dispatcher.writers().next_release(wait), None);
    assert_eq!(assign(&mut dispatcher), [(1, 1)]);
}
