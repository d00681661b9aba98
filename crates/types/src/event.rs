//! Events in the terms of CloudEvents 1.0, their positions, and topics.
//!
//! For: what the machine, the doors and the clients all say about an event. Not for: keeping or delivering events (the
//! machine does), or the data of an event (a [`Payload`](crate::Payload)).
//! Invariant: positions of a namespace are in the order in which its events were published, in their text form too for
//! equal lengths; what passes [`EventAttributes::check`] is a CloudEvent and makes no key or row too long.

use std::{collections::BTreeMap, fmt, str::FromStr};

use minicbor::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use crate::position::Position;
use crate::{Code, Error, Result, Seq, Time, bounds::check_count, limits, position};

/// A delivery of an event to a consumer: the event, and the record that handed it out, which is its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct DeliveryId {
    /// The event.
    #[n(0)]
    pub position: Position,
    /// The record that handed it out.
    #[n(1)]
    pub token: Seq,
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.position, self.token)
    }
}

impl FromStr for DeliveryId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text.split_once('.');
        let found = parts
            .and_then(|(at, token)| Some(Self { position: at.parse().ok()?, token: Seq(position::number(token)?) }));
        found.ok_or_else(|| {
            Error::new(Code::BadRequest, format!("`{text}` is not a delivery"))
                .hint("name the `delivery` of the answer to the fetch, such as `1042-0.1050`")
        })
    }
}

impl Serialize for DeliveryId {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DeliveryId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The value of an extension attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(untagged)]
pub enum ExtensionValue {
    /// A text; also instants, links and bytes in base64.
    #[n(0)]
    Text(#[n(0)] String),
    /// A whole number of 32 bits.
    #[n(1)]
    Integer(#[n(0)] i32),
    /// `true` or `false`.
    #[n(2)]
    Flag(#[n(0)] bool),
}

impl fmt::Display for ExtensionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => number.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
        }
    }
}

/// The names of the attributes that CloudEvents defines itself, and of the members that hold data: no extension has one
/// of them. `topic`, `position` and `published` are Consort's own.
pub const EVENT_NAMES: [&str; 13] = [
    "specversion",
    "id",
    "source",
    "type",
    "topic",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "data",
    "data_base64",
    "position",
    "published",
];

/// Everything of an event but its data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct EventAttributes {
    /// What identifies the event among those of its source.
    #[n(0)]
    pub id: String,
    /// Where it happened, as a URI reference.
    #[n(1)]
    pub source: String,
    /// What kind of event it is.
    #[n(2)]
    pub kind: String,
    /// By what it is subscribed to; the type, where its publisher names none.
    #[n(3)]
    pub topic: String,
    /// What it is about.
    #[n(4)]
    pub subject: Option<String>,
    /// When it happened, as its publisher says, in RFC 3339.
    #[n(5)]
    pub time: Option<String>,
    /// The media type of the data: JSON of some kind.
    #[n(6)]
    pub datacontenttype: Option<String>,
    /// The schema of the data, as a URI.
    #[n(7)]
    pub dataschema: Option<String>,
    /// Extension attributes.
    #[n(8)]
    pub extensions: BTreeMap<String, ExtensionValue>,
}

impl EventAttributes {
    /// Refuses what is not a CloudEvent, or over a limit.
    ///
    /// # Errors
    /// [`Code::BadEvent`], [`Code::BadTopic`], [`Code::LimitReached`].
    pub fn check(&self) -> Result<()> {
        check_attribute("id", &self.id, limits::EVENT_ID_BYTES_MAX)?;
        check_attribute("source", &self.source, limits::EVENT_ATTRIBUTE_BYTES_MAX)?;
        check_attribute("type", &self.kind, limits::EVENT_ATTRIBUTE_BYTES_MAX)?;
        let optional = [
            ("subject", &self.subject),
            ("time", &self.time),
            ("datacontenttype", &self.datacontenttype),
            ("dataschema", &self.dataschema),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                check_attribute(name, value, limits::EVENT_ATTRIBUTE_BYTES_MAX)?;
            }
        }
        if let Some(time) = self.time.as_deref().filter(|time| !is_instant(time)) {
            return Err(Error::new(Code::BadEvent, format!("the `time` of the event, `{time}`, is not an instant"))
                .hint("write it as RFC 3339, such as `2026-11-22T10:00:00Z` or `2026-11-22T11:00:00+01:00`"));
        }
        if let Some(media) = self.datacontenttype.as_deref().filter(|media| !is_json(media)) {
            return Err(Error::new(Code::BadEvent, format!("the data of the event is `{media}`, and must be JSON"))
                .hint("publish other data as a text in JSON, or elsewhere with a link to it"));
        }
        check_count("extension attributes", self.extensions.len(), limits::EVENT_EXTENSIONS_MAX)?;
        self.extensions.iter().try_for_each(|(name, value)| check_extension(name, value))?;
        check_topic(&self.topic).map_err(|error| if self.topic == self.kind { of_type(error) } else { error })
    }

    /// Bytes that the attributes take, roughly.
    pub fn bytes(&self) -> u64 {
        let optional = [&self.subject, &self.time, &self.datacontenttype, &self.dataschema];
        let optional: usize = optional.into_iter().flatten().map(String::len).sum();
        let extensions: usize = self.extensions.iter().map(|(name, value)| name.len() + value.to_string().len()).sum();
        let own = self.id.len() + self.source.len() + self.kind.len() + self.topic.len();
        (own + optional + extensions) as u64
    }
}

fn of_type(error: Error) -> Error {
    error.hint("the topic is the type of the event where none is given; give one as `topic`")
}

fn check_attribute(name: &str, value: &str, max: usize) -> Result<()> {
    if value.is_empty() {
        return Err(Error::new(Code::BadEvent, format!("the `{name}` of the event is missing or empty"))
            .hint("an event has `id`, `source` and `type`; what it has beside them is not empty"));
    }
    if value.len() > max {
        let message = format!("the `{name}` of the event has `{}` bytes, the limit is {max}", value.len());
        return Err(Error::new(Code::LimitReached, message).hint("put what is long into the data"));
    }
    if value.chars().any(char::is_control) {
        return Err(Error::new(Code::BadEvent, format!("the `{name}` of the event has a control character"))
            .hint("attributes are plain text; put anything else into the data"));
    }
    Ok(())
}

fn check_extension(name: &str, value: &ExtensionValue) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let max = limits::EVENT_EXTENSION_NAME_BYTES_MAX;
    if name.is_empty() || name.len() > max || !name.bytes().all(plain) || EVENT_NAMES.contains(&name) {
        return Err(Error::new(Code::BadEvent, format!("`{name}` cannot be an extension attribute"))
            .hint(format!("its name has 1 to {max} lower-case letters and digits")));
    }
    match value {
        ExtensionValue::Text(text) => check_attribute(name, text, limits::EVENT_ATTRIBUTE_BYTES_MAX),
        ExtensionValue::Integer(_) | ExtensionValue::Flag(_) => Ok(()),
    }
}

/// Whether a text is an instant of RFC 3339, in UTC or with an offset.
fn is_instant(text: &str) -> bool {
    if Time::parse_rfc3339(text).is_ok() {
        return true;
    }
    let Some((local, offset)) = text.len().checked_sub(6).and_then(|at| text.split_at_checked(at)) else {
        return false;
    };
    let offset = offset.strip_prefix(['+', '-']).and_then(|offset| offset.split_once(':'));
    let small = |text: &str, end: u8| text.len() == 2 && text.parse::<u8>().is_ok_and(|number| number < end);
    let is_offset = offset.is_some_and(|(hours, minutes)| small(hours, 24) && small(minutes, 60));
    is_offset && Time::parse_rfc3339(&format!("{local}Z")).is_ok()
}

/// Whether a media type is JSON of some kind.
pub fn is_json(media: &str) -> bool {
    let kind = media.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    kind.split_once('/').is_some_and(|(_, sub)| sub == "json" || sub.ends_with("+json"))
}

fn bad_topic(what: &str, text: &str, why: &str) -> Error {
    Error::new(Code::BadTopic, format!("`{text}` cannot be a {what}: {why}"))
        .hint("write segments with dots between, such as `orders.created`; patterns may have `*` and a `>` at the end")
}

fn check_segments(what: &str, text: &str, may: impl Fn(usize, usize, &str) -> bool) -> Result<()> {
    let (bytes, max) = (text.len(), limits::EVENT_TOPIC_BYTES_MAX);
    if bytes > max {
        return Err(Error::new(Code::LimitReached, format!("the {what} has `{bytes}` bytes, the limit is {max}"))
            .hint("put what is long into the data"));
    }
    let segments: Vec<&str> = text.split('.').collect();
    check_count("segments of a topic", segments.len(), limits::EVENT_TOPIC_SEGMENTS_MAX)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b':' | b'/');
    for (at, segment) in segments.iter().enumerate() {
        if segment.is_empty() {
            return Err(bad_topic(what, text, "a segment is empty"));
        }
        if !segment.bytes().all(plain) && !may(at, segments.len(), segment) {
            return Err(bad_topic(what, text, "a segment has letters, digits, `_`, `-`, `:` and `/`"));
        }
    }
    Ok(())
}

/// Refuses what is not a topic.
///
/// # Errors
/// [`Code::BadTopic`], [`Code::LimitReached`].
pub fn check_topic(topic: &str) -> Result<()> {
    check_segments("topic", topic, |_, _, _| false)
}

/// Refuses what is not a pattern of topics: a topic in which `*` may be any one segment and `>`, at the end, one or
/// more.
///
/// # Errors
/// As [`check_topic`].
pub fn check_topic_pattern(pattern: &str) -> Result<()> {
    check_segments("pattern of topics", pattern, |at, count, segment| match segment {
        "*" => true,
        ">" => at + 1 == count,
        _ => false,
    })
}

/// Whether a topic matches a pattern.
pub fn topic_matches(pattern: &str, topic: &str) -> bool {
    let mut segments = topic.split('.');
    for wanted in pattern.split('.') {
        match (wanted, segments.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(segment)) if wanted == segment => {}
            _ => return false,
        }
    }
    segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> EventAttributes {
        EventAttributes {
            id: "1".into(),
            source: "/shop".into(),
            kind: "orders.created".into(),
            topic: "orders.created".into(),
            ..EventAttributes::default()
        }
    }

    #[test]
    fn patterns_match_as_those_of_nats() {
        for (pattern, topic, matches) in [
            ("orders.created", "orders.created", true),
            ("orders.created", "orders.created.eu", false),
            ("orders.*", "orders.created", true),
            ("orders.*", "orders", false),
            ("orders.*", "orders.created.eu", false),
            ("*.created", "orders.created", true),
            ("orders.>", "orders.created.eu", true),
            ("orders.>", "orders", false),
            (">", "orders", true),
            ("orders.*.eu", "orders.created.eu", true),
        ] {
            check_topic_pattern(pattern).unwrap();
            check_topic(topic).unwrap();
            assert_eq!(topic_matches(pattern, topic), matches, "{pattern} {topic}");
        }
        for bad in ["", ".", "a..b", "a.", "a b", "a.>.b", "a.b*", "ä", ">>"] {
            assert!(matches!(check_topic_pattern(bad).unwrap_err().code, Code::BadTopic), "{bad}");
        }
        assert_eq!(check_topic("a.*").unwrap_err().code, Code::BadTopic);
    }

    #[test]
    fn topics_have_limits() {
        let longest = format!("a.{}", "x".repeat(limits::EVENT_TOPIC_BYTES_MAX - 2));
        check_topic(&longest).unwrap();
        assert_eq!(check_topic(&format!("{longest}x")).unwrap_err().code, Code::LimitReached);
        let deepest = vec!["a"; limits::EVENT_TOPIC_SEGMENTS_MAX].join(".");
        check_topic(&deepest).unwrap();
        assert_eq!(check_topic(&format!("{deepest}.a")).unwrap_err().code, Code::LimitReached);
    }

    #[test]
    fn positions_and_deliveries_survive_their_text_form() {
        let position = Position { seq: Seq(1042), n: 7 };
        assert_eq!(position.to_string().parse::<Position>().unwrap(), position);
        let delivery = DeliveryId { position, token: Seq(2000) };
        assert_eq!(delivery.to_string().parse::<DeliveryId>().unwrap(), delivery);
        for bad in ["", "1", "1-", "-1", "01-0", "+1-0", "1-0-0", "1-4294967296"] {
            assert_eq!(bad.parse::<Position>().unwrap_err().code, Code::BadCursor, "{bad}");
            assert!(format!("{bad}.1").parse::<DeliveryId>().is_err(), "{bad}");
        }
        assert!(Position { seq: Seq(1), n: u32::MAX }.next() == Position { seq: Seq(2), n: 0 });
    }

    #[test]
    fn attributes_are_checked_with_their_names() {
        event().check().unwrap();
        let long = "x".repeat(limits::EVENT_ATTRIBUTE_BYTES_MAX);
        EventAttributes { subject: Some(long.clone()), ..event() }.check().unwrap();
        let longest = "x".repeat(limits::EVENT_ID_BYTES_MAX);
        EventAttributes { id: longest.clone(), ..event() }.check().unwrap();
        let extension =
            |name: &str, value| EventAttributes { extensions: [(name.to_owned(), value)].into(), ..event() };
        extension("partitionkey", ExtensionValue::Integer(7)).check().unwrap();
        extension(&"a".repeat(limits::EVENT_EXTENSION_NAME_BYTES_MAX), ExtensionValue::Flag(true)).check().unwrap();
        let many = |count: usize| {
            let all = (0..count).map(|n| (format!("e{n}"), ExtensionValue::Flag(true)));
            EventAttributes { extensions: all.collect(), ..event() }
        };
        many(limits::EVENT_EXTENSIONS_MAX).check().unwrap();
        for time in ["2026-11-22T10:00:00Z", "2026-11-22T10:00:00.5+01:30", "2026-11-22T10:00:00-08:00"] {
            EventAttributes { time: Some(time.into()), ..event() }.check().unwrap();
        }
        for (bad, code) in [
            (EventAttributes { id: String::new(), ..event() }, Code::BadEvent),
            (EventAttributes { id: format!("{longest}x"), ..event() }, Code::LimitReached),
            (EventAttributes { source: "a\nb".into(), ..event() }, Code::BadEvent),
            (EventAttributes { subject: Some(format!("{long}x")), ..event() }, Code::LimitReached),
            (EventAttributes { time: Some("soon".into()), ..event() }, Code::BadEvent),
            (EventAttributes { time: Some("2026-11-22T10:00:00+25:00".into()), ..event() }, Code::BadEvent),
            (EventAttributes { datacontenttype: Some("text/xml".into()), ..event() }, Code::BadEvent),
            (EventAttributes { kind: "Not a topic".into(), topic: "Not a topic".into(), ..event() }, Code::BadTopic),
            (extension("Upper", ExtensionValue::Flag(true)), Code::BadEvent),
            (extension("data", ExtensionValue::Flag(true)), Code::BadEvent),
            (
                extension(&"a".repeat(limits::EVENT_EXTENSION_NAME_BYTES_MAX + 1), ExtensionValue::Flag(true)),
                Code::BadEvent,
            ),
            (many(limits::EVENT_EXTENSIONS_MAX + 1), Code::LimitReached),
        ] {
            let error = bad.check().unwrap_err();
            assert!(error.code == code && error.hint.is_some(), "{error:?}");
        }
    }
}
