//! `AckDeliveries` and `NackDeliveries`: a consumer says the outcome of its deliveries.
//!
//! For: the commands, their rule and their reply. Not for: deliveries that are not settled (see `delivery`).
//! Invariant: only the consumer that got the event last settles it; a delivery that is over is refused with its own
//! code, and changes nothing.

use consort_types::{
    Code, Error, Name, Result, Span,
    bounds::{check_count, check_optional_text},
    event::DeliveryId,
    limits,
};
use minicbor::{Decode, Encode};

use crate::{
    bus::{
        delivery::Deliveries,
        rows::{Delivery, DeliveryState},
        subscription::not_found,
    },
    context::ApplyContext,
};

/// Acknowledges deliveries: their events are not delivered again.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct AckDeliveries {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The subscription.
    #[n(1)]
    pub subscription: String,
    /// The deliveries, from 1 to [`limits::EVENT_BATCH_MAX`].
    #[n(2)]
    pub deliveries: Vec<DeliveryId>,
}

/// Gives deliveries back: their events are delivered again, or become dead letters.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct NackDeliveries {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The subscription.
    #[n(1)]
    pub subscription: String,
    /// The deliveries, from 1 to [`limits::EVENT_BATCH_MAX`].
    #[n(2)]
    pub deliveries: Vec<DeliveryId>,
    /// How long the events wait; without it, as the back-off says.
    #[n(3)]
    pub delay: Option<Span>,
    /// Why.
    #[n(4)]
    pub reason: Option<String>,
}

/// The outcome of deliveries that were settled together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settled {
    /// How many were settled.
    pub settled: u32,
    /// Those that were over before, with why.
    pub refused: Vec<(DeliveryId, Error)>,
}

fn check(namespace: &str, subscription: &str, deliveries: &[DeliveryId]) -> Result<()> {
    Name::check("namespace", namespace)?;
    Name::check("subscription", subscription)?;
    if deliveries.is_empty() {
        return Err(Error::new(Code::BadRequest, "no delivery is named").hint("name one or more"));
    }
    check_count("deliveries", deliveries.len(), limits::EVENT_BATCH_MAX)
}

/// Settles each delivery that is not over. Where all are over, the first refusal is that of the command.
fn settle<'k>(
    ctx: &mut ApplyContext<'_>,
    (namespace, name): (&'k str, &'k str),
    named: &[DeliveryId],
    each: impl Fn(&mut ApplyContext<'_>, &mut Deliveries<'k>, DeliveryId, &Delivery) -> Result<()>,
) -> Result<Settled> {
    let Some(mut deliveries) = Deliveries::open(ctx, namespace, name)? else { return Err(not_found(namespace, name)) };
    let mut settled = Settled::default();
    for id in named {
        match deliveries.find(ctx, id.position)?.filter(|found| is_current(found, *id)) {
            Some(found) => {
                each(ctx, &mut deliveries, *id, &found)?;
                settled.settled += 1;
            }
            None => settled.refused.push((*id, over(name, *id))),
        }
    }
    if settled.settled == 0
        && let Some((_, error)) = settled.refused.first()
    {
        return Err(error.clone());
    }
    deliveries.close(ctx);
    Ok(settled)
}

/// Whether the event was not delivered again since, nor given up.
fn is_current(delivery: &Delivery, id: DeliveryId) -> bool {
    delivery.token == Some(id.token) && !matches!(delivery.state, DeliveryState::Dead(_))
}

fn over(subscription: &str, id: DeliveryId) -> Error {
    let message = format!("delivery `{id}` of subscription `{subscription}` is over");
    Error::new(Code::DeliveryOver, message).hint(
        "it was settled before, or not in time; where that happens often, give the subscription a longer `ack_wait`",
    )
}

impl AckDeliveries {
    /// As [`Command::check`](crate::Command::check).
    pub fn check(&self) -> Result<()> {
        check(&self.namespace, &self.subscription, &self.deliveries)
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<Settled> {
        settle(ctx, (&self.namespace, &self.subscription), &self.deliveries, |ctx, deliveries, id, delivery| {
            deliveries.subscription.acknowledged += 1;
            deliveries.subscription.failing_since = None;
            deliveries.end(ctx, id.position, delivery)
        })
    }
}

impl NackDeliveries {
    /// As [`Command::check`](crate::Command::check).
    pub fn check(&self) -> Result<()> {
        check(&self.namespace, &self.subscription, &self.deliveries)?;
        check_optional_text("reason", self.reason.as_deref(), limits::ERROR_MESSAGE_BYTES_MAX)?;
        let max = Span::from_secs(limits::EVENT_ACK_WAIT_SECONDS_MAX);
        match self.delay.filter(|delay| *delay > max) {
            Some(delay) => Err(Error::new(Code::LimitReached, format!("the delay is `{delay}`, the limit is {max}"))
                .hint("give the events back sooner")),
            None => Ok(()),
        }
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<Settled> {
        settle(ctx, (&self.namespace, &self.subscription), &self.deliveries, |ctx, deliveries, id, delivery| {
            ctx.charge(1);
            let reason = self.reason.clone().unwrap_or_else(|| "the consumer gave it back".to_owned());
            deliveries.subscription.note_failure(ctx.now, &reason);
            deliveries.give_back(ctx, id.position, delivery, self.delay, (None, reason))
        })
    }
}
