//! Events: publishing, reading and following, and how long they are kept.
//!
//! For: the documents and operations of events, in the terms of CloudEvents 1.0. Not for: subscriptions and triggers
//! (see there).
//! Invariant: an event has one form everywhere, the JSON form of CloudEvents; its data keeps the bytes of its publisher.

use std::{borrow::Cow, collections::BTreeMap};

use consort_types::{
    Code, Span, Time,
    event::{EVENT_NAMES, EventAttributes, ExtensionValue, Position},
    limits,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::SerializeMap as _};
use serde_json::value::RawValue;

use crate::{Accepts, Document, Method, NoParams, Operation, Page, Problem, Returns, Spec, schema};

/// The version of CloudEvents.
const SPECVERSION: &str = "1.0";

/// An event of CloudEvents 1.0, in its JSON form.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CloudEvent {
    /// What identifies the event among those of its source.
    pub id: String,
    /// Where it happened, as a URI reference.
    pub source: String,
    /// What kind of event it is.
    pub kind: String,
    /// By what it is subscribed to; the type, where a publisher leaves it out.
    pub topic: Option<String>,
    /// What it is about.
    pub subject: Option<String>,
    /// When it happened, in RFC 3339.
    pub time: Option<String>,
    /// The media type of the data: JSON of some kind.
    pub datacontenttype: Option<String>,
    /// The schema of the data.
    pub dataschema: Option<String>,
    /// Extension attributes.
    pub extensions: BTreeMap<String, ExtensionValue>,
    /// The data.
    pub data: Option<Document>,
    /// Where it is in its namespace: set by the server.
    pub position: Option<Position>,
    /// When it was published, in log time: set by the server.
    pub published: Option<Time>,
}

impl Serialize for CloudEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("specversion", SPECVERSION)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("source", &self.source)?;
        map.serialize_entry("type", &self.kind)?;
        let texts = [
            ("topic", &self.topic),
            ("subject", &self.subject),
            ("time", &self.time),
            ("datacontenttype", &self.datacontenttype),
            ("dataschema", &self.dataschema),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                map.serialize_entry(name, text)?;
            }
        }
        for (name, value) in &self.extensions {
            map.serialize_entry(name, value)?;
        }
        if let Some(position) = &self.position {
            map.serialize_entry("position", position)?;
        }
        if let Some(published) = &self.published {
            map.serialize_entry("published", published)?;
        }
        if let Some(data) = &self.data {
            map.serialize_entry("data", data)?;
        }
        map.end()
    }
}

/// Takes a member out of a document and reads it; `null` is no value.
fn take<T: for<'a> Deserialize<'a>>(
    members: &mut BTreeMap<String, Box<RawValue>>,
    name: &str,
) -> Result<Option<T>, String> {
    let Some(raw) = members.remove(name) else { return Ok(None) };
    serde_json::from_str(raw.get()).map_err(|error| format!("the `{name}` of the event does not fit: {error}"))
}

impl CloudEvent {
    /// An event as it is kept: its attributes and its data, where it is and since when.
    pub fn kept(attributes: EventAttributes, data: Option<Document>, (position, published): (Position, Time)) -> Self {
        let EventAttributes { id, source, kind, topic, subject, time, datacontenttype, dataschema, extensions } =
            attributes;
        Self {
            id,
            source,
            kind,
            topic: Some(topic),
            subject,
            time,
            datacontenttype,
            dataschema,
            extensions,
            data,
            position: Some(position),
            published: Some(published),
        }
    }

    fn of(mut members: BTreeMap<String, Box<RawValue>>) -> Result<Self, String> {
        let version: Option<String> = take(&mut members, "specversion")?;
        if let Some(version) = version.filter(|version| version != SPECVERSION) {
            return Err(format!("the event is of version `{version}` of CloudEvents, and must be of `{SPECVERSION}`"));
        }
        if members.contains_key("data_base64") {
            return Err("`data_base64` is not taken: the data of an event is JSON, in `data`".to_owned());
        }
        let data =
            members.remove("data").map(|raw| Document::from(consort_types::Payload::inline(raw.get().as_bytes())));
        let mut event = Self {
            id: take(&mut members, "id")?.unwrap_or_default(),
            source: take(&mut members, "source")?.unwrap_or_default(),
            kind: take(&mut members, "type")?.unwrap_or_default(),
            topic: take(&mut members, "topic")?,
            subject: take(&mut members, "subject")?,
            time: take(&mut members, "time")?,
            datacontenttype: take(&mut members, "datacontenttype")?,
            dataschema: take(&mut members, "dataschema")?,
            position: take(&mut members, "position")?,
            published: take(&mut members, "published")?,
            data,
            extensions: BTreeMap::new(),
        };
        for name in members.keys().cloned().collect::<Vec<_>>() {
            if let Some(value) = take(&mut members, &name)? {
                event.extensions.insert(name, value);
            }
        }
        Ok(event)
    }
}

impl<'de> Deserialize<'de> for CloudEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of(BTreeMap::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl JsonSchema for CloudEvent {
    fn schema_name() -> Cow<'static, str> {
        "CloudEvent".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let instant = generator.subschema_for::<schema::Instant>();
        let data = generator.subschema_for::<schema::Any>();
        let text = |doc: &str| json_schema!({ "type": ["string", "null"], "description": doc });
        let attribute = |doc: &str| json_schema!({ "type": "string", "description": doc });
        json_schema!({
            "type": "object",
            "description": "An event of CloudEvents 1.0, in its JSON form; other members are extension attributes.",
            "properties": {
                "specversion": text("The version of CloudEvents: `1.0`."),
                "id": attribute("What identifies the event among those of its source."),
                "source": attribute("Where it happened, as a URI reference."),
                "type": attribute("What kind of event it is."),
                "topic": text("By what it is subscribed to; the type, where its publisher names none."),
                "subject": text("What it is about."),
                "time": text("When it happened, as its publisher says, in RFC 3339."),
                "datacontenttype": text("The media type of the data: JSON of some kind."),
                "dataschema": text("The schema of the data, as a URI."),
                "data": data,
                "position": text("Where it is in its namespace; set by the server."),
                "published": { "anyOf": [instant, { "type": "null" }],
                               "description": "When it was published, in log time; set by the server." },
            },
            "required": ["id", "source", "type"],
            "additionalProperties": { "type": ["string", "integer", "boolean"] },
        })
    }
}

/// Events to publish. A body that is one event, or a list of events, is taken too.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct PublishRequest {
    /// The events, in their order; from 1 to 256.
    pub events: Vec<CloudEvent>,
}

impl<'de> Deserialize<'de> for PublishRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let list = |text: &str| serde_json::from_str::<Vec<CloudEvent>>(text).map_err(D::Error::custom);
        if raw.get().trim_start().starts_with('[') {
            return Ok(Self { events: list(raw.get())? });
        }
        let members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(raw.get()).map_err(D::Error::custom)?;
        match members.get("events").filter(|events| events.get().starts_with('[')) {
            Some(events) if members.len() == 1 => Ok(Self { events: list(events.get())? }),
            Some(_) => Err(D::Error::custom("beside `events` there is another member")),
            None => Ok(Self { events: vec![CloudEvent::of(members).map_err(D::Error::custom)?] }),
        }
    }
}

/// The place of an event that was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublishedEvent {
    /// Where it is.
    #[schemars(with = "schema::Position")]
    pub position: Position,
    /// Whether an event of the same source and id was published before: it is that one's place.
    pub deduplicated: bool,
}

/// The places of events that were published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublishedEvents {
    /// One for each event, in the order of the request.
    pub events: Vec<PublishedEvent>,
}

const EVENTS: Spec = Spec { group: "events", ..Spec::READ };
pub(crate) const CHANGE: Spec = Spec { group: "events", ..Spec::CHANGE };

/// Publishes events.
pub struct PublishEvents;

impl Operation for PublishEvents {
    type Params = NoParams;
    type Body = PublishRequest;
    type Reply = PublishedEvents;
    const SPEC: Spec = Spec {
        id: "publishEvents",
        path: "/v1/events",
        doc: "Publishes events of CloudEvents 1.0: one or many, as JSON, or one with its attributes in header fields.",
        words: &["events publish"],
        accepts: Accepts::CloudEvents,
        returns: Returns::Json,
        answers: &[(200, "Their places; the events are durable.")],
        errors: &[Code::BadEvent, Code::BadTopic, Code::BadJson, Code::PayloadTooLarge, Code::LimitReached],
        ..CHANGE
    };
}

/// Which events to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListEventsParams {
    /// Only of topics that match this pattern: `*` is any one segment, `>` at the end the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Only events behind this position: the `next` of the page before. Without it and `since`, from the oldest on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Only events that were published at this instant or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// How many at most; 100 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = limits::PAGE_ITEMS_MAX))]
    pub limit: Option<usize>,
}

/// Lists events.
pub struct ListEvents;

impl Operation for ListEvents {
    type Params = ListEventsParams;
    type Body = ();
    type Reply = Page<CloudEvent>;
    const SPEC: Spec = Spec {
        id: "listEvents",
        path: "/v1/events",
        doc: "Lists events in the order in which they were published.",
        words: &["events list"],
        answers: &[(200, "A page; its `next` goes into `after`.")],
        errors: &[Code::EventsTrimmed, Code::BadCursor, Code::BadTopic, Code::BadTime],
        ..EVENTS
    };
}

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventParams {
    /// Its position.
    #[schemars(with = "schema::Position")]
    pub position: Position,
}

/// Shows an event.
pub struct ShowEvent;

impl Operation for ShowEvent {
    type Params = EventParams;
    type Body = ();
    type Reply = CloudEvent;
    const SPEC: Spec = Spec {
        id: "showEvent",
        path: "/v1/events/{position}",
        doc: "Shows an event.",
        words: &["events show"],
        answers: &[(200, "The event.")],
        errors: &[Code::EventNotFound],
        ..EVENTS
    };
}

/// The data of an event.
pub struct EventData;

impl Operation for EventData {
    type Params = EventParams;
    type Body = ();
    type Reply = Document;
    const SPEC: Spec = Spec {
        id: "eventData",
        path: "/v1/events/{position}/data",
        doc: "The data of an event, in full.",
        returns: Returns::Document,
        answers: &[(200, "The JSON document; `null` where there is none.")],
        errors: &[Code::EventNotFound],
        ..EVENTS
    };
}

/// Which events to follow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WatchEventsParams {
    /// Only of topics that match this pattern: `*` is any one segment, `>` at the end the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Only events behind this position. Without it and `since`, only those that are published from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Only events that were published at this instant or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The id of the last event that was seen; goes before `after`. Browsers send it by themselves.
    #[serde(rename = "Last-Event-ID", default, skip_serializing_if = "Option::is_none")]
    pub last_event_id: Option<String>,
}

/// A place up to which a follower has seen everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SeenEvents {
    /// The place.
    #[schemars(with = "schema::Position")]
    pub position: Position,
}

/// What a follower of events gets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WatchedEvent {
    /// An event; its position is the id.
    Event(Box<CloudEvent>),
    /// Nothing matched up to this position, which is the id.
    Seen(SeenEvents),
    /// Why the watch ends; nothing follows.
    Error(Problem),
}

/// Follows events.
pub struct WatchEvents;

impl Operation for WatchEvents {
    type Params = WatchEventsParams;
    type Body = ();
    type Reply = WatchedEvent;
    const SPEC: Spec = Spec {
        id: "watchEvents",
        path: "/v1/events/watch",
        doc: "Follows events: `event` (its position is the id), `seen` (nothing matched up to there) and `error`.",
        words: &["events watch"],
        headers: &["Last-Event-ID"],
        returns: Returns::Events,
        answers: &[(200, "Server-sent events, without end.")],
        errors: &[Code::EventsTrimmed, Code::BadCursor, Code::BadTopic, Code::BadTime],
        ..EVENTS
    };
}

/// How long and how many events a namespace keeps. A bound that is `null` or left out bounds nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventRetention {
    /// How long an event is kept after its publication.
    #[serde(default)]
    #[schemars(with = "Option<schema::Duration>")]
    pub age: Option<Span>,
    /// Bytes of attributes and data together.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// How many events.
    #[serde(default)]
    pub count: Option<u64>,
}

/// The events that a namespace keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventStream {
    /// How long and how many it keeps.
    pub keep: EventRetention,
    /// Events that it keeps.
    pub events: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The oldest of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Position>")]
    pub oldest: Option<Position>,
    /// The last event that was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Position>")]
    pub last: Option<Position>,
}

/// Shows what a namespace keeps of its events.
pub struct ShowEventRetention;

impl Operation for ShowEventRetention {
    type Params = NoParams;
    type Body = ();
    type Reply = EventStream;
    const SPEC: Spec = Spec {
        id: "showEventRetention",
        path: "/v1/events/retention",
        doc: "Shows how long and how many events the namespace keeps, and what it holds.",
        words: &["events retention"],
        ..EVENTS
    };
}

/// Sets what a namespace keeps of its events.
pub struct SetEventRetention;

impl Operation for SetEventRetention {
    type Params = NoParams;
    type Body = EventRetention;
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "setEventRetention",
        method: Method::Put,
        path: "/v1/events/retention",
        doc: "Sets how long and how many events the namespace keeps; the oldest go first, and what is over goes at once.",
        words: &["events retention"],
        accepts: Accepts::SMALL,
        ..CHANGE
    };
}

/// Whether a name of a header field, behind `ce-`, is an attribute of an event that its publisher may set.
pub fn is_attribute(name: &str) -> bool {
    !matches!(name, "data" | "data_base64" | "datacontenttype")
        && !name.is_empty()
        && (EVENT_NAMES.contains(&name) || name.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> PublishRequest {
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[test]
    fn one_event_a_list_and_a_request_are_the_same() {
        let one =
            r#"{"specversion":"1.0","id":"1","source":"/a","type":"t","data":{"b":1.50,"a":2},"traceparent":"x"}"#;
        let event = read(one);
        assert_eq!(read(&format!("[{one}]")), event);
        assert_eq!(read(&format!(r#"{{"events":[{one}]}}"#)), event);
        let written = serde_json::to_string(&event).unwrap();
        assert_eq!(read(&written), event);
        assert!(
            written.contains(r#""data":{"b":1.50,"a":2}"#) && written.contains(r#""traceparent":"x""#),
            "{written}"
        );
    }

    #[test]
    fn what_is_no_cloud_event_is_named() {
        for (text, said) in [
            (r#"{"specversion":"0.3","id":"1"}"#, "version `0.3`"),
            (r#"{"id":1}"#, "`id` of the event"),
            (r#"{"id":"1","data_base64":"AA=="}"#, "data_base64"),
            (r#"{"id":"1","extra":{}}"#, "`extra` of the event"),
            (r#"{"id":"1","big":4294967296}"#, "`big` of the event"),
            (r#"{"events":[],"more":1}"#, "beside `events`"),
        ] {
            let error = serde_json::from_str::<PublishRequest>(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        assert!(
            is_attribute("partitionkey") && is_attribute("subject") && !is_attribute("data") && !is_attribute("a-b")
        );
    }
}
