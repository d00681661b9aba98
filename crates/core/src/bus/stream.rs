//! What a namespace keeps of its events, and finding a place in them.
//!
//! For: the row of a namespace's events, positions and times. Not for: publishing or removing (see `publish` and
//! `retention`).
//! Invariant: the kept events are the latest of those that were published, so an ordinal follows from a count.

use consort_types::{Code, Error, Result, Seq, Time, event::Position};
use minicbor::{Decode, Encode};

use crate::{
    bus::{
        keys::{EventKey, EventList, EventListKey},
        rows::{EventStream, StoredEvent},
    },
    context::{ApplyContext, PendingWork},
    effect::Effect,
    key::NamedKey,
    registry::agents::PAST,
    state::{State, rows::Marker},
};

/// Where to begin in the events of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum StartAt {
    /// Behind the last one.
    #[n(0)]
    New,
    /// With the oldest that is kept.
    #[n(1)]
    All,
    /// Behind this position.
    #[n(2)]
    After(#[n(0)] Position),
    /// With the first that was published at this time or later.
    #[n(3)]
    Since(#[n(0)] Time),
}

/// What a namespace keeps of its events.
pub(crate) fn stream(state: &mut State, namespace: &str) -> Result<EventStream> {
    Ok(state.tables.event_streams.get(&NamedKey::of(namespace, ""))?.unwrap_or_default())
}

pub(crate) fn put_stream(ctx: &mut ApplyContext<'_>, namespace: &str, stream: EventStream) {
    ctx.state.tables.event_streams.put(NamedKey::of(namespace, ""), stream);
}

/// Wakes those that follow the events of a namespace, or wait for a delivery.
pub(crate) fn changed(ctx: &mut ApplyContext<'_>, namespace: &str) {
    let (namespace, seq) = (namespace.to_owned(), ctx.seq);
    ctx.effect(Effect::EventsChanged { namespace, seq });
}

/// Wakes the process that pushes: a subscription with a webhook was made, changed, paused or deleted.
pub(crate) fn pushes_changed(ctx: &mut ApplyContext<'_>) {
    let seq = ctx.seq;
    ctx.effect(Effect::PushesChanged { seq });
}

/// The place of a subscription among those that hand out tasks.
fn handing(namespace: &str, name: &str) -> EventListKey {
    EventListKey::due(EventList::Handing, Time(0), namespace, name)
}

/// A subscription hands out tasks from now on, or no more.
pub(crate) fn set_handing(ctx: &mut ApplyContext<'_>, stream: &mut EventStream, key: &NamedKey, hands: bool) {
    let place = handing(&key.namespace, &key.name);
    if hands {
        stream.handing += 1;
        ctx.state.tables.event_lists.put(place, Marker);
    } else {
        assert!(stream.handing > 0, "more subscriptions of `{}` hand out tasks no more than do", key.namespace);
        stream.handing -= 1;
        ctx.state.tables.event_lists.delete(&place);
    }
}

/// Events were published: the subscriptions that hand out tasks look at them.
pub(crate) fn wake_handing(ctx: &mut ApplyContext<'_>, namespace: &str, stream: &EventStream) -> Result<()> {
    if stream.handing == 0 {
        return Ok(());
    }
    let (from, to) = (handing(namespace, ""), handing(namespace, PAST));
    for (place, _) in ctx.state.tables.event_lists.range(&from, &to, stream.handing as usize)? {
        ctx.enqueue(PendingWork::HandOut(NamedKey::of(namespace, &place.name)));
    }
    Ok(())
}

/// At most `limit` events behind a position.
pub(crate) fn events_after(
    state: &State,
    namespace: &str,
    position: Position,
    limit: usize,
) -> Result<Vec<(Position, StoredEvent)>> {
    let key = |position| EventKey::new(namespace, position);
    let rows = state.tables.events.range(&key(position.next()), &key(Position::MAX), limit)?;
    Ok(rows.into_iter().map(|(key, event)| (key.position, event)).collect())
}

/// The place behind which reading begins, with the ordinal of the event there.
///
/// # Errors
/// [`Code::EventsTrimmed`] where events behind the position were removed.
pub(crate) fn place(state: &State, namespace: &str, stream: &EventStream, start: StartAt) -> Result<(Position, u64)> {
    let removed = stream.published - stream.count;
    let position = match start {
        StartAt::New => return Ok((stream.last, stream.published)),
        StartAt::All => return Ok((stream.trimmed, removed)),
        StartAt::After(position) if position >= stream.last => return Ok((stream.last, stream.published)),
        StartAt::After(position) => {
            check_kept(state, namespace, stream, position)?;
            position
        }
        StartAt::Since(time) => before(state, namespace, stream, time)?,
    };
    Ok((position, ordinal_at(state, namespace, stream, position)?))
}

/// How many events there are up to a position behind which none was removed.
pub(crate) fn ordinal_at(state: &State, namespace: &str, stream: &EventStream, position: Position) -> Result<u64> {
    let next = events_after(state, namespace, position, 1)?;
    Ok(next.first().map_or(stream.published, |(_, event)| event.ordinal - 1))
}

/// Refuses a position behind which events were removed.
pub(crate) fn check_kept(state: &State, namespace: &str, stream: &EventStream, position: Position) -> Result<()> {
    if position >= stream.trimmed {
        return Ok(());
    }
    let oldest = events_after(state, namespace, stream.trimmed, 1)?;
    let left = match oldest.first() {
        Some((oldest, _)) => format!("the oldest that is left is `{oldest}`"),
        None => "none is left".to_owned(),
    };
    let message = format!("events behind `{position}` were removed by the retention of `{namespace}`; {left}");
    Err(Error::new(Code::EventsTrimmed, message)
        .hint("read on from the oldest, and take what is in between as lost to this reader"))
}

/// The last place before the events that were published at a time or later. Records are in the order of time, so it is
/// found by halves.
fn before(state: &State, namespace: &str, stream: &EventStream, time: Time) -> Result<Position> {
    let (mut low, mut high) = (stream.trimmed.seq.0, stream.last.seq.0.saturating_add(1));
    // No event of a record up to `low` was published at the time or later; one from `high` on was, or there is none.
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        let at = Position { seq: Seq(middle), n: 0 };
        let key = |position| EventKey::new(namespace, position);
        let found = state.tables.events.range(&key(at), &key(Position::MAX), 1)?;
        match found.first() {
            Some((key, event)) if event.published < time => low = key.position.seq.0,
            _ => high = middle,
        }
    }
    let end = Position { seq: Seq(low), n: u32::MAX };
    // Of the record at the place of the last removal some events may be left, which are as old as the removed ones.
    let first = events_after(state, namespace, stream.trimmed, 1)?;
    let early = first.first().is_none_or(|(_, event)| event.published >= time);
    Ok(if early { stream.trimmed } else { end.min(stream.last) })
}
