//! `FetchEvents`: a consumer takes deliveries of a subscription.
//!
//! For: the command, its rule and its reply. Not for: waiting for events (the engine does), or settling deliveries (see
//! `settle`).
//! Invariant: an event is looked at once by a subscription, in order; what was delivered before and is ready again goes
//! before what is new.

use consort_types::{
    BlobHash, Code, Error, Name, Result, Time,
    bounds::check_text,
    event::{DeliveryId, ExtensionValue, Position, topic_matches},
    limits,
};
use minicbor::{Decode, Encode};

use crate::{
    bus::{
        delivery::Deliveries,
        keys::EventList,
        rows::{Delivery, DeliveryState, OrderKey, StoredEvent},
        shown::EventView,
        stream,
        subscription::{check_consumer, not_found},
    },
    context::{ApplyContext, LIGHT_PER_UNIT},
};

/// Takes deliveries.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct FetchEvents {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The subscription.
    #[n(1)]
    pub subscription: String,
    /// Who takes them, for people who look at the subscription; may be empty.
    #[n(2)]
    pub consumer: String,
    /// How many at most, from 1 to [`limits::EVENT_BATCH_MAX`].
    #[n(3)]
    pub max: u32,
    /// Whether they are taken to be pushed to the webhook of the subscription.
    #[n(4)]
    #[cbor(default)]
    pub push: bool,
}

/// A delivery, as its consumer gets it.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliveredEvent {
    /// What to name when it is settled.
    pub delivery: DeliveryId,
    /// The how-manyth delivery of the event it is.
    pub attempt: u32,
    /// Until when it is to be settled.
    pub until: Time,
    /// The event.
    pub event: EventView,
}

/// What a fetch gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fetched {
    /// The deliveries.
    pub deliveries: Vec<DeliveredEvent>,
    /// Whether the record ended before all that there is was looked at.
    pub more: bool,
}

impl FetchEvents {
    /// As [`Command::check`](crate::Command::check).
    pub fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        Name::check("subscription", &self.subscription)?;
        check_text("name of the consumer", &self.consumer, limits::NAME_BYTES_MAX)?;
        let max = limits::EVENT_BATCH_MAX;
        if (1..=max).contains(&(self.max as usize)) {
            return Ok(());
        }
        Err(Error::new(
            Code::BadRequest,
            format!("`{}` events cannot be fetched at once, the limit is {max}", self.max),
        )
        .hint(format!("fetch 1 to {max}")))
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<Fetched> {
        let Some(mut deliveries) = Deliveries::open(ctx, &self.namespace, &self.subscription)? else {
            return Err(not_found(&self.namespace, &self.subscription));
        };
        check_consumer(&self.subscription, &deliveries.subscription.settings, self.push)?;
        let mut fetched = Fetched::default();
        if deliveries.subscription.paused.is_some() {
            return Ok(fetched);
        }
        self.take_ready(ctx, &mut deliveries, &mut fetched)?;
        self.take_new(ctx, &mut deliveries, &mut fetched)?;
        deliveries.close(ctx);
        Ok(fetched)
    }

    /// How many more may be handed out.
    fn room(&self, deliveries: &Deliveries<'_>, fetched: &Fetched) -> usize {
        let subscription = &deliveries.subscription;
        let held = subscription.settings.max_in_flight.saturating_sub(subscription.in_flight) as usize;
        held.min(self.max as usize - fetched.deliveries.len())
    }

    /// What was delivered before and is ready again.
    fn take_ready(
        &self,
        ctx: &mut ApplyContext<'_>,
        deliveries: &mut Deliveries<'_>,
        fetched: &mut Fetched,
    ) -> Result<()> {
        let room = self.room(deliveries, fetched);
        for position in deliveries.places(ctx, EventList::Ready, room)? {
            let Some(ready) = deliveries.find(ctx, position)? else { continue };
            if let Some(event) = deliveries.event(ctx, position, Some(&ready))? {
                self.hand_out(ctx, deliveries, fetched, (position, event), (Some(&ready), &ready))?;
            } else {
                deliveries.subscription.missed += 1;
                deliveries.end(ctx, position, &ready)?;
            }
        }
        Ok(())
    }

    /// Events behind the cursor, until there are enough.
    fn take_new(
        &self,
        ctx: &mut ApplyContext<'_>,
        deliveries: &mut Deliveries<'_>,
        fetched: &mut Fetched,
    ) -> Result<()> {
        const PAGE: usize = 128;
        let (mut looked_at, settings) = (0, deliveries.subscription.settings.clone());
        while self.room(deliveries, fetched) > 0 {
            if looked_at >= limits::EVENT_SCAN_MAX || ctx.is_long() {
                fetched.more = true;
                return Ok(());
            }
            let events = stream::events_after(ctx.state, &self.namespace, deliveries.subscription.cursor, PAGE)?;
            let last = events.len() < PAGE;
            ctx.charge(1 + events.len() / LIGHT_PER_UNIT);
            for (position, event) in events {
                let open = deliveries.subscription.open;
                if self.room(deliveries, fetched) == 0 || open >= limits::EVENT_OPEN_DELIVERIES_MAX {
                    return Ok(());
                }
                looked_at += 1;
                let subscription = &mut deliveries.subscription;
                // What lies between is what the retention has removed.
                subscription.missed += event.ordinal - 1 - subscription.looked;
                (subscription.cursor, subscription.looked) = (position, event.ordinal);
                if !topic_matches(&settings.pattern, &event.attributes.topic) {
                    continue;
                }
                drop_dead(ctx, deliveries, position)?;
                let key = settings.ordered.and_then(|order| key_of(order, &event));
                match key {
                    Some(hash) if deliveries.has_open(ctx, hash)? => hold(ctx, deliveries, position, hash)?,
                    _ => self.hand_out(ctx, deliveries, fetched, (position, event), (None, &fresh(key)))?,
                }
            }
            if last {
                return Ok(());
            }
        }
        Ok(())
    }

    /// A consumer holds the delivery from now on; `stored` is its row, where it has one.
    fn hand_out(
        &self,
        ctx: &mut ApplyContext<'_>,
        deliveries: &mut Deliveries<'_>,
        fetched: &mut Fetched,
        event: (Position, StoredEvent),
        (stored, before): (Option<&Delivery>, &Delivery),
    ) -> Result<()> {
        let (position, event) = event;
        ctx.charge(1);
        let subscription = &mut deliveries.subscription;
        subscription.delivered += 1;
        let until = ctx.now.after(subscription.settings.ack_wait);
        let held = Delivery {
            state: DeliveryState::InFlight(until),
            token: Some(ctx.seq),
            deliveries: before.deliveries + 1,
            consumer: Some(self.consumer.clone()).filter(|name| !name.is_empty()),
            ..before.clone()
        };
        fetched.deliveries.push(DeliveredEvent {
            delivery: DeliveryId { position, token: ctx.seq },
            attempt: held.deliveries,
            until,
            event: EventView::of(position, event),
        });
        deliveries.change(ctx, position, stored, Some(held))
    }
}

fn fresh(key: Option<u64>) -> Delivery {
    Delivery { state: DeliveryState::Held, token: None, deliveries: 0, key, consumer: None, reason: None, event: None }
}

/// A subscription that was moved back comes to an event again: it is a dead letter no more.
fn drop_dead(ctx: &mut ApplyContext<'_>, deliveries: &mut Deliveries<'_>, position: Position) -> Result<()> {
    if deliveries.subscription.dead == 0 {
        return Ok(());
    }
    match deliveries.find(ctx, position)? {
        Some(dead) => deliveries.end(ctx, position, &dead),
        None => Ok(()),
    }
}

/// The event waits for an earlier one of its key.
fn hold(ctx: &mut ApplyContext<'_>, deliveries: &mut Deliveries<'_>, position: Position, hash: u64) -> Result<()> {
    ctx.charge(1);
    deliveries.change(ctx, position, None, Some(fresh(Some(hash))))
}

/// The hash of what an event is ordered by. Two keys with one hash are delivered as one key, which is slower and not
/// wrong.
fn key_of(order: OrderKey, event: &StoredEvent) -> Option<u64> {
    let text = match order {
        OrderKey::Subject => event.attributes.subject.clone(),
        OrderKey::PartitionKey => event.attributes.extensions.get("partitionkey").map(ExtensionValue::to_string),
    };
    let hash = BlobHash::of(text?.as_bytes()).0;
    hash.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}
