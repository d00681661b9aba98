//! Events as they go out.
//!
//! For: the attributes and the data of an event, as every broker gets them. Not for: how a broker writes them.
//! Invariant: an event carries the bridge and its position, so that it is known where it comes from.

use std::collections::BTreeMap;

use consort_api::{
    client::Client,
    events::{CloudEvent, EventData, EventParams},
};
use consort_types::{Payload, Result, event::ExtensionValue};

/// The extension attribute that names the bridge an event came through.
pub(crate) const BRIDGE: &str = "consortbridge";
/// The extension attribute that has the position of an event that went out.
pub(crate) const POSITION: &str = "consortposition";
/// The version of CloudEvents.
pub(crate) const SPECVERSION: &str = "1.0";

/// An event that goes out.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    /// Its topic.
    pub(crate) topic: String,
    /// Its position.
    pub(crate) position: String,
    /// Every attribute but the media type, by name.
    pub(crate) attributes: BTreeMap<String, String>,
    /// The media type of the data.
    pub(crate) media: String,
    /// The data: a JSON document, or nothing.
    pub(crate) data: Vec<u8>,
}

impl Outgoing {
    /// What the event is there once by.
    pub(crate) fn identity(&self) -> String {
        let attribute = |name: &str| self.attributes.get(name).map(String::as_str).unwrap_or_default();
        format!("{} {}", attribute("source"), attribute("id"))
    }
}

/// Whether an event came through this bridge.
pub(crate) fn came_through(event: &CloudEvent, bridge: &str) -> bool {
    event.extensions.get(BRIDGE) == Some(&ExtensionValue::Text(bridge.to_owned()))
}

/// The event as it goes out.
pub(crate) async fn outgoing(client: &Client, bridge: &str, event: CloudEvent) -> Result<Outgoing> {
    let position = event.position.map(|position| position.to_string()).unwrap_or_default();
    let topic = event.topic.unwrap_or_else(|| event.kind.clone());
    let mut attributes: BTreeMap<String, String> =
        event.extensions.iter().map(|(name, value)| (name.clone(), value.to_string())).collect();
    let optional = [("subject", event.subject), ("time", event.time), ("dataschema", event.dataschema)];
    attributes.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    attributes.extend(
        [
            ("specversion", SPECVERSION),
            ("id", &event.id),
            ("source", &event.source),
            ("type", &event.kind),
            ("topic", &topic),
            (BRIDGE, bridge),
            (POSITION, &position),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let data = match event.data.map(Payload::from) {
        None => Vec::new(),
        Some(payload) => {
            let bytes = payload.bytes().unwrap_or_default().to_vec();
            // A large one is shown as a reference.
            match event.position {
                Some(position) if bytes.starts_with(b"{\"$blob\"") => {
                    let whole = client.call::<EventData>(&EventParams { position }, &()).await?;
                    Payload::from(whole).bytes().unwrap_or_default().to_vec()
                }
                _ => bytes,
            }
        }
    };
    let media = event.datacontenttype.unwrap_or_else(|| "application/json".to_owned());
    Ok(Outgoing { topic, position, attributes, media, data })
}
