//! Events through the handle: waiting for deliveries, following, and what a restart keeps.
//!
//! For: what is asynchronous about the event bus. Not for: its rules (core has those).
//! Invariant: every wait in here ends with an event, not with a clock.

use crate::support::{NS, json, parts};
use consort_engine::{
    Config, EventBus, FetchRequest, Handle, WatchedEvent,
    view::{EventRetention, NewEvent, StartAt, SubscriptionSettings},
};
use consort_log::MemoryLogDisk;
use consort_store::MemoryStore;
use consort_types::{Code, Span, event::EventAttributes};

fn event(id: &str, topic: &str) -> NewEvent {
    let attributes = EventAttributes {
        id: id.to_owned(),
        source: "/test".to_owned(),
        kind: "test".to_owned(),
        topic: topic.to_owned(),
        ..EventAttributes::default()
    };
    NewEvent { attributes, data: Some(json("{}")) }
}

fn request(max: u32, wait: Span) -> FetchRequest {
    let (namespace, subscription, consumer) = (NS.to_owned(), "s".to_owned(), "c".to_owned());
    FetchRequest { namespace, subscription, consumer, max, wait, push: false }
}

async fn opened(disk: &MemoryLogDisk, store: &MemoryStore) -> Handle {
    Handle::open(parts(disk, store), Config::default()).await.unwrap()
}

#[tokio::test]
async fn consumers_that_wait_get_one_event_each() {
    let (disk, store) = (MemoryLogDisk::new(), MemoryStore::new());
    let handle = opened(&disk, &store).await;
    EventBus::of(&handle).set_subscription(NS, "s", SubscriptionSettings::new("a.>"), StartAt::New).await.unwrap();
    let minute = Span::from_secs(60);
    let (first, second) = (handle.clone(), handle.clone());
    let waiting = [first, second]
        .map(|handle| tokio::spawn(async move { EventBus::of(&handle).fetch(request(1, minute)).await }));
    EventBus::of(&handle).publish(NS, vec![event("0", "b"), event("1", "a.b"), event("2", "a.c")]).await.unwrap();
    let mut got = Vec::new();
    for fetched in waiting {
        let fetched = fetched.await.unwrap().unwrap();
        assert_eq!(fetched.deliveries.len(), 1);
        got.extend(fetched.deliveries.into_iter().map(|delivery| delivery.event.attributes.id));
    }
    got.sort();
    assert_eq!(got, ["1", "2"]);
    assert!(EventBus::of(&handle).fetch(request(1, Span::ZERO)).await.unwrap().deliveries.is_empty());
    let over = EventBus::of(&handle).fetch(request(1, Span::from_secs(61))).await.unwrap_err();
    assert_eq!(over.code, Code::BadRequest);
}

#[tokio::test]
async fn a_delivery_survives_a_restart_and_so_does_its_token() {
    let (disk, store) = (MemoryLogDisk::new(), MemoryStore::new());
    let handle = opened(&disk, &store).await;
    EventBus::of(&handle).set_subscription(NS, "s", SubscriptionSettings::new(">"), StartAt::New).await.unwrap();
    EventBus::of(&handle).publish(NS, vec![event("1", "a")]).await.unwrap();
    let taken = EventBus::of(&handle).fetch(request(1, Span::ZERO)).await.unwrap().deliveries.remove(0);
    handle.stop_now().await;
    drop(handle);
    let handle = opened(&disk, &store).await;
    assert!(
        EventBus::of(&handle).fetch(request(1, Span::ZERO)).await.unwrap().deliveries.is_empty(),
        "it is held still"
    );
    assert_eq!(EventBus::of(&handle).ack(NS, "s", vec![taken.delivery]).await.unwrap().settled, 1);
    let again = EventBus::of(&handle).publish(NS, vec![event("1", "a")]).await.unwrap();
    assert!(again[0].deduplicated && again[0].position == taken.delivery.position);
}

#[tokio::test]
async fn a_follower_gets_each_event_once_and_learns_what_was_removed() {
    let (disk, store) = (MemoryLogDisk::new(), MemoryStore::new());
    let handle = opened(&disk, &store).await;
    let ids: Vec<String> = (0..600).map(|n| n.to_string()).collect();
    for some in ids.chunks(200) {
        EventBus::of(&handle).publish(NS, some.iter().map(|id| event(id, "a.b")).collect()).await.unwrap();
    }
    let mut watch = EventBus::of(&handle).watch_events(NS, Some("a.*".to_owned()), StartAt::All).await.unwrap();
    let (mut seen, mut first) = (Vec::new(), None);
    while seen.len() < ids.len() {
        if let WatchedEvent::Event(event) = watch.next().await.unwrap().unwrap() {
            first.get_or_insert(event.position);
            seen.push(event.attributes.id.clone());
        }
    }
    assert_eq!(seen, ids);
    EventBus::of(&handle).publish(NS, vec![event("last", "a.b")]).await.unwrap();
    let Some(Ok(WatchedEvent::Event(last))) = watch.next().await else { panic!("an event follows") };
    assert_eq!(last.attributes.id, "last");
    let keep = EventRetention { count: Some(1), ..EventRetention::default() };
    EventBus::of(&handle).set_event_retention(NS, keep).await.unwrap();
    let behind = EventBus::of(&handle).watch_events(NS, None, StartAt::After(first.unwrap())).await.err().unwrap();
    assert_eq!(behind.code, Code::EventsTrimmed);
}
