//! Subscriptions that hand their events to agents as tasks, through the public interface of the machine.
//!
//! For: what becomes a task, when, and how its end settles the delivery. Not for: leases, attempts and losses (`tasks` has
//! them), or deliveries in general (`bus` has them).
//! Invariant: every test ends with the checks of `World::verify`, so each is a test of replay too.

#[allow(dead_code, reason = "each test file uses its part of the harness")]
mod support;

use std::collections::BTreeMap;

use consort_core::{
    Command, LateReport, Reply,
    command::{
        CancelRun, DeclaredSubscription, DeleteRun, DeleteSubscription, FetchEvents, NewEvent, PauseSubscription,
        PublishEvents, RegisterAgent, RemoveAgent, SeekSubscription, SetEventRetention, SetSubscription,
        SettleDeadLetters,
    },
    rows::{AsTasks, BackOff, EventRetention, Filter, OrderKey, Push, SubscriptionSettings},
    view::{DeadLetterView, Events, RunFilter, RunSummary, StartAt, SubscriptionView},
};
use consort_types::{
    Code, EffectClass, Error, Locality, Payload, Result, RunId, Span, StepInstanceId, Token,
    event::{EventAttributes, ExtensionValue, Position},
    limits,
    worker::AgentDeclaration,
};
use consort_workflow_check::event_expression;
use serde_json::Value;
use support::{NS, World, holder};

fn to_agents() -> SubscriptionSettings {
    SubscriptionSettings {
        max_deliveries: 3,
        back_off: BackOff { first: Span::from_secs(1), longest: Span::from_secs(1) },
        max_in_flight: 2,
        tasks: Some(AsTasks { capability: "x".to_owned(), ..AsTasks::default() }),
        ..SubscriptionSettings::new("orders.>")
    }
}

fn in_order() -> SubscriptionSettings {
    SubscriptionSettings { ordered: Some(OrderKey::Subject), max_in_flight: 9, ..to_agents() }
}

fn filtered(text: &str) -> SubscriptionSettings {
    SubscriptionSettings {
        filter: Some(Filter(event_expression("filter", text, None).unwrap())),
        max_in_flight: 9,
        ..to_agents()
    }
}

fn set(world: &mut World, settings: SubscriptionSettings) -> Result<Reply> {
    let (namespace, name, start) = (NS.to_owned(), "s".to_owned(), StartAt::New);
    world.apply(&Command::SetSubscription(SetSubscription { namespace, name, settings, start }))
}

fn event(id: &str, subject: &str, data: &str) -> NewEvent {
    let attributes = EventAttributes {
        id: id.to_owned(),
        source: "/test".to_owned(),
        kind: "test.event".to_owned(),
        topic: "orders.created".to_owned(),
        subject: Some(subject.to_owned()).filter(|text| !text.is_empty()),
        ..EventAttributes::default()
    };
    NewEvent { attributes, data: Some(Payload::inline(data.as_bytes())) }
}

fn publish_all(world: &mut World, events: Vec<NewEvent>) {
    world.apply(&Command::PublishEvents(PublishEvents { namespace: NS.to_owned(), events })).unwrap();
    world.go_on();
}

fn publish(world: &mut World, id: &str, subject: &str) {
    publish_all(world, vec![event(id, subject, "{}")]);
}

/// The open tasks, by the ids of their events.
fn tasks(world: &mut World) -> BTreeMap<String, (StepInstanceId, Token, u32)> {
    let open: Vec<_> = world.ready.iter().map(|(task, token)| (*task, *token)).collect();
    let mut found = BTreeMap::new();
    for (task, token) in open {
        let Some(offer) = world.machine.offer(task).unwrap() else { continue };
        assert_eq!((offer.capability.as_str(), offer.step.as_str()), ("x", "handle"));
        let input: Value = serde_json::from_slice(offer.input.bytes().unwrap()).unwrap();
        found.insert(input["id"].as_str().unwrap().to_owned(), (task, token, offer.attempt));
    }
    found
}

fn ids(world: &mut World) -> Vec<String> {
    tasks(world).into_keys().collect()
}

fn complete(world: &mut World, id: &str) {
    let (task, token, _) = tasks(world)[id];
    world.report(task, token, "null").unwrap();
    world.go_on();
}

fn fail(world: &mut World, id: &str, retryable: bool) {
    use consort_core::command::TaskFail;
    let (task, token, _) = tasks(world)[id];
    let (by, error) = (holder(), Error::new(Code::AgentFailed, format!("{id} broke")));
    let fail = TaskFail { task, token, error, retryable, retry_after: None, taken: None, by, version: None };
    world.apply(&Command::TaskFail(fail)).unwrap();
    world.go_on();
}

fn shown(world: &mut World) -> SubscriptionView {
    Events::of(&mut world.machine).subscription(NS, "s").unwrap()
}

fn dead(world: &mut World) -> Vec<DeadLetterView> {
    Events::of(&mut world.machine).dead_letters(NS, "s", None, 100).unwrap().items
}

fn runs(world: &mut World) -> Vec<RunSummary> {
    world.machine.list_runs(NS, &RunFilter::default(), None, 100).unwrap().items
}

fn redrive(world: &mut World, redrive: bool) {
    let (namespace, subscription, positions) = (NS.to_owned(), "s".to_owned(), Vec::new());
    let command = SettleDeadLetters { namespace, subscription, positions, redrive };
    world.apply(&Command::SettleDeadLetters(command)).unwrap();
    world.go_on();
}

fn seek(world: &mut World) {
    let (namespace, name, to) = (NS.to_owned(), "s".to_owned(), StartAt::All);
    world.apply(&Command::SeekSubscription(SeekSubscription { namespace, name, to })).unwrap();
    world.go_on();
}

fn pause(world: &mut World, paused: bool) {
    let (namespace, name) = (NS.to_owned(), "s".to_owned());
    let pause = PauseSubscription { namespace, name, paused, reason: None, only_if: None };
    world.apply(&Command::PauseSubscription(pause)).unwrap();
    world.go_on();
}

#[test]
fn each_event_is_a_task_in_the_record_that_publishes_it_and_its_end_acknowledges_it() {
    for units_max in [limits::WORK_PER_RECORD_MAX, 8, 5] {
        let mut world = World::limited(units_max, limits::EXPRESSION_COST_MAX);
        set(&mut world, to_agents()).unwrap();
        publish_all(&mut world, vec![event("1", "a", r#"{"n":7}"#), event("2", "a", "{}"), event("3", "", "{}")]);
        assert_eq!(ids(&mut world), ["1", "2"], "two are in flight, and no more");
        let found = shown(&mut world);
        assert_eq!((found.in_flight, found.open, found.lag, found.delivered), (2, 2, 1, 2));
        let (task, ..) = tasks(&mut world)["1"];
        let offer = world.machine.offer(task).unwrap().unwrap();
        let input: Value = serde_json::from_slice(offer.input.bytes().unwrap()).unwrap();
        assert_eq!((&input["data"]["n"], &input["topic"]), (&7.into(), &"orders.created".into()));
        assert_eq!(offer.workflow, "s");
        complete(&mut world, "1");
        assert_eq!(ids(&mut world), ["2", "3"], "one that is settled makes room");
        complete(&mut world, "3");
        complete(&mut world, "2");
        let found = shown(&mut world);
        assert_eq!((found.in_flight, found.open, found.acknowledged, found.dead, found.lag), (0, 0, 3, 0, 0));
        assert!(runs(&mut world).is_empty(), "what is acknowledged leaves no run");
        let left: Vec<_> = world.stored().into_keys().filter(|key| b"rsjwf".contains(&key[0])).collect();
        assert_eq!(left, Vec::<Vec<u8>>::new(), "nor anything of it");
        world.verify();
    }
}

#[test]
fn a_failed_attempt_is_a_delivery_and_the_last_one_makes_a_dead_letter_that_keeps_its_run() {
    let mut world = World::new();
    set(&mut world, to_agents()).unwrap();
    publish(&mut world, "1", "");
    let (task, ..) = tasks(&mut world)["1"];
    let key = world.machine.offer(task).unwrap().unwrap().idempotency_key;
    fail(&mut world, "1", true);
    assert!(ids(&mut world).is_empty(), "it waits for its next attempt");
    assert_eq!(shown(&mut world).in_flight, 1);
    world.tick(Span::from_secs(2));
    assert_eq!(tasks(&mut world)["1"].2, 2);
    fail(&mut world, "1", true);
    world.tick(Span::from_secs(2));
    fail(&mut world, "1", true);
    let letters = dead(&mut world);
    assert_eq!((letters.len(), letters[0].deliveries), (1, 3));
    assert!(letters[0].reason.as_ref().unwrap().contains("1 broke"), "{letters:?}");
    assert!(letters[0].consumer.is_none(), "no assignment was recorded");
    let run = runs(&mut world).pop().unwrap();
    assert_eq!(Some(run.run), letters[0].run);
    assert_eq!(run.labels["subscription"], "s");
    let found = shown(&mut world);
    assert_eq!((found.delivered, found.in_flight, found.open, found.dead), (3, 0, 0, 1));
    assert!(found.failing_since.is_some() && found.last_failure.is_some());
    redrive(&mut world, true);
    let (task, _, attempt) = tasks(&mut world)["1"];
    assert_eq!(attempt, 1, "as if it had never been delivered");
    assert_eq!(world.machine.offer(task).unwrap().unwrap().idempotency_key, key, "its effects are the same");
    assert_eq!(runs(&mut world).len(), 1, "the run of the dead letter is gone");
    complete(&mut world, "1");
    let found = shown(&mut world);
    assert_eq!((found.acknowledged, found.dead, found.failing_since), (1, 0, None));
    publish(&mut world, "2", "");
    fail(&mut world, "2", false);
    assert_eq!(dead(&mut world)[0].deliveries, 1, "what is not to be tried again is not");
    redrive(&mut world, false);
    assert!(runs(&mut world).is_empty() && dead(&mut world).is_empty());
    world.verify();
}

#[test]
fn events_of_one_key_are_tasks_one_at_a_time_and_in_order() {
    let mut world = World::new();
    set(&mut world, in_order()).unwrap();
    for (id, subject) in [("1", "a"), ("2", "a"), ("3", "b"), ("4", "a"), ("5", "")] {
        publish(&mut world, id, subject);
    }
    assert_eq!(ids(&mut world), ["1", "3", "5"]);
    fail(&mut world, "1", true);
    complete(&mut world, "3");
    assert_eq!(ids(&mut world), ["5"], "what waits for its next attempt keeps its place");
    world.tick(Span::from_secs(2));
    assert_eq!(ids(&mut world), ["1", "5"]);
    complete(&mut world, "1");
    assert_eq!(ids(&mut world), ["2", "5"]);
    fail(&mut world, "2", false);
    assert_eq!(ids(&mut world), ["4", "5"], "a dead letter holds no one back");
    redrive(&mut world, true);
    assert_eq!(ids(&mut world), ["4", "5"], "redriven, it waits for its key");
    complete(&mut world, "4");
    assert_eq!(ids(&mut world), ["2", "5"]);
    world.verify();
}

#[test]
fn a_filter_lets_through_and_what_it_cannot_judge_is_a_dead_letter() {
    let mut world = World::new();
    set(&mut world, filtered("event.data.total > 100")).unwrap();
    let event = |id: &str, data: &str| event(id, "a", data);
    publish_all(&mut world, vec![event("1", r#"{"total":101}"#), event("2", r#"{"total":3}"#), event("3", "{}")]);
    assert_eq!(ids(&mut world), ["1"]);
    let found = shown(&mut world);
    assert_eq!((found.filtered, found.dead, found.open), (1, 1, 1));
    let letter = dead(&mut world).pop().unwrap();
    assert_eq!((letter.event.attributes.id.as_str(), letter.deliveries, letter.run), ("3", 0, None));
    assert!(letter.reason.unwrap().contains("`event.data.total > 100` cannot be evaluated"));
    redrive(&mut world, true);
    assert_eq!(ids(&mut world), ["1", "3"], "an operator may hand it out all the same");
    complete(&mut world, "1");
    complete(&mut world, "3");
    world.verify();
}

#[test]
fn fetching_uses_the_filter_too() {
    let mut world = World::new();
    set(&mut world, SubscriptionSettings { tasks: None, ..filtered("event.subject == 'b'") }).unwrap();
    publish(&mut world, "1", "a");
    publish(&mut world, "2", "b");
    let (namespace, subscription, consumer) = (NS.to_owned(), "s".to_owned(), String::new());
    let fetch = FetchEvents { namespace, subscription, consumer, max: 9, push: false };
    let Reply::Fetched(fetched) = world.apply(&Command::FetchEvents(fetch.clone())).unwrap() else { panic!() };
    let got: Vec<&str> = fetched.deliveries.iter().map(|one| one.event.attributes.id.as_str()).collect();
    assert_eq!(got, ["2"]);
    set(&mut world, to_agents()).unwrap();
    assert_eq!(world.apply(&Command::FetchEvents(fetch)).unwrap_err().code, Code::SubscriptionPushes);
    publish(&mut world, "3", "a");
    assert_eq!(ids(&mut world), ["3"]);
    world.tick(Span::from_secs(60));
    assert_eq!(ids(&mut world), ["2", "3"], "what a consumer has not acknowledged in time becomes a task");
    world.verify();
}

#[test]
fn a_run_that_is_cancelled_makes_a_dead_letter() {
    let mut world = World::new();
    set(&mut world, to_agents()).unwrap();
    publish(&mut world, "1", "");
    let run = tasks(&mut world)["1"].0.run;
    let cancel = CancelRun { namespace: NS.to_owned(), run, reason: "no".to_owned(), force: false };
    world.apply(&Command::CancelRun(cancel)).unwrap();
    let letters = dead(&mut world);
    assert!(letters[0].reason.as_ref().unwrap().contains("cancelled: no"), "{letters:?}");
    let delete = Command::DeleteRun(DeleteRun { namespace: NS.to_owned(), run });
    world.apply(&delete).unwrap();
    world.go_on();
    redrive(&mut world, true);
    complete(&mut world, "1");
    assert_eq!(shown(&mut world).acknowledged, 1);
    world.verify();
}

#[test]
fn moving_and_deleting_cancel_what_is_in_flight() {
    let mut world = World::new();
    set(&mut world, to_agents()).unwrap();
    publish(&mut world, "1", "");
    publish(&mut world, "2", "");
    let old = tasks(&mut world)["1"].0;
    complete(&mut world, "2");
    seek(&mut world);
    assert_eq!(ids(&mut world), ["1", "2"]);
    assert_ne!(tasks(&mut world)["1"].0, old, "it is another run");
    assert_eq!(runs(&mut world).len(), 2);
    pause(&mut world, true);
    complete(&mut world, "1");
    publish(&mut world, "3", "");
    assert_eq!(ids(&mut world), ["2"], "what is in flight goes on, and nothing else is handed out");
    pause(&mut world, false);
    assert_eq!(ids(&mut world), ["2", "3"]);
    fail(&mut world, "3", false);
    let delete = DeleteSubscription { namespace: NS.to_owned(), name: "s".to_owned() };
    world.apply(&Command::DeleteSubscription(delete)).unwrap();
    world.go_on();
    assert!(runs(&mut world).is_empty() && ids(&mut world).is_empty());
    publish(&mut world, "4", "");
    assert!(ids(&mut world).is_empty());
    world.verify();
}

#[test]
fn the_retention_takes_nothing_from_a_task() {
    let mut world = World::new();
    set(&mut world, to_agents()).unwrap();
    let large = format!(r#"{{"pad":"{}"}}"#, "z".repeat(40_000));
    let data = world.put_blob(large.as_bytes());
    let NewEvent { attributes, .. } = event("1", "", "");
    publish_all(&mut world, vec![NewEvent { attributes, data: Some(data) }]);
    let keep = EventRetention { count: Some(1), ..EventRetention::default() };
    world.apply(&Command::SetEventRetention(SetEventRetention { namespace: NS.to_owned(), keep })).unwrap();
    publish(&mut world, "2", "");
    publish(&mut world, "3", "");
    let place = tasks(&mut world)["1"].0;
    fail(&mut world, "1", false);
    let letter = dead(&mut world).pop().unwrap();
    assert_eq!(letter.event.attributes.id, "1");
    assert_eq!(letter.run, Some(place.run));
    redrive(&mut world, true);
    for id in ["1", "2", "3"] {
        if tasks(&mut world).contains_key(id) {
            complete(&mut world, id);
        }
    }
    for id in ids(&mut world) {
        complete(&mut world, &id);
    }
    assert_eq!((shown(&mut world).missed, shown(&mut world).acknowledged), (0, 3));
    world.verify();
}

#[test]
fn a_run_is_kept_as_long_as_is_asked_and_its_trace_is_that_of_the_event() {
    let mut world = World::new();
    let tasks_for = AsTasks { capability: "x".to_owned(), keep: Some(Span::from_secs(60)), ..AsTasks::default() };
    set(&mut world, SubscriptionSettings { tasks: Some(tasks_for), ..to_agents() }).unwrap();
    let mut traced = event("1", "", "{}");
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    traced.attributes.extensions.insert("traceparent".to_owned(), ExtensionValue::Text(trace.to_owned()));
    publish_all(&mut world, vec![traced]);
    let (task, ..) = tasks(&mut world)["1"];
    let offer = world.machine.offer(task).unwrap().unwrap();
    assert!(offer.traceparent.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{}", offer.traceparent);
    complete(&mut world, "1");
    assert_eq!(runs(&mut world).len(), 1);
    world.tick(Span::from_secs(59));
    assert_eq!(runs(&mut world).len(), 1);
    world.tick(Span::from_secs(2));
    assert!(runs(&mut world).is_empty());
    world.verify();
}

#[test]
fn what_cannot_be_is_refused() {
    let mut world = World::new();
    let push = Push { url: "https://a.example/".to_owned(), secret: "s".to_owned(), timeout: Span::from_secs(1) };
    let tasks_for = |tasks: AsTasks| SubscriptionSettings { tasks: Some(tasks), ..to_agents() };
    let x = || AsTasks { capability: "x".to_owned(), ..AsTasks::default() };
    for (settings, code) in [
        (SubscriptionSettings { push: Some(push), ..to_agents() }, Code::BadRequest),
        (tasks_for(AsTasks { capability: "not a name".to_owned(), ..x() }), Code::BadName),
        (tasks_for(AsTasks { agent: Some(String::new()), ..x() }), Code::BadName),
        (tasks_for(AsTasks { timeout: Some(Span::ZERO), ..x() }), Code::BadRequest),
        (SubscriptionSettings { max_in_flight: limits::EVENT_TASKS_MAX + 1, ..to_agents() }, Code::LimitReached),
    ] {
        assert_eq!(set(&mut world, settings).unwrap_err().code, code);
    }
    set(&mut world, SubscriptionSettings { max_in_flight: limits::EVENT_TASKS_MAX, ..to_agents() }).unwrap();
    world.verify();
}

fn register(world: &mut World, version: &str, names: &[&str]) -> Result<Reply> {
    let agent = AgentDeclaration {
        name: "shop".to_owned(),
        version: version.to_owned(),
        description: String::new(),
        labels: BTreeMap::new(),
        capabilities: Vec::new(),
        subscriptions: Vec::new(),
    };
    let declared = |name: &&str| DeclaredSubscription {
        name: (*name).to_owned(),
        settings: SubscriptionSettings { max_in_flight: version.parse().unwrap(), ..to_agents() },
        from_start: false,
    };
    let subscriptions = names.iter().map(declared).collect();
    let command = RegisterAgent { subscriptions, ..RegisterAgent::new(NS, &agent, Locality::Remote) };
    world.apply(&Command::RegisterAgent(command))
}

fn of_agent(world: &mut World, name: &str) -> SubscriptionView {
    Events::of(&mut world.machine).subscription(NS, name).unwrap()
}

#[test]
fn an_agent_declares_subscriptions_and_the_version_that_was_declared_last_counts() {
    let mut world = World::new();
    register(&mut world, "1", &["orders", "returns"]).unwrap();
    publish(&mut world, "1", "");
    assert_eq!(of_agent(&mut world, "shop.orders").in_flight, 1);
    assert_eq!(of_agent(&mut world, "shop.returns").in_flight, 1);
    register(&mut world, "2", &["orders"]).unwrap();
    let orders = of_agent(&mut world, "shop.orders");
    assert_eq!((orders.settings.max_in_flight, orders.in_flight), (2, 1));
    assert_eq!(orders.owner.unwrap().version, "2");
    let withdrawn = of_agent(&mut world, "shop.returns");
    assert!(withdrawn.paused.unwrap().reason.unwrap().contains("version `2`"));
    let other = SetSubscription {
        namespace: NS.to_owned(),
        name: "shop.orders".to_owned(),
        settings: to_agents(),
        start: StartAt::New,
    };
    assert_eq!(world.apply(&Command::SetSubscription(other)).unwrap_err().code, Code::SubscriptionOwned);
    register(&mut world, "3", &["orders", "returns"]).unwrap();
    assert_eq!(of_agent(&mut world, "shop.returns").paused, None, "declared again, it continues");
    for version in ["1", "2", "3"] {
        let remove = RemoveAgent {
            namespace: NS.to_owned(),
            name: "shop".to_owned(),
            version: Some(version.to_owned()),
            force: true,
        };
        world.apply(&Command::RemoveAgent(remove)).unwrap();
    }
    let removed = of_agent(&mut world, "shop.orders");
    assert!(removed.paused.unwrap().reason.unwrap().contains("agent `shop` was removed"));
    world.verify();
}

#[test]
fn an_agent_takes_over_no_subscription_of_somebody_else() {
    let mut world = World::new();
    let own = SetSubscription {
        namespace: NS.to_owned(),
        name: "shop.orders".to_owned(),
        settings: to_agents(),
        start: StartAt::New,
    };
    world.apply(&Command::SetSubscription(own)).unwrap();
    let refused = register(&mut world, "1", &["others", "orders"]).unwrap_err();
    assert_eq!(refused.code, Code::SubscriptionOwned);
    assert!(refused.message.contains("`shop.orders`"), "{refused}");
    assert!(Events::of(&mut world.machine).subscription(NS, "shop.others").is_err(), "a refusal changes nothing");
    world.verify();
}

#[test]
fn a_lost_attempt_of_a_task_that_may_not_be_repeated_waits_for_a_decision() {
    let mut world = World::new();
    set(&mut world, to_agents()).unwrap();
    publish(&mut world, "1", "");
    world.taken("handle", EffectClass::Write);
    world.lose("handle", None);
    assert_eq!(shown(&mut world).in_flight, 1, "its outcome is unknown, so it is neither handed out nor given up");
    assert_eq!(world.machine.tasks().inbox(NS, None, 10).unwrap().items.len(), 1);
    let run = runs(&mut world)[0].run;
    world.runs.push(run);
    world.act("resolve handle null");
    world.go_on();
    world.runs.clear();
    assert_eq!(shown(&mut world).acknowledged, 1);
    world.verify();
}

#[test]
fn a_report_that_comes_again_is_answered_while_its_run_is_being_removed() {
    let mut world = World::new();
    set(&mut world, to_agents()).unwrap();
    publish(&mut world, "1", "");
    world.taken("handle", EffectClass::Idempotent);
    let (task, token, _) = tasks(&mut world)["1"];
    world.report(task, token, "null").unwrap();
    let mut answers = Vec::new();
    loop {
        answers.push(world.machine.late_report(NS, task, token, &holder()).map_err(|error| error.code));
        if world.go_on_once() == 0 {
            break;
        }
    }
    assert_eq!(answers.pop(), Some(Err(Code::TaskNotFound)));
    assert!(answers.len() > 1 && answers.iter().all(|one| *one == Ok(LateReport::Repeated)), "{answers:?}");
    world.verify();
}

#[test]
fn every_event_of_many_is_settled_once() {
    let mut world = World::limited(12, limits::EXPRESSION_COST_MAX);
    set(&mut world, SubscriptionSettings { max_in_flight: 7, ..in_order() }).unwrap();
    for batch in 0..5 {
        let events = (0..40).map(|n| event(&format!("{batch:02}{n:02}"), &format!("k{}", n % 6), "{}"));
        publish_all(&mut world, events.collect());
    }
    let mut done = BTreeMap::<Position, RunId>::new();
    let mut last = BTreeMap::<String, String>::new();
    while let Some((id, (task, token, _))) = tasks(&mut world).into_iter().next_back() {
        assert!(tasks(&mut world).len() <= 7);
        let run = world.machine.run_view(NS, task.run).unwrap();
        assert_eq!(done.insert(run.summary.labels["event"].parse().unwrap(), task.run), None);
        let key = format!("k{}", id[2..].parse::<u32>().unwrap() % 6);
        let before = last.insert(key, id.clone());
        assert!(before.is_none_or(|before| before < id), "in the order of its key");
        world.report(task, token, "null").unwrap();
        world.go_on();
    }
    assert_eq!((done.len(), shown(&mut world).acknowledged, shown(&mut world).lag), (200, 200, 0));
    world.verify();
}
