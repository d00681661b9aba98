//! Events, with the bus, its publishers and its followers in one process.
//!
//! For: what publishing costs, and what an event costs that one or a hundred follow or consume. Not for: what reaching the
//! engine costs.
//! Invariant: every event that was answered is counted at each follower and each subscription, once and in order; one that
//! is missing fails the run.

use std::{sync::Arc, time::Instant};

use consort_engine::{
    EventBus, EventWatch, FetchRequest, Handle, WatchedEvent,
    view::{BackOff, NewEvent, StartAt, SubscriptionSettings},
};
use consort_types::{Payload, Result, Span, event::EventAttributes};
use tokio::task::JoinSet;

use crate::{
    disk::Disk,
    keys::{CLIENTS, in_time, value},
    report::{figure, median, quantile},
    through_http::Outcome,
};

const TRANSPORT: &str = "in-process";
const NAMESPACE: &str = "default";
/// Deliveries that a consumer fetches at once.
const FETCHED: u32 = 100;

/// Every figure of the event bus.
pub(crate) async fn run(handle: &Handle, disk: &mut Disk, quick: bool) -> Outcome<()> {
    let mut published = Published::default();
    published.alone(handle, disk, if quick { 50 } else { 3_000 }).await?;
    let counts = if quick { [200, 100] } else { [50_000, 20_000] };
    for (followers, events) in [1, 100].into_iter().zip(counts) {
        in_time("following", published.followed(handle, followers, events)).await?;
    }
    let counts = if quick { [100, 20] } else { [20_000, 2_000] };
    for (subscriptions, events) in [1, 100].into_iter().zip(counts) {
        in_time("consuming", published.consumed(handle, subscriptions, events)).await?;
    }
    Ok(())
}

/// Publishes events, each under an id of its own.
#[derive(Default)]
struct Published {
    /// Topics that were used.
    topics: usize,
}

impl Published {
    /// A topic that was not used before.
    fn topic(&mut self) -> Arc<str> {
        self.topics += 1;
        format!("bench.t{}", self.topics).into()
    }

    /// One publisher, whose next event waits for the answer to the one before.
    async fn alone(&mut self, handle: &Handle, disk: &mut Disk, count: usize) -> Outcome<()> {
        let topic = self.topic();
        let (mut reference, mut took) = (disk.samples(512, count)?, Vec::new());
        for n in 0..count {
            let began = Instant::now();
            publish(handle, &topic, n).await?;
            took.push(began.elapsed().as_secs_f64() * 1e6);
        }
        reference.extend(disk.samples(512, count)?);
        figure("W9", TRANSPORT, "publish_p50_us", quantile(&mut took, 0.5), "us");
        figure("W9", TRANSPORT, "publish_p99_us", quantile(&mut took, 0.99), "us");
        let ratio = quantile(&mut took, 0.5) / median(&mut reference);
        figure("W9", TRANSPORT, "publish_per_fdatasync", ratio, "ratio");
        Ok(())
    }

    /// 64 publishers and so many followers.
    async fn followed(&mut self, handle: &Handle, followers: usize, events: usize) -> Outcome<()> {
        let topic = self.topic();
        let mut following = JoinSet::new();
        for _ in 0..followers {
            let watch = EventBus::of(handle).watch_events(NAMESPACE, Some(topic.to_string()), StartAt::New).await?;
            following.spawn(follow(watch, events));
        }
        let began = Instant::now();
        publish_all(handle, &topic, events).await?;
        figure("W9", TRANSPORT, &format!("publishes_to_{followers}_per_second"), per_second(events, began), "1/s");
        joined(following).await?;
        let deliveries = per_second(followers * events, began);
        figure("W9", TRANSPORT, &format!("deliveries_to_{followers}_per_second"), deliveries, "1/s");
        Ok(())
    }

    /// 64 publishers and so many durable subscriptions, each with a consumer that acknowledges what it fetches.
    async fn consumed(&mut self, handle: &Handle, subscriptions: usize, events: usize) -> Outcome<()> {
        let topic = self.topic();
        let bus = EventBus::of(handle);
        let mut consuming = JoinSet::new();
        for n in 0..subscriptions {
            let name = format!("{topic}-{n}");
            bus.set_subscription(NAMESPACE, &name, settings(&topic), StartAt::New).await?;
            consuming.spawn(consume(handle.clone(), name, events));
        }
        let began = Instant::now();
        publish_all(handle, &topic, events).await?;
        joined(consuming).await?;
        let deliveries = per_second(subscriptions * events, began);
        figure("W9", TRANSPORT, &format!("acknowledged_by_{subscriptions}_per_second"), deliveries, "1/s");
        for n in 0..subscriptions {
            bus.delete_subscription(NAMESPACE, &format!("{topic}-{n}")).await?;
        }
        Ok(())
    }
}

fn per_second(count: usize, began: Instant) -> f64 {
    count as f64 / began.elapsed().as_secs_f64()
}

fn settings(topic: &str) -> SubscriptionSettings {
    SubscriptionSettings {
        ack_wait: Span::from_secs(60),
        max_deliveries: 10,
        back_off: BackOff { first: Span::from_secs(1), longest: Span::from_secs(1) },
        max_in_flight: FETCHED,
        ..SubscriptionSettings::new(topic)
    }
}

async fn publish(handle: &Handle, topic: &str, n: usize) -> Result<()> {
    let attributes = EventAttributes {
        id: format!("{topic}/{n}"),
        source: "/bench".to_owned(),
        kind: topic.to_owned(),
        topic: topic.to_owned(),
        ..EventAttributes::default()
    };
    let data = Some(Payload::inline(value(n).into_bytes()));
    EventBus::of(handle).publish(NAMESPACE, vec![NewEvent { attributes, data }]).await.map(drop)
}

async fn publish_all(handle: &Handle, topic: &Arc<str>, events: usize) -> Outcome<()> {
    let mut publishers = JoinSet::new();
    for client in 0..CLIENTS {
        let (handle, topic) = (handle.clone(), Arc::clone(topic));
        publishers.spawn(async move {
            for n in (client..events).step_by(CLIENTS) {
                publish(&handle, &topic, n).await?;
            }
            Outcome::Ok(())
        });
    }
    joined(publishers).await
}

async fn joined(mut tasks: JoinSet<Outcome<()>>) -> Outcome<()> {
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// Follows so many events; each must come behind the one before.
async fn follow(mut watch: EventWatch, count: usize) -> Outcome<()> {
    let (mut found, mut last) = (0, None);
    while found < count {
        let WatchedEvent::Event(event) = watch.next().await.ok_or("the events ended")?? else { continue };
        if last.is_some_and(|last| event.position <= last) {
            return Err(format!("a follower was given the event `{}` twice or too late", event.position).into());
        }
        last = Some(event.position);
        found += 1;
    }
    Ok(())
}

/// Fetches and acknowledges so many events.
async fn consume(handle: Handle, subscription: String, count: usize) -> Outcome<()> {
    let mut found = 0;
    while found < count {
        let request = FetchRequest {
            namespace: NAMESPACE.to_owned(),
            subscription: subscription.clone(),
            consumer: "bench".to_owned(),
            max: FETCHED,
            wait: Span::from_secs(30),
            push: false,
        };
        let deliveries = EventBus::of(&handle).fetch(request).await?.deliveries;
        if let Some(again) = deliveries.iter().find(|delivered| delivered.attempt > 1) {
            return Err(format!("`{}` was delivered again", again.delivery).into());
        }
        if deliveries.is_empty() {
            return Err(format!("subscription `{subscription}` was given {found} of {count} events").into());
        }
        found += deliveries.len();
        let deliveries = deliveries.into_iter().map(|delivered| delivered.delivery).collect();
        EventBus::of(&handle).ack(NAMESPACE, &subscription, deliveries).await?;
    }
    if found == count { Ok(()) } else { Err(format!("{found} of {count} events were delivered").into()) }
}
