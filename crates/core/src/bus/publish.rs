//! `PublishEvents`: events take their places in the order of their namespace.
//!
//! For: the command, its rule and its reply. Not for: who gets the events (see `fetch` and `fire`).
//! Invariant: of events with the same source and id one is kept, and a publisher that sends it again learns its place;
//! publishing costs the same whatever has subscribed.

use consort_types::{Code, Error, Name, Payload, Result, bounds::check_count, event::EventAttributes};
use consort_types::{event::Position, limits};
use minicbor::{Decode, Encode};

use crate::{
    bus::{
        fire,
        keys::{EventIdKey, EventKey},
        retention,
        rows::{EventPlace, StoredEvent},
        stream,
    },
    context::ApplyContext,
};

/// An event as it is published.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct NewEvent {
    /// Everything but its data.
    #[n(0)]
    pub attributes: EventAttributes,
    /// Its data, where it has any.
    #[n(1)]
    pub data: Option<Payload>,
}

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
        let mut published = Vec::with_capacity(self.events.len());
        let mut stream = stream::stream(ctx.state, &self.namespace)?;
        let mut added = 0;
        // Several schedules may publish in one record.
        let next = if stream.last.seq == ctx.seq { stream.last.n + 1 } else { 0 };
        for event in &self.events {
            ctx.charge(1);
            let EventAttributes { id, source, .. } = &event.attributes;
            let key = EventIdKey::new(&self.namespace, source, id);
            if let Some(first) = ctx.state.tables.event_ids.get(&key)? {
                published.push(Published { position: first.position, deduplicated: true });
                continue;
            }
            let position = Position { seq: ctx.seq, n: next + added as u32 };
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
            ctx.state.tables.events.insert_new(EventKey::new(&self.namespace, position), row);
            published.push(Published { position, deduplicated: false });
            added += 1;
        }
        if added > 0 {
            fire::published(ctx, &self.namespace, &mut stream)?;
            retention::published(ctx, &self.namespace, &mut stream, added)?;
            stream::put_stream(ctx, &self.namespace, stream);
            stream::changed(ctx, &self.namespace);
        }
        Ok(published)
    }
}
