//! Subscriptions that push, and such as are paused, through the public interface of the machine.
//!
//! For: who may take deliveries, pausing and resuming, and what is recorded of a webhook. Not for: sending (the shell
//! does), or deliveries in general (`bus` has them).
//! Invariant: every test ends with the checks of `World::verify`, so each is a test of replay too.

#[allow(dead_code, reason = "each test file uses its part of the harness")]
mod support;

use consort_core::{
    Command, Effect, Reply,
    command::{
        AckDeliveries, DeleteSubscription, FetchEvents, NackDeliveries, NewEvent, PauseSubscription, PublishEvents,
        ReportPush, SetSubscription,
    },
    rows::{Push, SubscriptionSettings},
    view::{DeliveredEvent, Events, PushView, StartAt, SubscriptionView},
};
use consort_types::{Code, Result, Span, event::EventAttributes, limits};
use support::{NS, World};

fn webhook(url: &str) -> Push {
    Push { url: url.to_owned(), secret: "receiver".to_owned(), timeout: Span::from_secs(5) }
}

fn here() -> Push {
    webhook("https://receiver.example/in")
}

fn set(world: &mut World, name: &str, settings: SubscriptionSettings) -> Result<Reply> {
    let (namespace, name, start) = (NS.to_owned(), name.to_owned(), StartAt::New);
    world.apply(&Command::SetSubscription(SetSubscription { namespace, name, settings, start }))
}

fn pushing(push: Option<Push>) -> SubscriptionSettings {
    SubscriptionSettings { push, ..SubscriptionSettings::new(">") }
}

fn publish(world: &mut World, id: &str) {
    let attributes = EventAttributes {
        id: id.to_owned(),
        source: "/test".to_owned(),
        kind: "test.event".to_owned(),
        topic: "orders.created".to_owned(),
        ..EventAttributes::default()
    };
    let events = vec![NewEvent { attributes, data: None }];
    world.apply(&Command::PublishEvents(PublishEvents { namespace: NS.to_owned(), events })).unwrap();
}

fn fetch(world: &mut World, push: bool) -> Result<Vec<DeliveredEvent>> {
    let (namespace, subscription, consumer) = (NS.to_owned(), "s".to_owned(), String::new());
    match world.apply(&Command::FetchEvents(FetchEvents { namespace, subscription, consumer, max: 9, push }))? {
        Reply::Fetched(fetched) => Ok(fetched.deliveries),
        other => panic!("{other:?}"),
    }
}

fn pause(world: &mut World, paused: bool, reason: Option<&str>, only_if: Option<Push>) -> Result<Reply> {
    let (namespace, name, reason) = (NS.to_owned(), "s".to_owned(), reason.map(str::to_owned));
    world.apply(&Command::PauseSubscription(PauseSubscription { namespace, name, paused, reason, only_if }))
}

fn report(world: &mut World, push: Push, failure: Option<&str>) -> Result<Reply> {
    let (namespace, name, failure) = (NS.to_owned(), "s".to_owned(), failure.map(str::to_owned));
    world.apply(&Command::ReportPush(ReportPush { namespace, name, push, failure }))
}

fn settle(world: &mut World, taken: &DeliveredEvent, failure: Option<&str>) {
    let (namespace, subscription, deliveries) = (NS.to_owned(), "s".to_owned(), vec![taken.delivery]);
    let command = match failure {
        None => Command::AckDeliveries(AckDeliveries { namespace, subscription, deliveries }),
        Some(reason) => {
            let (delay, reason) = (Some(Span::ZERO), Some(reason.to_owned()));
            Command::NackDeliveries(NackDeliveries { namespace, subscription, deliveries, delay, reason })
        }
    };
    world.apply(&command).unwrap();
}

fn shown(world: &mut World) -> SubscriptionView {
    Events::of(&mut world.machine).subscription(NS, "s").unwrap()
}

fn pushes(world: &mut World) -> Vec<PushView> {
    let page = Events::of(&mut world.machine).pushes(None).unwrap();
    assert_eq!(page.next, None);
    page.pushes
}

/// Whether records since the last look woke the process that pushes.
fn woken(world: &mut World) -> bool {
    let pushes = |effect: &Effect| matches!(effect, Effect::PushesChanged { .. });
    world.effects.extract_if(.., |effect| pushes(effect)).count() > 0
}

#[test]
fn what_is_pushed_is_not_fetched_and_the_other_way_round() {
    let mut world = World::new();
    set(&mut world, "s", pushing(Some(here()))).unwrap();
    publish(&mut world, "1");
    assert_eq!(fetch(&mut world, false).unwrap_err().code, Code::SubscriptionPushes);
    let looked = Events::of(&mut world.machine).is_fetchable(NS, "s", false);
    assert_eq!(looked.unwrap_err().code, Code::SubscriptionPushes);
    assert!(Events::of(&mut world.machine).is_fetchable(NS, "s", true).unwrap());
    let taken = fetch(&mut world, true).unwrap();
    set(&mut world, "s", pushing(None)).unwrap();
    assert_eq!(fetch(&mut world, true).unwrap_err().code, Code::SubscriptionPushes);
    settle(&mut world, &taken[0], Some("no"));
    assert_eq!(shown(&mut world).last_failure, None, "it pushes no more");
    assert_eq!(fetch(&mut world, false).unwrap()[0].attempt, 2);
    world.verify();
}

#[test]
fn a_paused_subscription_hands_nothing_out_and_keeps_its_place() {
    for push in [None, Some(here())] {
        let mut world = World::new();
        set(&mut world, "s", pushing(push.clone())).unwrap();
        publish(&mut world, "1");
        let taken = fetch(&mut world, push.is_some()).unwrap();
        woken(&mut world);
        pause(&mut world, true, Some("repairs"), None).unwrap();
        assert_eq!(woken(&mut world), push.is_some());
        let paused = shown(&mut world).paused.unwrap();
        assert_eq!(paused.reason.as_deref(), Some("repairs"));
        publish(&mut world, "2");
        assert!(fetch(&mut world, push.is_some()).unwrap().is_empty());
        assert!(!Events::of(&mut world.machine).is_fetchable(NS, "s", push.is_some()).unwrap());
        pause(&mut world, true, Some("later"), None).unwrap();
        assert_eq!(shown(&mut world).paused.as_ref(), Some(&paused), "the first reason stays");
        settle(&mut world, &taken[0], None);
        world.effects.clear();
        pause(&mut world, false, None, None).unwrap();
        let wakes = |effect: &Effect| matches!(effect, Effect::EventsChanged { .. });
        assert!(world.effects.iter().any(wakes), "consumers that wait are woken");
        let after = fetch(&mut world, push.is_some()).unwrap();
        assert_eq!(after[0].event.attributes.id, "2");
        assert_eq!((after.len(), shown(&mut world).paused), (1, None));
        world.verify();
    }
    let mut world = World::new();
    assert_eq!(pause(&mut world, true, None, None).unwrap_err().code, Code::SubscriptionNotFound);
    set(&mut world, "s", pushing(None)).unwrap();
    let long = "x".repeat(limits::ERROR_MESSAGE_BYTES_MAX + 1);
    assert_eq!(pause(&mut world, true, Some(&long), None).unwrap_err().code, Code::LimitReached);
    world.verify();
}

#[test]
fn it_is_recorded_since_when_a_webhook_fails() {
    let mut world = World::new();
    set(&mut world, "s", pushing(Some(here()))).unwrap();
    publish(&mut world, "1");
    let first = fetch(&mut world, true).unwrap();
    settle(&mut world, &first[0], Some("it answers 500"));
    let failing = shown(&mut world);
    let since = failing.failing_since.unwrap();
    world.tick(Span::from_secs(1));
    let again = fetch(&mut world, true).unwrap();
    settle(&mut world, &again[0], Some("it answers 502"));
    let still = shown(&mut world);
    assert_eq!(still.failing_since, Some(since));
    let last = still.last_failure.unwrap();
    assert!(last.at > since && last.reason == "it answers 502", "{last:?}");
    let third = fetch(&mut world, true).unwrap();
    settle(&mut world, &third[0], None);
    let recovered = shown(&mut world);
    assert_eq!((recovered.failing_since, recovered.last_failure), (None, Some(last)));
    world.verify();
}

#[test]
fn what_is_reported_of_another_webhook_counts_no_more() {
    let mut world = World::new();
    let old = webhook("https://old.example/");
    assert_eq!(report(&mut world, old.clone(), Some("gone")).unwrap_err().code, Code::SubscriptionNotFound);
    set(&mut world, "s", pushing(Some(old.clone()))).unwrap();
    report(&mut world, old.clone(), Some("no secret")).unwrap();
    assert!(shown(&mut world).failing_since.is_some());
    report(&mut world, old.clone(), None).unwrap();
    assert!(shown(&mut world).failing_since.is_none());
    report(&mut world, old.clone(), Some("no secret")).unwrap();
    set(&mut world, "s", pushing(Some(here()))).unwrap();
    let changed = shown(&mut world);
    assert_eq!((changed.failing_since, changed.last_failure), (None, None), "the new one has not failed");
    report(&mut world, old.clone(), Some("no secret")).unwrap();
    pause(&mut world, true, Some("410"), Some(old)).unwrap();
    let same = shown(&mut world);
    assert_eq!((same.failing_since, same.paused), (None, None));
    pause(&mut world, true, Some("410"), Some(here())).unwrap();
    assert!(shown(&mut world).paused.is_some());
    world.verify();
}

#[test]
fn every_change_of_what_is_pushed_is_told_and_all_namespaces_are_listed() {
    let mut world = World::new();
    set(&mut world, "plain", pushing(None)).unwrap();
    assert!(!woken(&mut world) && pushes(&mut world).is_empty());
    set(&mut world, "s", pushing(Some(here()))).unwrap();
    assert!(woken(&mut world));
    let made = pushes(&mut world);
    let other = SetSubscription {
        namespace: "other".to_owned(),
        name: "s".to_owned(),
        settings: pushing(Some(here())),
        start: StartAt::New,
    };
    world.apply(&Command::SetSubscription(other)).unwrap();
    assert!(woken(&mut world) && pushes(&mut world).len() == 2);
    publish(&mut world, "1");
    assert!(!woken(&mut world));
    set(&mut world, "s", pushing(Some(webhook("https://new.example")))).unwrap();
    assert!(woken(&mut world));
    let changed = pushes(&mut world).into_iter().find(|view| view.namespace == NS).unwrap();
    assert_eq!((changed.made, changed.push.url.as_str()), (made[0].made, "https://new.example"));
    world.apply(&Command::DeleteSubscription(DeleteSubscription { namespace: NS.into(), name: "s".into() })).unwrap();
    assert!(woken(&mut world) && pushes(&mut world).len() == 1);
    set(&mut world, "s", pushing(Some(here()))).unwrap();
    let again = pushes(&mut world).into_iter().find(|view| view.namespace == NS).unwrap();
    assert!(again.made > made[0].made, "one that is made again is another one");
    let names = |n: usize| format!("many{n:04}");
    (0..300).for_each(|n| drop(set(&mut world, &names(n), pushing((n % 2 == 0).then(here))).unwrap()));
    let first = Events::of(&mut world.machine).pushes(None).unwrap();
    let rest = Events::of(&mut world.machine).pushes(first.next.clone()).unwrap();
    let count = first.pushes.len() + rest.pushes.len();
    assert_eq!(
        (count, first.next.is_some(), rest.next),
        (152, true, None),
        "a part has a bounded size, and none is left out"
    );
    world.verify();
}

#[test]
fn a_webhook_is_checked_before_it_is_recorded() {
    let mut world = World::new();
    let with = |change: fn(&mut Push)| {
        let mut push = here();
        change(&mut push);
        pushing(Some(push))
    };
    let over = Span::from_secs(limits::EVENT_ACK_WAIT_SECONDS_DEFAULT);
    for (settings, expected) in [
        (with(|push| push.url = "ftp://a".into()), Code::BadWebhook),
        (with(|push| push.url = "https://user:word@a/".into()), Code::BadWebhook),
        (
            with(|push| push.url = format!("https://a/{}", "x".repeat(limits::WEBHOOK_URL_BYTES_MAX))),
            Code::LimitReached,
        ),
        (with(|push| push.secret = "../x".into()), Code::BadName),
        (with(|push| push.timeout = Span::ZERO), Code::BadWebhook),
        (pushing(Some(Push { timeout: over, ..here() })), Code::BadWebhook),
    ] {
        assert_eq!(set(&mut world, "s", settings).unwrap_err().code, expected);
    }
    set(&mut world, "s", pushing(Some(Push { timeout: Span(over.0 - 1), ..here() }))).unwrap();
    world.verify();
}
