//! `PublishEvents`: events take their places in the order of their namespace.
//!
//! For: the command, its rule and its reply. Not for: who gets the events (see `fetch`, `fire` and `waiters`).
//! Invariant: of events with the same source and id one is kept, and a publisher that sends it again learns its place;
//! publishing costs the same whatever has subscribed.

use consort_types::{Code, Error, Name, Result, bounds::check_count, event::EventAttributes};
use consort_types::{event::Position, limits};
use minicbor::{Decode, Encode};

use crate::{
    bus::{
        fire,
        keys::{EventIdKey, EventKey},
        retention,
        rows::{EventPlace, NewEvent, StoredEvent},
        stream, waiters,
    },
    context::ApplyContext,
};

/// Publishes events, all or none.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct PublishEvents {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The events in their order, from 1 to [`limits::EVENT_BATCH_MAX`].
    #[n(1)]
    pub events: Vec<NewEvent>,
}

/// The place of an event that was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Where it is.
    pub position: Position,
    /// Whether it was published before.
    pub deduplicated: bool,
}

impl PublishEvents {
    /// As [`Command::check`](crate::Command::check).
    pub fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        if self.events.is_empty() {
            return Err(Error::new(Code::BadRequest, "there is no event to publish").hint("send one or more"));
        }
        check_count("events", self.events.len(), limits::EVENT_BATCH_MAX)?;
        self.events.iter().try_for_each(|event| event.attributes.check())
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<Vec<Published>> {
        publish(ctx, &self.namespace, &self.events)
    }
}

/// Gives events that have passed their checks their places, and shows them to those who act on events. The data of an
/// event is counted for its row.
pub(crate) fn publish(ctx: &mut ApplyContext<'_>, namespace: &str, events: &[NewEvent]) -> Result<Vec<Published>> {
    let mut published = Vec::with_capacity(events.len());
    let mut stream = stream::stream(ctx.state, namespace)?;
    let mut added = 0;
    for event in events {
        ctx.charge(1);
        let EventAttributes { id, source, .. } = &event.attributes;
        let key = EventIdKey::new(namespace, source, id);
        if let Some(first) = ctx.state.tables.event_ids.get(&key)? {
            published.push(Published { position: first.position, deduplicated: true });
            continue;
        }
        // Several steps of one record may publish.
        let n = if stream.last.seq == ctx.seq { stream.last.n + 1 } else { 0 };
        let position = Position { seq: ctx.seq, n };
        if let Some(data) = &event.data {
            ctx.retain(data)?;
        }
        stream.published += 1;
        let row = StoredEvent {
            attributes: event.attributes.clone(),
            data: event.data.clone(),
            published: ctx.now,
            ordinal: stream.published,
        };
        (stream.count, stream.bytes, stream.last) = (stream.count + 1, stream.bytes + row.bytes(), position);
        ctx.state.tables.event_ids.put(key, EventPlace { position });
        ctx.state.tables.events.insert_new(EventKey::new(namespace, position), row);
        published.push(Published { position, deduplicated: false });
        added += 1;
    }
    if added > 0 {
        fire::published(ctx, namespace, &mut stream)?;
        waiters::published(ctx, namespace, &mut stream)?;
        retention::published(ctx, namespace, &mut stream, added)?;
        stream::wake_handing(ctx, namespace, &stream)?;
        stream::put_stream(ctx, namespace, stream);
        stream::changed(ctx, namespace);
    }
    Ok(published)
}

/// As [`publish`], of an event whose data was stored for it.
pub(crate) fn publish_made(ctx: &mut ApplyContext<'_>, namespace: &str, event: &NewEvent) -> Result<Vec<Published>> {
    let published = publish(ctx, namespace, std::slice::from_ref(event))?;
    // Its row has counted the data itself; what the making has counted is given back.
    event.data.as_ref().map_or(Ok(()), |data| ctx.release(data))?;
    Ok(published)
}
