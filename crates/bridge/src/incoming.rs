//! Messages as they come in.
//!
//! For: the event that a message is, whether it was written as one or not. Not for: fetching it.
//! Invariant: the same message gives an event of the same source and id each time, where its broker gives it any identity.

use std::collections::BTreeMap;

use consort_api::events::CloudEvent;
use consort_types::{
    Payload,
    event::{ExtensionValue, check_topic, is_json, topic_matches},
};

use crate::{
    options::Options,
    outgoing::{BRIDGE, POSITION, SPECVERSION, came_through},
};

/// A message of the other side.
#[derive(Clone, Debug, Default)]
pub(crate) struct Incoming {
    /// Its place there, for people.
    pub(crate) place: String,
    /// The topic, where it names none itself.
    pub(crate) topic: String,
    /// The source, where it is no event.
    pub(crate) source: String,
    /// The id, where it is no event.
    pub(crate) id: String,
    /// The attributes of CloudEvents that it has, by name.
    pub(crate) attributes: BTreeMap<String, String>,
    /// The media type of the body.
    pub(crate) media: Option<String>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// How a message is read.
#[derive(Debug)]
pub(crate) enum Read {
    /// An event to publish.
    Event(Box<CloudEvent>),
    /// It is passed over: it came from here, or has another topic.
    Pass,
    /// It cannot be an event.
    Refused(String),
}

impl Incoming {
    /// The event that it is.
    pub(crate) fn read(&self, options: &Options) -> Read {
        let read = if self.media.as_deref().is_some_and(|media| media.starts_with("application/cloudevents+json")) {
            serde_json::from_slice(&self.body).map_err(|error| format!("it is no event in JSON: {error}"))
        } else {
            self.binary()
        };
        let mut event: CloudEvent = match read {
            Ok(event) => event,
            Err(reason) => return Read::Refused(reason),
        };
        let topic = event.topic.get_or_insert_with(|| self.topic.clone());
        if let Err(error) = check_topic(topic) {
            return Read::Refused(error.message);
        }
        if !topic_matches(&options.topic, topic) || came_through(&event, &options.name) {
            return Read::Pass;
        }
        event.extensions.remove(POSITION);
        event.extensions.insert(BRIDGE.to_owned(), ExtensionValue::Text(options.name.clone()));
        (event.position, event.published) = (None, None);
        Read::Event(Box::new(event))
    }

    /// An event whose attributes are beside its data, or a message that is none yet.
    fn binary(&self) -> Result<CloudEvent, String> {
        let mut rest = self.attributes.clone();
        let mut take = |name: &str| rest.remove(name);
        if let Some(version) = take("specversion").filter(|version| version != SPECVERSION) {
            return Err(format!("it is of version `{version}` of CloudEvents, and must be of `{SPECVERSION}`"));
        }
        let media = take("datacontenttype").or_else(|| self.media.clone());
        let mut event = match (take("id"), take("source"), take("type")) {
            (Some(id), Some(source), Some(kind)) => CloudEvent { id, source, kind, ..CloudEvent::default() },
            _ => CloudEvent {
                id: self.id.clone(),
                source: self.source.clone(),
                kind: self.topic.clone(),
                ..CloudEvent::default()
            },
        };
        event.topic = take("topic");
        event.subject = take("subject");
        event.time = take("time");
        event.dataschema = take("dataschema");
        event.datacontenttype = media.filter(|media| is_json(media));
        event.extensions = rest.into_iter().map(|(name, value)| (name, ExtensionValue::Text(value))).collect();
        if !self.body.is_empty() {
            let payload = Payload::checked("data", &self.body).map_err(|error| error.message)?;
            event.data = Some(payload.into());
        }
        Ok(event)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use consort_peering::Direction;

    use super::*;
    use crate::options::Start;

    fn options() -> Options {
        Options {
            name: "b".into(),
            topic: "orders.>".into(),
            to: "nats://127.0.0.1:1".parse().unwrap(),
            stream: "consort".into(),
            prefix: "consort.".into(),
            direction: Direction::Both,
            start: Start::New,
            lease: Duration::from_secs(1),
        }
    }

    fn message(attributes: &[(&str, &str)], media: &str, body: &str) -> Incoming {
        Incoming {
            topic: "orders.made".into(),
            source: "/nats/consort/1".into(),
            id: "7".into(),
            attributes: attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            media: Some(media.to_owned()),
            body: body.as_bytes().to_vec(),
            ..Incoming::default()
        }
    }

    fn event(message: &Incoming) -> CloudEvent {
        match message.read(&options()) {
            Read::Event(event) => *event,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_message_of_any_form_is_an_event_with_a_stable_identity() {
        let plain = event(&message(&[], "text/plain", "{\"n\":1}"));
        assert_eq!(
            (plain.id.as_str(), plain.source.as_str(), plain.kind.as_str()),
            ("7", "/nats/consort/1", "orders.made")
        );
        let binary =
            [("id", "1"), ("source", "/shop"), ("type", "t"), ("topic", "orders.x"), ("subject", "s"), ("more", "m")];
        let binary = event(&message(&binary, "application/json", "1"));
        assert_eq!(
            (binary.id.as_str(), binary.topic.as_deref(), binary.subject.as_deref()),
            ("1", Some("orders.x"), Some("s"))
        );
        assert_eq!(binary.extensions["more"], ExtensionValue::Text("m".into()));
        let structured = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":2}"#;
        let structured = event(&message(&[], "application/cloudevents+json; charset=utf-8", structured));
        assert_eq!((structured.id.as_str(), structured.topic.as_deref()), ("1", Some("orders.made")));
        assert_eq!(structured.extensions[BRIDGE], ExtensionValue::Text("b".into()));
    }

    #[test]
    fn echoes_and_other_topics_are_passed_and_what_is_no_event_is_refused() {
        let passes = |message: &Incoming| matches!(message.read(&options()), Read::Pass);
        assert!(passes(&message(&[(BRIDGE, "b")], "application/json", "1")));
        assert!(!passes(&message(&[(BRIDGE, "other")], "application/json", "1")));
        assert!(passes(&message(&[("topic", "returns.made")], "application/json", "1")));
        for bad in [
            message(&[], "application/json", "not json"),
            message(&[], "application/cloudevents+json", "1"),
            message(&[("specversion", "0.3")], "application/json", "1"),
            message(&[("topic", "no topic")], "application/json", "1"),
        ] {
            assert!(matches!(bad.read(&options()), Read::Refused(_)), "{bad:?}");
        }
    }
}
