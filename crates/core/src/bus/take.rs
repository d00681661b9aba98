//! What a subscription hands out next, whatever takes it.
//!
//! For: the order of deliveries, the filter, and keys. Not for: what a delivery is for who takes it (see `fetch` and
//! `hand`).
//! Invariant: an event is looked at once by a subscription, in order; what was delivered before and is ready again goes
//! before what is new. An event that the filter cannot be evaluated for is a dead letter: none is passed over unseen.

use std::sync::Arc;

use consort_types::{
    BlobHash, Result,
    event::{ExtensionValue, Position, topic_matches},
    limits,
};
use consort_workflow::Environment;

use crate::{
    bus::{
        delivery::Deliveries,
        fire::value_of,
        keys::EventList,
        rows::{Delivery, Filter, OrderKey, StoredEvent, SubscriptionSettings},
        stream,
    },
    context::{ApplyContext, LIGHT_PER_UNIT},
    fatal::split_fatal,
};

/// Who takes deliveries.
pub(crate) trait Taker {
    /// How many more it takes now.
    fn room(&mut self, ctx: &mut ApplyContext<'_>, deliveries: &Deliveries<'_>) -> Result<usize>;

    /// Takes the delivery of an event: what is stored of it, where it has a row, and what it was before.
    fn hand_out(
        &mut self,
        ctx: &mut ApplyContext<'_>,
        deliveries: &mut Deliveries<'_>,
        event: (Position, StoredEvent),
        delivery: (Option<&Delivery>, &Delivery),
    ) -> Result<()>;
}

/// Hands out as much as is taken; whether the record ended before all that there is was looked at.
pub(crate) fn take(
    ctx: &mut ApplyContext<'_>,
    deliveries: &mut Deliveries<'_>,
    taker: &mut impl Taker,
) -> Result<bool> {
    take_ready(ctx, deliveries, taker)?;
    take_new(ctx, deliveries, taker)
}

/// What was delivered before and is ready again.
fn take_ready(ctx: &mut ApplyContext<'_>, deliveries: &mut Deliveries<'_>, taker: &mut impl Taker) -> Result<()> {
    let room = taker.room(ctx, deliveries)?;
    for position in deliveries.places(ctx, EventList::Ready, room)? {
        if taker.room(ctx, deliveries)? == 0 {
            return Ok(());
        }
        let Some(ready) = deliveries.find(ctx, position)? else { continue };
        if let Some(event) = deliveries.event(ctx, position, Some(&ready))? {
            taker.hand_out(ctx, deliveries, (position, event), (Some(&ready), &ready))?;
        } else {
            deliveries.subscription.missed += 1;
            deliveries.end(ctx, position, &ready)?;
        }
    }
    Ok(())
}

/// Events behind the cursor, until there are enough.
fn take_new(ctx: &mut ApplyContext<'_>, deliveries: &mut Deliveries<'_>, taker: &mut impl Taker) -> Result<bool> {
    const PAGE: usize = 128;
    let (mut looked_at, settings) = (0, deliveries.subscription.settings.clone());
    while taker.room(ctx, deliveries)? > 0 {
        if looked_at >= limits::EVENT_SCAN_MAX || ctx.is_long() {
            return Ok(true);
        }
        let events = stream::events_after(ctx.state, deliveries.namespace, deliveries.subscription.cursor, PAGE)?;
        let last = events.len() < PAGE;
        ctx.charge(1 + events.len() / LIGHT_PER_UNIT);
        for (position, event) in events {
            let open = deliveries.subscription.open;
            if taker.room(ctx, deliveries)? == 0 || open >= limits::EVENT_OPEN_DELIVERIES_MAX {
                return Ok(false);
            }
            looked_at += 1;
            let subscription = &mut deliveries.subscription;
            // What lies between is what the retention has removed.
            subscription.missed += event.ordinal - 1 - subscription.looked;
            (subscription.cursor, subscription.looked) = (position, event.ordinal);
            if topic_matches(&settings.pattern, &event.attributes.topic) {
                look_at(ctx, deliveries, taker, &settings, (position, event))?;
            }
        }
        if last {
            return Ok(false);
        }
    }
    Ok(false)
}

/// The subscription comes to an event of its topics.
fn look_at(
    ctx: &mut ApplyContext<'_>,
    deliveries: &mut Deliveries<'_>,
    taker: &mut impl Taker,
    settings: &SubscriptionSettings,
    (position, event): (Position, StoredEvent),
) -> Result<()> {
    drop_dead(ctx, deliveries, position)?;
    let key = settings.ordered.and_then(|order| key_of(order, &event));
    if let Some(filter) = &settings.filter {
        match passes(ctx, filter, position, &event)? {
            Ok(true) => {}
            Ok(false) => {
                deliveries.subscription.filtered += 1;
                return Ok(());
            }
            Err(error) => {
                let reason = format!("the filter `{}` cannot be evaluated: {}", filter.0.source(), error.message);
                deliveries.subscription.note_failure(ctx.now, &reason);
                let dead = Delivery { reason: Some(reason), ..Delivery::fresh(key) };
                return deliveries.bury(ctx, position, None, dead);
            }
        }
    }
    match key {
        Some(hash) if deliveries.has_open(ctx, hash)? => hold(ctx, deliveries, position, hash),
        _ => taker.hand_out(ctx, deliveries, (position, event), (None, &Delivery::fresh(key))),
    }
}

/// Whether the filter lets an event through.
fn passes(
    ctx: &mut ApplyContext<'_>,
    filter: &Filter,
    position: Position,
    event: &StoredEvent,
) -> Result<Result<bool>> {
    ctx.charge(1);
    let judged = value_of(ctx, position, event).and_then(|value| {
        let environment = Environment { event: Some(Arc::new(value)), ..Environment::default() };
        let passes = filter.0.evaluate_bool(&environment);
        ctx.state.charge_cost(environment.meter.cost());
        passes
    });
    split_fatal(judged)
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
    deliveries.change(ctx, position, None, Some(Delivery::fresh(Some(hash))))
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
