//! What is due of the event bus: one timer for all that is due at a time, a list for each kind of it.
//!
//! For: arming, and doing what has come due, a bounded part of it in each record. Not for: what happens to a delivery or
//! a namespace then.
//! Invariant: while one of the lists has a place that is due at a time, a timer is armed for that time, or for now.

use consort_types::{Result, RunId, Time};

use crate::{
    bus::{
        delivery, fire,
        keys::{DeliveryKey, EventList, EventListKey},
        retention,
    },
    context::ApplyContext,
    run::keys::{TimerKind, root_task},
    state::rows::Marker,
};

/// The timers belong to no run: they have the id that no run has.
const NO_RUN: RunId = RunId([0; 16]);
/// The lists whose places are due at a time.
const LISTS: [EventList; 5] = [EventList::Due, EventList::Age, EventList::Trim, EventList::Fire, EventList::CatchUp];
/// The lists of them whose places may be due later than now.
const LATER: [EventList; 2] = [EventList::Due, EventList::Age];

/// Something is due at the time of its key.
pub(crate) fn schedule(ctx: &mut ApplyContext<'_>, key: EventListKey) {
    let due = Time(key.at).max(ctx.now);
    let kind = if due > ctx.now { TimerKind::Events } else { TimerKind::EventsContinue };
    ctx.state.tables.event_lists.put(key, Marker);
    ctx.arm(due, root_task(NO_RUN), kind, 0);
}

/// It is due no more.
pub(crate) fn unschedule(ctx: &mut ApplyContext<'_>, key: &EventListKey) -> Result<()> {
    ctx.state.tables.event_lists.delete(key);
    if key.at <= ctx.now.0 {
        return Ok(());
    }
    for list in LATER {
        let (from, to) = (EventListKey::first(list, key.at), EventListKey::first(list, key.at.saturating_add(1)));
        if !ctx.state.tables.event_lists.range(&from, &to, 1)?.is_empty() {
            return Ok(());
        }
    }
    ctx.disarm(Some(Time(key.at)), root_task(NO_RUN), TimerKind::Events);
    Ok(())
}

/// Does what is due, as far as the record goes; the rest is due again at once.
pub(crate) fn go_on(ctx: &mut ApplyContext<'_>) -> Result<()> {
    for list in LISTS {
        if !work_off(ctx, list)? {
            ctx.arm(ctx.now, root_task(NO_RUN), TimerKind::EventsContinue, 0);
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
            // What a trigger has started is begun before the next one.
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
        EventList::Ready | EventList::Ordered | EventList::Dead => Ok(()),
    }
}
