//! An event, as it leaves the machine.
//!
//! For: views and replies alike. Not for: rows.
//! Invariant: nothing of an event is left out but how many there are before it.

use consort_types::{
    Payload, Time,
    event::{EventAttributes, Position},
};

use crate::bus::rows::StoredEvent;

/// An event, as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct EventView {
    /// Its place.
    pub position: Position,
    /// When it was published, in log time.
    pub published: Time,
    /// Everything but its data.
    pub attributes: EventAttributes,
    /// Its data, where it has any.
    pub data: Option<Payload>,
}

impl EventView {
    pub(crate) fn of(position: Position, event: StoredEvent) -> Self {
        let StoredEvent { attributes, data, published, ordinal: _ } = event;
        Self { position, published, attributes, data }
    }
}
