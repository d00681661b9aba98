//! `SettleDeadLetters`: dead letters are delivered again, or dropped.
//!
//! For: the command and its rule. Not for: how an event becomes a dead letter (see `delivery`).
//! Invariant: a dead letter holds its event, so the retention does not take it away.

use consort_types::{Code, Error, Name, Result, bounds::check_count, event::Position, limits};
use minicbor::{Decode, Encode};

use crate::{
    bus::{
        delivery::Deliveries,
        keys::EventList,
        rows::{Delivery, DeliveryState},
        subscription::not_found,
    },
    context::ApplyContext,
};

/// Delivers dead letters again, as if they had never been delivered, or drops them. One that the cursor comes to again is
/// delivered then.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct SettleDeadLetters {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The subscription.
    #[n(1)]
    pub subscription: String,
    /// The events, at most [`limits::EVENT_BATCH_MAX`]; without any, the oldest ones, as many as one request takes.
    #[n(2)]
    pub positions: Vec<Position>,
    /// Whether they are delivered again; else they are dropped.
    #[n(3)]
    pub redrive: bool,
}

impl SettleDeadLetters {
    /// As [`Command::check`](crate::Command::check).
    pub fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        Name::check("subscription", &self.subscription)?;
        check_count("dead letters", self.positions.len(), limits::EVENT_BATCH_MAX)
    }

    /// How many were redriven or dropped.
    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<u32> {
        let Some(mut deliveries) = Deliveries::open(ctx, &self.namespace, &self.subscription)? else {
            return Err(not_found(&self.namespace, &self.subscription));
        };
        let positions = if self.positions.is_empty() {
            deliveries.places(ctx, EventList::Dead, limits::EVENT_BATCH_MAX)?
        } else {
            self.positions.clone()
        };
        let mut settled = 0;
        for position in positions {
            let found = deliveries.find(ctx, position)?;
            let Some(dead) = found.filter(|found| matches!(found.state, DeliveryState::Dead(_))) else {
                continue;
            };
            let full = deliveries.subscription.open >= limits::EVENT_OPEN_DELIVERIES_MAX;
            match self.redrive {
                // The cursor was moved back and comes to it again; delivered now, it would come a second time.
                true if position > deliveries.subscription.cursor => {}
                true if full => break,
                true => redrive(ctx, &mut deliveries, position, &dead)?,
                false => deliveries.end(ctx, position, &dead)?,
            }
            settled += 1;
        }
        if settled == 0 && !self.positions.is_empty() {
            let message = format!("subscription `{}` has none of those dead letters to settle", self.subscription);
            return Err(Error::new(Code::EventNotFound, message)
                .hint("`consort subscriptions dead list` shows those that there are"));
        }
        if settled > 0 {
            deliveries.close(ctx);
        }
        Ok(settled)
    }
}

fn redrive(
    ctx: &mut ApplyContext<'_>,
    deliveries: &mut Deliveries<'_>,
    position: Position,
    dead: &Delivery,
) -> Result<()> {
    ctx.charge(1);
    let held = match dead.key {
        Some(hash) => deliveries.has_open(ctx, hash)?,
        None => false,
    };
    let state = if held { DeliveryState::Held } else { DeliveryState::Ready };
    let again = Delivery { state, deliveries: 0, ..dead.clone() };
    deliveries.change(ctx, position, Some(dead), Some(again))
}
