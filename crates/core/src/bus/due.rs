//! What is due of the event bus, a list for each kind of it.
//!
//! For: doing what has come due, a bounded part of it in each record. Not for: arming (see `schedule`), or what happens to
//! a delivery or a namespace then.
//! Invariant: while one of the lists has a place that is due at a time, a timer is armed for that time, or for now.

use consort_types::Result;

use crate::{
    bus::{
        delivery, fire, hand,
        keys::{DeliveryKey, EventList, EventListKey},
        retention, schedule, waiters,
    },
    context::ApplyContext,
};

/// The lists whose places are due at a time.
const LISTS: [EventList; 7] = [
    EventList::Due,
    EventList::Age,
    EventList::Trim,
    EventList::Fire,
    EventList::CatchUp,
    EventList::Tell,
    EventList::Hand,
];

/// Does what is due, as far as the record goes; the rest is due again at once.
pub(crate) fn go_on(ctx: &mut ApplyContext<'_>) -> Result<()> {
    for list in LISTS {
        if !work_off(ctx, list)? {
            schedule::continue_soon(ctx);
            return Ok(());
        }
    }
    Ok(())
}

/// Whether nothing of the list is left that is due.
fn work_off(ctx: &mut ApplyContext<'_>, list: EventList) -> Result<bool> {
    loop {
        let until = EventListKey::first(list, ctx.now.0.saturating_add(1));
        let places = ctx.state.tables.event_lists.range(&EventListKey::first(list, 0), &until, ctx.page())?;
        if places.is_empty() {
            return Ok(true);
        }
        for (place, _) in places {
            if ctx.is_long() {
                return Ok(false);
            }
            ctx.charge(1);
            ctx.state.tables.event_lists.delete(&place);
            came_due(ctx, &place)?;
            // What a trigger or a subscription has started is begun before the next one.
            crate::run::pending::drain_pending(ctx)?;
        }
    }
}

fn came_due(ctx: &mut ApplyContext<'_>, place: &EventListKey) -> Result<()> {
    let namespace = place.namespace.as_str();
    match place.list {
        EventList::Due => delivery::came_due(ctx, &DeliveryKey::new(namespace, &place.name, place.position)),
        EventList::Age => retention::aged(ctx, namespace),
        EventList::Trim => retention::go_on(ctx, namespace),
        EventList::Fire => fire::go_on(ctx, namespace),
        EventList::CatchUp => fire::catch_up(ctx, namespace, &place.name),
        EventList::Tell => waiters::go_on(ctx, namespace),
        EventList::Hand => hand::hand_out(ctx, namespace, &place.name),
        EventList::Ready | EventList::Ordered | EventList::Dead | EventList::Handing => Ok(()),
    }
}
