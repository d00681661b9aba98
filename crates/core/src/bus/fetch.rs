//! `FetchEvents`: a consumer takes deliveries of a subscription.
//!
//! For: the command, its rule and its reply. Not for: which events come next (see `take`), waiting for events (the engine
//! does), or settling deliveries (see `settle`).
//! Invariant: what a consumer was given is in flight until it is settled, or its time is over.

use consort_types::{
    Code, Error, Name, Result, Time,
    bounds::check_text,
    event::{DeliveryId, Position},
    limits,
};
use minicbor::{Decode, Encode};

use crate::{
    bus::{
        delivery::Deliveries,
        rows::{Delivery, DeliveryState, StoredEvent},
        shown::EventView,
        subscription::{check_consumer, not_found},
        take::{self, Taker},
    },
    context::ApplyContext,
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
        let mut consumer = Consumer { request: self, fetched: &mut fetched };
        let more = take::take(ctx, &mut deliveries, &mut consumer)?;
        fetched.more = more;
        deliveries.close(ctx);
        Ok(fetched)
    }
}

/// A consumer that takes deliveries.
struct Consumer<'f> {
    request: &'f FetchEvents,
    fetched: &'f mut Fetched,
}

impl Taker for Consumer<'_> {
    fn room(&mut self, _: &mut ApplyContext<'_>, deliveries: &Deliveries<'_>) -> Result<usize> {
        Ok(deliveries.subscription.room().min(self.request.max as usize - self.fetched.deliveries.len()))
    }

    /// The consumer holds the delivery from now on.
    fn hand_out(
        &mut self,
        ctx: &mut ApplyContext<'_>,
        deliveries: &mut Deliveries<'_>,
        (position, event): (Position, StoredEvent),
        (stored, before): (Option<&Delivery>, &Delivery),
    ) -> Result<()> {
        ctx.charge(1);
        let subscription = &mut deliveries.subscription;
        subscription.delivered += 1;
        let until = ctx.now.after(subscription.settings.ack_wait);
        let held = Delivery {
            state: DeliveryState::InFlight(until),
            token: Some(ctx.seq),
            deliveries: before.deliveries + 1,
            consumer: Some(self.request.consumer.clone()).filter(|name| !name.is_empty()),
            ..before.clone()
        };
        self.fetched.deliveries.push(DeliveredEvent {
            delivery: DeliveryId { position, token: ctx.seq },
            attempt: held.deliveries,
            until,
            event: EventView::of(position, event),
        });
        deliveries.change(ctx, position, stored, Some(held))
    }
}
