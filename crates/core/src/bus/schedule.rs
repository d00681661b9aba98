//! When something of the event bus is due: one timer for all that is due at a time.
//!
//! For: noting what is due, and arming. Not for: doing it (see `due`).
//! Invariant: while a list has a place that is due at a time, a timer is armed for that time, or for now.

use consort_types::{Result, Time};

use crate::{
    bus::keys::{EventList, EventListKey},
    context::ApplyContext,
    run::keys::{NO_RUN, TimerKind, root_task},
    state::rows::Marker,
};

/// The lists whose places may be due later than now.
const LATER: [EventList; 3] = [EventList::Due, EventList::Age, EventList::Hand];

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

/// What is left of what is due is due again at once.
pub(crate) fn continue_soon(ctx: &mut ApplyContext<'_>) {
    ctx.arm(ctx.now, root_task(NO_RUN), TimerKind::EventsContinue, 0);
}
