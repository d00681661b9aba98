//! The event bus: publishing, subscriptions, retention and triggers, through the public interface of the machine.
//!
//! For: order, deduplication, leases, redelivery, dead letters, ordered keys, retention in pieces, triggers. Not for:
//! waiting for events (the engine does).
//! Invariant: every test ends with the checks of `World::verify`, so each is a test of replay too.

#[allow(dead_code, reason = "each test file uses its part of the harness")]
mod support;

use consort_core::{
    Command, Effect, Reply,
    command::{
        AckDeliveries, DeleteSubscription, DeleteTrigger, FetchEvents, NackDeliveries, NewEvent, PauseTrigger,
        PublishEvents, SeekSubscription, SetEventRetention, SetSubscription, SetTrigger, SettleDeadLetters,
    },
    rows::{BackOff, EventRetention, OrderKey, SubscriptionSettings, TriggerAction, TriggerSettings},
    view::{DeliveredEvent, Events, Published, RunFilter, StartAt},
};
use consort_types::{
    Code, Payload, Result, Seq, Span, Time,
    event::{DeliveryId, EventAttributes, Position},
    limits,
};
use consort_workflow_check::event_expression;
use support::{NS, World};

const SECOND: Span = Span::from_secs(1);

fn event(id: &str, topic: &str) -> NewEvent {
    let attributes = EventAttributes {
        id: id.to_owned(),
        source: "/test".to_owned(),
        kind: "test.event".to_owned(),
        topic: topic.to_owned(),
        ..EventAttributes::default()
    };
    NewEvent { attributes, data: Some(Payload::inline(format!("{{\"id\":\"{id}\"}}").into_bytes())) }
}

fn keyed(id: &str, subject: &str) -> NewEvent {
    let mut event = event(id, "orders.created");
    event.attributes.subject = Some(subject.to_owned());
    event
}

fn publish(world: &mut World, events: Vec<NewEvent>) -> Result<Vec<Published>> {
    match world.apply(&Command::PublishEvents(PublishEvents { namespace: NS.to_owned(), events }))? {
        Reply::Published(published) => Ok(published),
        other => panic!("{other:?}"),
    }
}

/// Publishes one event each; their positions.
fn publish_all(world: &mut World, ids: &[&str]) -> Vec<Position> {
    let one = |id: &&str| publish(world, vec![event(id, "orders.created")]).unwrap()[0].position;
    ids.iter().map(one).collect()
}

fn settings(pattern: &str) -> SubscriptionSettings {
    let back_off = BackOff { first: SECOND, longest: Span::from_secs(8) };
    SubscriptionSettings { max_deliveries: 3, back_off, ..SubscriptionSettings::new(pattern) }
}

fn subscribe(world: &mut World, name: &str, settings: SubscriptionSettings, start: StartAt) -> Result<Reply> {
    let (namespace, name) = (NS.to_owned(), name.to_owned());
    world.apply(&Command::SetSubscription(SetSubscription { namespace, name, settings, start }))
}

fn fetch(world: &mut World, name: &str, max: u32) -> Vec<DeliveredEvent> {
    let (namespace, subscription, consumer) = (NS.to_owned(), name.to_owned(), "c1".to_owned());
    match world
        .apply(&Command::FetchEvents(FetchEvents { namespace, subscription, consumer, max, push: false }))
        .unwrap()
    {
        Reply::Fetched(fetched) => fetched.deliveries,
        other => panic!("{other:?}"),
    }
}

/// The ids of the events that a fetch gives, with the deliveries.
fn ids(deliveries: &[DeliveredEvent]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery.event.attributes.id.as_str()).collect()
}

fn ack(world: &mut World, name: &str, delivery: DeliveryId) -> Result<Reply> {
    let (namespace, subscription) = (NS.to_owned(), name.to_owned());
    world.apply(&Command::AckDeliveries(AckDeliveries { namespace, subscription, deliveries: vec![delivery] }))
}

fn nack(world: &mut World, name: &str, delivery: DeliveryId, delay: Option<Span>) -> Result<Reply> {
    let (namespace, subscription, reason) = (NS.to_owned(), name.to_owned(), Some("not now".to_owned()));
    let deliveries = vec![delivery];
    world.apply(&Command::NackDeliveries(NackDeliveries { namespace, subscription, deliveries, delay, reason }))
}

fn dead(world: &mut World, name: &str, positions: Vec<Position>, redrive: bool) -> Result<Reply> {
    let (namespace, subscription) = (NS.to_owned(), name.to_owned());
    world.apply(&Command::SettleDeadLetters(SettleDeadLetters { namespace, subscription, positions, redrive }))
}

fn keep(world: &mut World, keep: EventRetention) -> Result<Reply> {
    world.apply(&Command::SetEventRetention(SetEventRetention { namespace: NS.to_owned(), keep }))
}

fn seek(world: &mut World, name: &str, to: StartAt) -> Result<Reply> {
    world.apply(&Command::SeekSubscription(SeekSubscription { namespace: NS.to_owned(), name: name.to_owned(), to }))
}

fn listed(world: &mut World, pattern: Option<&str>, after: Position) -> Result<Vec<String>> {
    let page = Events::of(&mut world.machine).list(NS, pattern, after, 1_000)?;
    Ok(page.events.into_iter().map(|event| event.attributes.id).collect())
}

fn code(result: Result<Reply>) -> Code {
    result.unwrap_err().code
}

#[test]
fn events_are_in_one_order_and_each_is_there_once() {
    let mut world = World::new();
    let first = publish(&mut world, vec![event("1", "a.b"), event("2", "a.c"), event("1", "a.b")]).unwrap();
    assert!(!first[0].deduplicated && !first[1].deduplicated && first[0].position < first[1].position);
    assert_eq!((first[2].position, first[2].deduplicated), (first[0].position, true));
    let again = publish(&mut world, vec![event("2", "a.c"), event("3", "a.b.d")]).unwrap();
    assert_eq!((again[0].position, again[0].deduplicated), (first[1].position, true));
    assert!(!again[1].deduplicated && again[1].position > first[1].position);
    let mut other = event("1", "a.b");
    other.attributes.source = "/other".to_owned();
    assert!(!publish(&mut world, vec![other]).unwrap()[0].deduplicated, "an id is of its source");
    assert_eq!(listed(&mut world, None, Position::ZERO).unwrap(), ["1", "2", "3", "1"]);
    assert_eq!(listed(&mut world, Some("a.*"), Position::ZERO).unwrap(), ["1", "2", "1"]);
    assert_eq!(listed(&mut world, Some("a.>"), first[1].position).unwrap(), ["3", "1"]);
    assert_eq!(listed(&mut world, Some("b"), Position::ZERO).unwrap(), Vec::<String>::new());
    let elsewhere = Events::of(&mut world.machine).list("other", None, Position::ZERO, 10).unwrap();
    assert!(elsewhere.events.is_empty(), "a namespace sees only its own events");
    world.verify();
}

#[test]
fn what_is_no_event_is_refused_and_changes_nothing() {
    let mut world = World::new();
    let long = "x".repeat(limits::EVENT_ID_BYTES_MAX + 1);
    let many = (0..=limits::EVENT_BATCH_MAX).map(|n| event(&n.to_string(), "a")).collect();
    for (events, expected) in [
        (vec![], Code::BadRequest),
        (many, Code::LimitReached),
        (vec![event("1", "a"), event(&long, "a")], Code::LimitReached),
        (vec![event("1", "a b")], Code::BadTopic),
        (vec![event("", "a")], Code::BadEvent),
    ] {
        assert_eq!(publish(&mut world, events).unwrap_err().code, expected);
    }
    let whole = (0..limits::EVENT_BATCH_MAX).map(|n| event(&n.to_string(), "a")).collect();
    assert_eq!(publish(&mut world, whole).unwrap().len(), limits::EVENT_BATCH_MAX);
    assert_eq!(Events::of(&mut world.machine).stream(NS).unwrap().events, limits::EVENT_BATCH_MAX as u64);
    world.verify();
}

#[test]
fn a_subscription_begins_where_it_is_told() {
    let mut world = World::new();
    let positions = publish_all(&mut world, &["1", "2"]);
    world.tick(Span::from_secs(5));
    let later = world.machine.now().after(SECOND);
    world.advance_to(later);
    publish_all(&mut world, &["3", "4"]);
    for (name, start, expected) in [
        ("all", StartAt::All, &["1", "2", "3", "4"][..]),
        ("new", StartAt::New, &[]),
        ("after", StartAt::After(positions[0]), &["2", "3", "4"]),
        ("since", StartAt::Since(later), &["3", "4"]),
        ("early", StartAt::Since(Time(0)), &["1", "2", "3", "4"]),
        ("late", StartAt::Since(Time(u64::MAX)), &[]),
        ("behind", StartAt::After(Position::MAX), &[]),
    ] {
        subscribe(&mut world, name, settings("orders.>"), start).unwrap();
        assert_eq!(Events::of(&mut world.machine).subscription(NS, name).unwrap().lag, expected.len() as u64, "{name}");
        assert_eq!(ids(&fetch(&mut world, name, 10)), expected, "{name}");
    }
    publish_all(&mut world, &["5"]);
    assert_eq!(ids(&fetch(&mut world, "new", 10)), ["5"]);
    world.verify();
}

#[test]
fn an_acknowledged_event_is_over_and_a_lease_that_ends_is_not() {
    let mut world = World::new();
    subscribe(&mut world, "s", settings(">"), StartAt::New).unwrap();
    publish_all(&mut world, &["1", "2"]);
    let taken = fetch(&mut world, "s", 10);
    assert_eq!(ids(&taken), ["1", "2"]);
    assert!(fetch(&mut world, "s", 10).is_empty(), "what is held is not handed out");
    ack(&mut world, "s", taken[0].delivery).unwrap();
    assert_eq!(code(ack(&mut world, "s", taken[0].delivery)), Code::DeliveryOver);
    world.tick(Span::from_secs(30));
    assert!(fetch(&mut world, "s", 10).is_empty(), "it waits for its back-off");
    world.tick(SECOND);
    let again = fetch(&mut world, "s", 10);
    assert_eq!((ids(&again), again[0].attempt), (vec!["2"], 2));
    assert_eq!(code(ack(&mut world, "s", taken[1].delivery)), Code::DeliveryOver, "another consumer may have it");
    ack(&mut world, "s", again[0].delivery).unwrap();
    let shown = Events::of(&mut world.machine).subscription(NS, "s").unwrap();
    assert_eq!((shown.open, shown.in_flight, shown.acknowledged, shown.delivered), (0, 0, 2, 3));
    assert_eq!(world.machine.next_timer().unwrap().map(|due| due > world.machine.now()), Some(true), "only the age");
    world.verify();
}

#[test]
fn a_late_acknowledgement_counts_until_the_event_is_delivered_again() {
    let mut world = World::new();
    subscribe(&mut world, "s", settings(">"), StartAt::New).unwrap();
    publish_all(&mut world, &["1"]);
    let taken = fetch(&mut world, "s", 1);
    world.tick(Span::from_secs(31));
    ack(&mut world, "s", taken[0].delivery).unwrap();
    assert!(fetch(&mut world, "s", 1).is_empty());
    publish_all(&mut world, &["2"]);
    let taken = fetch(&mut world, "s", 1);
    nack(&mut world, "s", taken[0].delivery, Some(Span::ZERO)).unwrap();
    assert_eq!(code(ack(&mut world, "s", taken[0].delivery)), Code::DeliveryOver, "it was given back");
    assert_eq!(ids(&fetch(&mut world, "s", 1)), ["2"]);
    world.verify();
}

#[test]
fn back_off_doubles_and_then_the_event_is_a_dead_letter() {
    let mut world = World::new();
    subscribe(&mut world, "s", settings(">"), StartAt::New).unwrap();
    let position = publish_all(&mut world, &["1"])[0];
    for wait in [1, 2] {
        let taken = fetch(&mut world, "s", 1);
        nack(&mut world, "s", taken[0].delivery, None).unwrap();
        world.tick(Span::from_millis(wait * 1_000 - 1));
        assert!(fetch(&mut world, "s", 1).is_empty(), "{wait}");
        world.tick(Span::from_millis(1));
    }
    let taken = fetch(&mut world, "s", 1);
    assert_eq!(taken[0].attempt, 3);
    nack(&mut world, "s", taken[0].delivery, Some(Span::ZERO)).unwrap();
    let letters = Events::of(&mut world.machine).dead_letters(NS, "s", None, 10).unwrap().items;
    assert_eq!((letters.len(), letters[0].event.position, letters[0].deliveries), (1, position, 3));
    assert_eq!((letters[0].reason.as_deref(), letters[0].consumer.as_deref()), (Some("not now"), Some("c1")));
    world.tick(Span::from_secs(3_600));
    assert!(fetch(&mut world, "s", 1).is_empty());
    assert_eq!(dead(&mut world, "s", vec![position], true).unwrap(), Reply::DeadLetters(1));
    let again = fetch(&mut world, "s", 1);
    assert_eq!((ids(&again), again[0].attempt), (vec!["1"], 1));
    ack(&mut world, "s", again[0].delivery).unwrap();
    assert_eq!(code(dead(&mut world, "s", vec![position], false)), Code::EventNotFound);
    assert_eq!(dead(&mut world, "s", Vec::new(), false).unwrap(), Reply::DeadLetters(0));
    world.verify();
}

#[test]
fn a_dead_letter_outlives_the_retention_of_its_event() {
    let mut world = World::new();
    let only = SubscriptionSettings { max_deliveries: 1, ..settings(">") };
    subscribe(&mut world, "s", only, StartAt::New).unwrap();
    let large = format!("\"{}\"", "x".repeat(limits::INLINE_BYTES_MAX));
    let data = world.put_blob(large.as_bytes());
    let big = NewEvent { data: Some(data), ..event("1", "a") };
    publish(&mut world, vec![big]).unwrap();
    let taken = fetch(&mut world, "s", 1);
    nack(&mut world, "s", taken[0].delivery, None).unwrap();
    keep(&mut world, EventRetention { count: Some(1), ..EventRetention::default() }).unwrap();
    publish_all(&mut world, &["2"]);
    assert_eq!(listed(&mut world, None, world_trimmed()).unwrap_err().code, Code::EventsTrimmed);
    dead(&mut world, "s", Vec::new(), true).unwrap();
    let again = fetch(&mut world, "s", 1);
    assert_eq!(ids(&again), ["1"]);
    assert!(!world.effects.iter().any(|effect| matches!(effect, Effect::BlobUnused(_))));
    ack(&mut world, "s", again[0].delivery).unwrap();
    assert!(world.effects.iter().any(|effect| matches!(effect, Effect::BlobUnused(_))), "its data goes with it");
    world.verify();
}

/// A place before everything that a test removes.
fn world_trimmed() -> Position {
    Position { seq: Seq(1), n: 0 }
}

#[test]
fn events_of_one_key_are_delivered_one_at_a_time_in_their_order() {
    for order in [OrderKey::Subject, OrderKey::PartitionKey] {
        let mut world = World::new();
        let ordered = SubscriptionSettings { ordered: Some(order), ..settings(">") };
        subscribe(&mut world, "s", ordered, StartAt::New).unwrap();
        let of = |id: &str, key: &str| {
            let mut event = keyed(id, key);
            if order == OrderKey::PartitionKey {
                let key = event.attributes.subject.take().unwrap();
                event.attributes.extensions =
                    [("partitionkey".to_owned(), consort_types::event::ExtensionValue::Text(key))].into();
            }
            event
        };
        publish(&mut world, vec![of("a1", "a"), of("a2", "a"), of("b1", "b"), of("a3", "a"), event("x", "t")]).unwrap();
        let taken = fetch(&mut world, "s", 10);
        assert_eq!(ids(&taken), ["a1", "b1", "x"]);
        nack(&mut world, "s", taken[0].delivery, Some(SECOND)).unwrap();
        assert!(fetch(&mut world, "s", 10).is_empty(), "what waits keeps its place");
        world.tick(SECOND);
        let again = fetch(&mut world, "s", 10);
        assert_eq!(ids(&again), ["a1"]);
        ack(&mut world, "s", again[0].delivery).unwrap();
        let next = fetch(&mut world, "s", 10);
        assert_eq!(ids(&next), ["a2"]);
        // It dies, and the one behind it is delivered.
        let mut at = next[0].delivery;
        for _ in 0..2 {
            nack(&mut world, "s", at, Some(Span::ZERO)).unwrap();
            at = fetch(&mut world, "s", 10)[0].delivery;
        }
        nack(&mut world, "s", at, Some(Span::ZERO)).unwrap();
        let last = fetch(&mut world, "s", 10);
        assert_eq!(ids(&last), ["a3"]);
        dead(&mut world, "s", Vec::new(), true).unwrap();
        assert!(fetch(&mut world, "s", 10).is_empty(), "a redriven event waits for the one in flight");
        ack(&mut world, "s", last[0].delivery).unwrap();
        assert_eq!(ids(&fetch(&mut world, "s", 10)), ["a2"]);
        world.verify();
    }
}

#[test]
fn no_more_is_in_flight_than_may_be_and_no_more_is_open_than_there_are_rows() {
    let mut world = World::new();
    let few = SubscriptionSettings { max_in_flight: 2, ordered: Some(OrderKey::Subject), ..settings(">") };
    subscribe(&mut world, "s", few, StartAt::New).unwrap();
    let all = limits::EVENT_OPEN_DELIVERIES_MAX as usize + 50;
    for batch in (0..all).collect::<Vec<_>>().chunks(limits::EVENT_BATCH_MAX) {
        let events = batch.iter().map(|n| keyed(&n.to_string(), "hot")).collect();
        publish(&mut world, events).unwrap();
    }
    let taken = fetch(&mut world, "s", 10);
    assert_eq!(ids(&taken), ["0"]);
    let shown = Events::of(&mut world.machine).subscription(NS, "s").unwrap();
    assert_eq!(shown.open, limits::EVENT_OPEN_DELIVERIES_MAX, "a hot key holds back so many and no more");
    assert_eq!(shown.lag, 50);
    ack(&mut world, "s", taken[0].delivery).unwrap();
    assert_eq!(ids(&fetch(&mut world, "s", 10)), ["1"]);
    publish(&mut world, vec![event("free", "t")]).unwrap();
    seek(&mut world, "s", StartAt::New).unwrap();
    let shown = Events::of(&mut world.machine).subscription(NS, "s").unwrap();
    assert_eq!((shown.open, shown.in_flight, shown.lag), (0, 0, 0));
    let more = (0..3).map(|n| event(&format!("m{n}"), "t")).collect();
    publish(&mut world, more).unwrap();
    assert_eq!(ids(&fetch(&mut world, "s", 10)), ["m0", "m1"]);
    assert!(fetch(&mut world, "s", 10).is_empty());
    world.verify();
}

#[test]
fn a_dead_letter_that_the_cursor_comes_to_again_is_delivered_once() {
    let mut world = World::new();
    subscribe(&mut world, "s", SubscriptionSettings { max_deliveries: 1, ..settings(">") }, StartAt::New).unwrap();
    let positions = publish_all(&mut world, &["1", "2"]);
    let taken = fetch(&mut world, "s", 10);
    nack(&mut world, "s", taken[1].delivery, None).unwrap();
    seek(&mut world, "s", StartAt::All).unwrap();
    assert_eq!(dead(&mut world, "s", vec![positions[1]], true).unwrap(), Reply::DeadLetters(1));
    let mut got = Vec::new();
    while let [delivery] = fetch(&mut world, "s", 1).as_slice() {
        got.push(delivery.event.attributes.id.clone());
        ack(&mut world, "s", delivery.delivery).unwrap();
    }
    assert_eq!(got, ["1", "2"]);
    world.verify();
}

#[test]
fn seeking_replays_and_forgets_what_is_in_flight() {
    let mut world = World::new();
    subscribe(&mut world, "s", SubscriptionSettings { max_deliveries: 1, ..settings(">") }, StartAt::New).unwrap();
    let positions = publish_all(&mut world, &["1", "2", "3"]);
    let taken = fetch(&mut world, "s", 10);
    nack(&mut world, "s", taken[1].delivery, None).unwrap();
    assert_eq!(seek(&mut world, "s", StartAt::After(positions[0])).unwrap(), Reply::Moved(positions[0]));
    assert_eq!(code(ack(&mut world, "s", taken[2].delivery)), Code::DeliveryOver);
    assert_eq!(Events::of(&mut world.machine).subscription(NS, "s").unwrap().dead, 1, "dead letters stay");
    let again = fetch(&mut world, "s", 10);
    assert_eq!(ids(&again), ["2", "3"]);
    assert_eq!(Events::of(&mut world.machine).subscription(NS, "s").unwrap().dead, 0, "until they are delivered again");
    assert_eq!(code(seek(&mut world, "no", StartAt::All)), Code::SubscriptionNotFound);
    let delete = DeleteSubscription { namespace: NS.to_owned(), name: "s".to_owned() };
    world.apply(&Command::DeleteSubscription(delete.clone())).unwrap();
    assert_eq!(code(world.apply(&Command::DeleteSubscription(delete))), Code::SubscriptionNotFound);
    let left: Vec<u8> = world.rows().into_keys().map(|key| key[0]).filter(|prefix| b"FGI".contains(prefix)).collect();
    assert_eq!(left, b"I", "only the age of the events is due");
    world.verify();
}

#[test]
fn retention_goes_by_count_bytes_and_age_in_bounded_pieces() {
    let mut world = World::limited(64, limits::EXPRESSION_COST_MAX);
    subscribe(&mut world, "s", settings(">"), StartAt::All).unwrap();
    let all: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    for id in &all {
        publish(&mut world, vec![event(id, "t")]).unwrap();
    }
    let first = Events::of(&mut world.machine).stream(NS).unwrap().oldest.unwrap();
    keep(&mut world, EventRetention { count: Some(10), ..EventRetention::default() }).unwrap();
    assert!(Events::of(&mut world.machine).stream(NS).unwrap().events > 100, "one record removes a part");
    let records = world.go_on();
    assert!(records >= 4, "{records} records");
    let stream = Events::of(&mut world.machine).stream(NS).unwrap();
    assert_eq!(stream.events, 10);
    assert_eq!(listed(&mut world, None, first).unwrap_err().code, Code::EventsTrimmed);
    assert_eq!(code(seek(&mut world, "s", StartAt::After(first))), Code::EventsTrimmed);
    assert_eq!(ids(&fetch(&mut world, "s", 3)), ["290", "291", "292"]);
    assert_eq!(Events::of(&mut world.machine).subscription(NS, "s").unwrap().missed, 290);
    assert!(!publish(&mut world, vec![event("0", "t")]).unwrap()[0].deduplicated, "an id goes with its event");
    let bytes = Events::of(&mut world.machine).stream(NS).unwrap().bytes;
    keep(&mut world, EventRetention { count: None, bytes: Some(bytes / 2), age: Some(Span::from_secs(60)) }).unwrap();
    world.go_on();
    let left = Events::of(&mut world.machine).stream(NS).unwrap();
    assert!(left.bytes <= bytes / 2 && left.events == 5, "{left:?}");
    world.tick(Span::from_secs(61));
    assert_eq!(Events::of(&mut world.machine).stream(NS).unwrap().events, 0);
    publish(&mut world, vec![event("n", "t")]).unwrap();
    world.tick(Span::from_secs(59));
    assert_eq!(Events::of(&mut world.machine).stream(NS).unwrap().events, 1);
    world.tick(Span::from_secs(2));
    assert_eq!(Events::of(&mut world.machine).stream(NS).unwrap().events, 0);
    for nothing in [
        EventRetention { age: Some(Span::ZERO), ..EventRetention::default() },
        EventRetention { count: Some(0), ..EventRetention::default() },
        EventRetention { bytes: Some(0), ..EventRetention::default() },
    ] {
        assert_eq!(code(keep(&mut world, nothing)), Code::BadRequest);
    }
    world.verify();
}

#[test]
fn a_delivery_whose_event_is_gone_is_counted_and_not_made_again() {
    let mut world = World::new();
    subscribe(&mut world, "s", settings(">"), StartAt::New).unwrap();
    publish_all(&mut world, &["1"]);
    let taken = fetch(&mut world, "s", 1);
    keep(&mut world, EventRetention { count: Some(1), ..EventRetention::default() }).unwrap();
    publish_all(&mut world, &["2"]);
    nack(&mut world, "s", taken[0].delivery, Some(Span::ZERO)).unwrap();
    assert_eq!(ids(&fetch(&mut world, "s", 10)), ["2"]);
    let shown = Events::of(&mut world.machine).subscription(NS, "s").unwrap();
    assert_eq!((shown.missed, shown.open), (1, 1));
    world.verify();
}

#[test]
fn settings_of_subscriptions_are_checked_and_their_order_stays() {
    let mut world = World::new();
    let good = settings("a.*");
    subscribe(&mut world, "s", good.clone(), StartAt::New).unwrap();
    subscribe(&mut world, "s", SubscriptionSettings { pattern: ">".into(), ..good.clone() }, StartAt::All).unwrap();
    let longest = Span::from_secs(limits::EVENT_ACK_WAIT_SECONDS_MAX);
    let at_most = SubscriptionSettings {
        ack_wait: longest,
        max_deliveries: limits::EVENT_DELIVERIES_MAX,
        max_in_flight: limits::EVENT_IN_FLIGHT_MAX,
        back_off: BackOff { first: longest, longest },
        ..good.clone()
    };
    subscribe(&mut world, "most", at_most.clone(), StartAt::New).unwrap();
    let over = Span(longest.0 + 1);
    for (wrong, expected) in [
        (SubscriptionSettings { ordered: Some(OrderKey::Subject), ..good.clone() }, Code::SubscriptionClash),
        (SubscriptionSettings { pattern: "a.>.b".into(), ..good.clone() }, Code::BadTopic),
        (SubscriptionSettings { ack_wait: over, ..good.clone() }, Code::LimitReached),
        (SubscriptionSettings { ack_wait: Span::ZERO, ..good.clone() }, Code::BadRequest),
        (SubscriptionSettings { max_deliveries: 0, ..good.clone() }, Code::BadRequest),
        (SubscriptionSettings { max_deliveries: limits::EVENT_DELIVERIES_MAX + 1, ..good.clone() }, Code::LimitReached),
        (SubscriptionSettings { max_in_flight: limits::EVENT_IN_FLIGHT_MAX + 1, ..good.clone() }, Code::LimitReached),
        (
            SubscriptionSettings { back_off: BackOff { first: SECOND, longest: over }, ..good.clone() },
            Code::LimitReached,
        ),
        (SubscriptionSettings { back_off: BackOff { first: SECOND, longest: Span(1) }, ..good }, Code::BadRequest),
    ] {
        assert_eq!(code(subscribe(&mut world, "s", wrong, StartAt::New)), expected);
    }
    world.verify();
}

const NOTE: &str = "workflow: note\ninput:\n  id: { type: string }\nsteps:\n  a: { capability: x, with: { id: \"${{ input.id }}\" } }\n";

fn start_note(filter: Option<&str>, input: Option<&str>) -> TriggerSettings {
    let compile = |what: &str, text: &str| event_expression(what, text, None).unwrap();
    TriggerSettings {
        pattern: "orders.*".to_owned(),
        filter: filter.map(|text| compile("filter", text)),
        action: TriggerAction::Start {
            workflow: "note".to_owned(),
            version: None,
            input: input.map(|text| compile("input", text)),
        },
    }
}

fn set_trigger(world: &mut World, name: &str, settings: TriggerSettings) -> Result<Reply> {
    let (namespace, name) = (NS.to_owned(), name.to_owned());
    world.apply(&Command::SetTrigger(SetTrigger { namespace, name, settings }))
}

fn pause(world: &mut World, name: &str, paused: bool) -> Result<Reply> {
    let (namespace, name) = (NS.to_owned(), name.to_owned());
    world.apply(&Command::PauseTrigger(PauseTrigger { namespace, name, paused }))
}

/// The inputs of all runs, in the order in which their events were published.
fn inputs(world: &mut World) -> Vec<String> {
    let runs = world.machine.list_runs(NS, &RunFilter::default(), None, 1_000).unwrap().items;
    let mut found: Vec<(Position, String)> = Vec::new();
    for run in runs {
        let input = world.machine.run_view(NS, run.run).unwrap().input;
        let text = String::from_utf8(input.bytes().unwrap().to_vec()).unwrap();
        found.push((run.labels["event"].parse().unwrap(), text));
    }
    found.sort();
    found.into_iter().map(|(_, text)| text).collect()
}

#[test]
fn a_trigger_starts_one_run_for_each_event() {
    // Whatever a record has room for, the same runs are started.
    for units in [limits::WORK_PER_RECORD_MAX, 12, 5] {
        let mut world = World::limited(units, limits::EXPRESSION_COST_MAX);
        world.deploy(NOTE);
        publish_all(&mut world, &["before"]);
        set_trigger(&mut world, "t", start_note(Some("event.data.id != 'skip'"), None)).unwrap();
        let batch = ["1", "skip", "2", "3"].map(|id| event(id, "orders.created")).to_vec();
        publish(&mut world, batch.clone()).unwrap();
        publish(&mut world, batch).unwrap();
        publish(&mut world, vec![event("other", "returns.created"), event("4", "orders.paid")]).unwrap();
        world.go_on();
        let expected = ["1", "2", "3", "4"].map(|id| format!("{{\"id\":\"{id}\"}}"));
        assert_eq!(inputs(&mut world), expected, "{units}");
        let shown = Events::of(&mut world.machine).trigger(NS, "t").unwrap();
        assert_eq!((shown.fired, shown.filtered, shown.failed, shown.lag), (4, 1, 0, 0));
        world.ready.clone().into_keys().for_each(|task| assert!(world.machine.offer(task).unwrap().is_some()));
        world.verify();
    }
}

#[test]
fn the_retention_waits_until_triggers_have_seen_an_event() {
    for units in [limits::WORK_PER_RECORD_MAX, 5] {
        let mut world = World::limited(units, limits::EXPRESSION_COST_MAX);
        world.deploy(NOTE);
        keep(&mut world, EventRetention { count: Some(1), ..EventRetention::default() }).unwrap();
        set_trigger(&mut world, "t", start_note(None, None)).unwrap();
        publish(&mut world, ["1", "2", "3", "4"].map(|id| event(id, "orders.created")).to_vec()).unwrap();
        world.go_on();
        assert_eq!(inputs(&mut world).len(), 4, "{units}");
        assert_eq!(Events::of(&mut world.machine).stream(NS).unwrap().events, 1);
        world.verify();
    }
}

#[test]
fn a_trigger_that_fails_says_so_and_continues() {
    let mut world = World::new();
    set_trigger(&mut world, "t", start_note(None, None)).unwrap();
    publish_all(&mut world, &["1"]);
    world.deploy(NOTE);
    publish(&mut world, vec![NewEvent { data: Some(Payload::inline(&b"{\"id\":7}"[..])), ..event("2", "orders.x") }])
        .unwrap();
    set_trigger(&mut world, "t", start_note(Some("event.data.none > 1"), None)).unwrap();
    publish_all(&mut world, &["3"]);
    set_trigger(&mut world, "t", start_note(None, Some("{'id': event.subject}"))).unwrap();
    publish(&mut world, vec![keyed("4", "four")]).unwrap();
    let shown = Events::of(&mut world.machine).trigger(NS, "t").unwrap();
    assert_eq!((shown.fired, shown.failed), (1, 3));
    let codes: Vec<Code> = shown.failures.iter().map(|failure| failure.error.code).collect();
    assert_eq!(codes, [Code::WorkflowNotFound, Code::BadInput, Code::Expression]);
    assert_eq!(inputs(&mut world), ["{\"id\":\"four\"}"]);
    for n in 0..=limits::EVENT_TRIGGER_FAILURES_MAX {
        publish(&mut world, vec![event(&format!("f{n}"), "orders.x")]).unwrap();
    }
    assert_eq!(
        Events::of(&mut world.machine).trigger(NS, "t").unwrap().failures.len(),
        limits::EVENT_TRIGGER_FAILURES_MAX
    );
    world.verify();
}

#[test]
fn a_paused_trigger_keeps_its_place() {
    for units in [limits::WORK_PER_RECORD_MAX, 6] {
        let mut world = World::limited(units, limits::EXPRESSION_COST_MAX);
        world.deploy(NOTE);
        set_trigger(&mut world, "a", start_note(None, None)).unwrap();
        publish_all(&mut world, &["1"]);
        pause(&mut world, "a", true).unwrap();
        pause(&mut world, "a", true).unwrap();
        publish_all(&mut world, &["2", "3"]);
        world.go_on();
        assert_eq!(inputs(&mut world).len(), 1);
        assert_eq!(Events::of(&mut world.machine).trigger(NS, "a").unwrap().lag, 2);
        pause(&mut world, "a", false).unwrap();
        publish_all(&mut world, &["4"]);
        world.go_on();
        assert_eq!(inputs(&mut world), ["1", "2", "3", "4"].map(|id| format!("{{\"id\":\"{id}\"}}")), "{units}");
        let delete = DeleteTrigger { namespace: NS.to_owned(), name: "a".to_owned() };
        world.apply(&Command::DeleteTrigger(delete.clone())).unwrap();
        publish_all(&mut world, &["5"]);
        assert_eq!(inputs(&mut world).len(), 4);
        assert_eq!(code(world.apply(&Command::DeleteTrigger(delete))), Code::TriggerNotFound);
        assert_eq!(code(pause(&mut world, "a", true)), Code::TriggerNotFound);
        world.verify();
    }
}

#[test]
fn what_a_paused_trigger_has_missed_is_counted() {
    let mut world = World::new();
    world.deploy(NOTE);
    set_trigger(&mut world, "t", start_note(None, None)).unwrap();
    pause(&mut world, "t", true).unwrap();
    keep(&mut world, EventRetention { count: Some(2), ..EventRetention::default() }).unwrap();
    publish_all(&mut world, &["1", "2", "3", "4", "5"]);
    world.go_on();
    pause(&mut world, "t", false).unwrap();
    world.go_on();
    let shown = Events::of(&mut world.machine).trigger(NS, "t").unwrap();
    assert_eq!((shown.fired, shown.missed, shown.lag), (2, 3, 0));
    world.verify();
}

#[test]
fn a_trigger_signals_the_run_that_an_event_names() {
    let mut world = World::new();
    world.deploy("workflow: w\nsteps:\n  a: { wait: { signal: go } }\noutput: ${{ steps.a.output }}\n");
    let run = world.start("w", "{}", None).unwrap();
    let expression = |text: &str| event_expression("run", text, None).unwrap();
    let settings = TriggerSettings {
        pattern: "go.>".to_owned(),
        filter: None,
        action: TriggerAction::Signal { run: expression("event.subject"), name: "go".to_owned(), payload: None },
    };
    set_trigger(&mut world, "t", settings).unwrap();
    let to = |id: &str, subject: &str| {
        let mut event = event(id, "go.now");
        event.attributes.subject = Some(subject.to_owned());
        event
    };
    publish(&mut world, vec![to("1", "nobody"), to("2", &run.to_string())]).unwrap();
    publish(&mut world, vec![to("3", &run.to_string())]).unwrap();
    let view = world.machine.run_view(NS, run).unwrap();
    assert_eq!(view.output.unwrap().bytes(), Some(&b"{\"id\":\"2\"}"[..]));
    let shown = Events::of(&mut world.machine).trigger(NS, "t").unwrap();
    assert_eq!((shown.fired, shown.failed), (1, 2), "a text that is no run, and a run that has ended");
    let other = world.start("w", "{}", None).unwrap();
    let both = other.to_string();
    publish(&mut world, vec![to("4", &both), to("5", &both)]).unwrap();
    let kept = world.machine.run_view(NS, other).unwrap();
    assert_eq!(kept.output.unwrap().bytes(), Some(&b"{\"id\":\"4\"}"[..]), "the first of one record comes first");
    world.verify();
}

#[test]
fn triggers_are_limited_and_know_the_event_alone() {
    let mut world = World::new();
    for n in 0..limits::EVENT_TRIGGERS_MAX {
        set_trigger(&mut world, &format!("t{n}"), start_note(None, None)).unwrap();
    }
    assert_eq!(code(set_trigger(&mut world, "one-more", start_note(None, None))), Code::LimitReached);
    set_trigger(&mut world, "t0", start_note(Some("true"), None)).unwrap();
    world.verify();
}

#[test]
fn publishing_costs_the_same_whatever_waits() {
    let mut world = World::new();
    let cost = |world: &mut World, id: &str| {
        publish(world, vec![event(id, "t")]).unwrap();
        world.units
    };
    let alone = cost(&mut world, "first");
    for n in 0..50 {
        subscribe(&mut world, &format!("s{n}"), settings(">"), StartAt::All).unwrap();
    }
    for n in 0..200 {
        cost(&mut world, &n.to_string());
    }
    let before = world.rows().len();
    assert_eq!(cost(&mut world, "last"), alone);
    assert_eq!(world.rows().len(), before + 2, "an event is a row and its id, whoever has subscribed");
    world.verify();
}

#[test]
fn subscriptions_of_a_namespace_are_limited() {
    let mut world = World::new();
    for n in 0..limits::EVENT_SUBSCRIPTIONS_MAX {
        subscribe(&mut world, &format!("s{n}"), settings(">"), StartAt::New).unwrap();
    }
    assert_eq!(code(subscribe(&mut world, "more", settings(">"), StartAt::New)), Code::LimitReached);
    subscribe(&mut world, "s7", settings("a"), StartAt::New).unwrap();
    let page = Events::of(&mut world.machine).subscriptions(NS, None, 10).unwrap();
    assert_eq!((page.items.len(), page.next.is_some()), (10, true));
    world.verify();
}

#[test]
fn with_one_dead_letter_too_many_the_oldest_is_dropped() {
    let mut world = World::new();
    let once = SubscriptionSettings { max_deliveries: 1, max_in_flight: limits::EVENT_IN_FLIGHT_MAX, ..settings(">") };
    subscribe(&mut world, "s", once, StartAt::New).unwrap();
    let all: Vec<String> = (0..=limits::EVENT_DEAD_LETTERS_MAX).map(|n| n.to_string()).collect();
    for some in all.chunks(limits::EVENT_BATCH_MAX) {
        publish(&mut world, some.iter().map(|id| event(id, "t")).collect()).unwrap();
        let taken = fetch(&mut world, "s", limits::EVENT_BATCH_MAX as u32);
        let (namespace, subscription) = (NS.to_owned(), "s".to_owned());
        let deliveries = taken.iter().map(|delivery| delivery.delivery).collect();
        let nack = NackDeliveries { namespace, subscription, deliveries, delay: None, reason: None };
        world.apply(&Command::NackDeliveries(nack)).unwrap();
    }
    let shown = Events::of(&mut world.machine).subscription(NS, "s").unwrap();
    assert_eq!((shown.dead, shown.overflowed), (limits::EVENT_DEAD_LETTERS_MAX, 1));
    let first = Events::of(&mut world.machine).dead_letters(NS, "s", None, 1).unwrap();
    assert_eq!(first.items[0].event.attributes.id, "1");
    let next = Events::of(&mut world.machine).dead_letters(NS, "s", first.next.as_deref(), 1).unwrap();
    assert_eq!(next.items[0].event.attributes.id, "2");
    let delete = DeleteSubscription { namespace: NS.to_owned(), name: "s".to_owned() };
    world.apply(&Command::DeleteSubscription(delete)).unwrap();
    world.verify();
}

#[test]
fn a_fetch_looks_at_a_bounded_number_of_events() {
    let mut world = World::new();
    subscribe(&mut world, "s", settings("rare"), StartAt::New).unwrap();
    let mut ids = 0..limits::EVENT_SCAN_MAX + limits::EVENT_BATCH_MAX;
    while !ids.is_empty() {
        let batch = ids.by_ref().take(limits::EVENT_BATCH_MAX).map(|n| event(&n.to_string(), "common")).collect();
        publish(&mut world, batch).unwrap();
    }
    publish(&mut world, vec![event("x", "rare")]).unwrap();
    assert!(Events::of(&mut world.machine).is_fetchable(NS, "s", false).unwrap());
    assert!(fetch(&mut world, "s", 1).is_empty());
    let shown = Events::of(&mut world.machine).subscription(NS, "s").unwrap();
    assert_eq!(shown.lag as usize, limits::EVENT_BATCH_MAX + 1);
    assert_eq!(ids_of(&mut world, "s"), ["x"]);
    world.verify();
}

fn ids_of(world: &mut World, name: &str) -> Vec<String> {
    fetch(world, name, 1).into_iter().map(|delivery| delivery.event.attributes.id).collect()
}

#[test]
fn fetches_and_settlements_over_their_limits_are_refused() {
    let mut world = World::new();
    subscribe(&mut world, "s", settings(">"), StartAt::New).unwrap();
    let fetch = |max: u32, consumer: String| {
        let (namespace, subscription) = (NS.to_owned(), "s".to_owned());
        Command::FetchEvents(FetchEvents { namespace, subscription, consumer, max, push: false })
    };
    let most = limits::EVENT_BATCH_MAX as u32;
    let long = "c".repeat(limits::NAME_BYTES_MAX);
    world.apply(&fetch(most, long.clone())).unwrap();
    for (command, expected) in [
        (fetch(0, String::new()), Code::BadRequest),
        (fetch(most + 1, String::new()), Code::BadRequest),
        (fetch(1, format!("{long}c")), Code::LimitReached),
    ] {
        assert_eq!(code(world.apply(&command)), expected);
    }
    publish_all(&mut world, &["1"]);
    let taken = self::fetch(&mut world, "s", 1)[0].delivery;
    let longest = Span::from_secs(limits::EVENT_ACK_WAIT_SECONDS_MAX);
    assert_eq!(code(nack(&mut world, "s", taken, Some(Span(longest.0 + 1)))), Code::LimitReached);
    nack(&mut world, "s", taken, Some(longest)).unwrap();
    let (namespace, subscription) = (NS.to_owned(), "s".to_owned());
    let deliveries = vec![taken; limits::EVENT_BATCH_MAX + 1];
    let many = AckDeliveries { namespace: namespace.clone(), subscription: subscription.clone(), deliveries };
    assert_eq!(code(world.apply(&Command::AckDeliveries(many))), Code::LimitReached);
    let none = AckDeliveries { namespace, subscription, deliveries: Vec::new() };
    assert_eq!(code(world.apply(&Command::AckDeliveries(none))), Code::BadRequest);
    let positions = vec![taken.position; limits::EVENT_BATCH_MAX + 1];
    assert_eq!(code(dead(&mut world, "s", positions, true)), Code::LimitReached);
    world.verify();
}
