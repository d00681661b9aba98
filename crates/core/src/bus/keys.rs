//! The keys of the event bus.
//!
//! For: events, their ids, deliveries, and the lists that deliveries are in. Not for: what is stored at them (see `rows`).
//! Invariant: rows of one namespace, and of one subscription, are one range each, in the order of positions.

use consort_types::{BlobHash, RunId, StepInstanceId, Time, event::Position};
use minicbor::{Decode, Encode};

use crate::{
    key::{Parts, put_text},
    run::keys::OfRun,
    tables::Key,
};

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventKey {
    /// The namespace.
    pub namespace: String,
    /// Its place in the namespace.
    pub position: Position,
}

impl EventKey {
    pub(crate) fn new(namespace: &str, position: Position) -> Self {
        Self { namespace: namespace.to_owned(), position }
    }
}

impl Key for EventKey {
    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.namespace);
        Key::encode(&self.position, out);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let key = Self { namespace: parts.text()?, position: parts.position()? };
        parts.end(key)
    }
}

/// What identifies an event: the hash of its source and its id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventIdKey {
    /// The namespace.
    pub namespace: String,
    /// The hash.
    pub hash: BlobHash,
}

impl EventIdKey {
    pub(crate) fn new(namespace: &str, source: &str, id: &str) -> Self {
        // Neither has a zero byte: control characters are refused.
        Self { namespace: namespace.to_owned(), hash: BlobHash::of(format!("{source}\0{id}").as_bytes()) }
    }
}

impl Key for EventIdKey {
    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.namespace);
        out.extend(self.hash.0);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let key = Self { namespace: parts.text()?, hash: BlobHash(parts.take()?) };
        parts.end(key)
    }
}

/// A delivery of an event to the consumers of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeliveryKey {
    /// The namespace.
    pub namespace: String,
    /// The subscription.
    pub subscription: String,
    /// The event.
    pub position: Position,
}

impl DeliveryKey {
    pub(crate) fn new(namespace: &str, subscription: &str, position: Position) -> Self {
        Self { namespace: namespace.to_owned(), subscription: subscription.to_owned(), position }
    }
}

impl Key for DeliveryKey {
    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.namespace);
        put_text(out, &self.subscription);
        Key::encode(&self.position, out);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let key = Self { namespace: parts.text()?, subscription: parts.text()?, position: parts.position()? };
        parts.end(key)
    }
}

/// A list of the event bus; part of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum EventList {
    /// Deliveries whose lease or back-off ends, of all subscriptions, by that time.
    Due = 0,
    /// Namespaces whose oldest event may have reached its age, by that time.
    Age = 1,
    /// Namespaces that keep more than their retention allows; due at once.
    Trim = 2,
    /// Namespaces whose triggers have not seen every event; due at once.
    Fire = 3,
    /// Triggers that have been resumed and are behind the others; due at once.
    CatchUp = 4,
    /// Deliveries that wait for a fetch.
    Ready = 5,
    /// Open deliveries of an ordered subscription, by the hash of their key.
    Ordered = 6,
    /// Dead letters.
    Dead = 7,
    /// Namespaces whose waiting steps have not been shown every event; due at once.
    Tell = 8,
    /// Subscriptions that hand out tasks and are to look again, by that time.
    Hand = 9,
    /// Subscriptions that hand out tasks.
    Handing = 10,
}

impl EventList {
    fn from_byte(byte: u8) -> Option<Self> {
        use EventList::{Age, CatchUp, Dead, Due, Fire, Hand, Handing, Ordered, Ready, Tell, Trim};
        [Due, Age, Trim, Fire, CatchUp, Ready, Ordered, Dead, Tell, Hand, Handing].get(usize::from(byte)).copied()
    }
}

/// A place in a list of the event bus.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventListKey {
    /// The list.
    pub list: EventList,
    /// When it is due, in microseconds of log time; of [`EventList::Ordered`] the hash of the key; else 0.
    pub at: u64,
    /// The namespace.
    pub namespace: String,
    /// The subscription or trigger; empty where it is about the namespace.
    pub name: String,
    /// The event; zero where it is about none.
    pub position: Position,
}

impl EventListKey {
    /// The place of a delivery.
    pub(crate) fn of(list: EventList, at: u64, key: &DeliveryKey) -> Self {
        let (namespace, name) = (key.namespace.clone(), key.subscription.clone());
        Self { list, at, namespace, name, position: key.position }
    }

    /// Something about a namespace, or a name in it, that is due.
    pub(crate) fn due(list: EventList, at: Time, namespace: &str, name: &str) -> Self {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        Self { list, at: at.0, namespace, name, position: Position::ZERO }
    }

    /// The least key of a list at a time.
    pub(crate) fn first(list: EventList, at: u64) -> Self {
        Self { list, at, namespace: String::new(), name: String::new(), position: Position::ZERO }
    }
}

impl Key for EventListKey {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.list as u8);
        out.extend(self.at.to_be_bytes());
        put_text(out, &self.namespace);
        put_text(out, &self.name);
        Key::encode(&self.position, out);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let (list, at) = (EventList::from_byte(parts.u8()?)?, parts.u64()?);
        let key = Self { list, at, namespace: parts.text()?, name: parts.text()?, position: parts.position()? };
        parts.end(key)
    }
}

/// A step that waits for an event. Those whose topic is no pattern come first: an event finds them by its own topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct EventWaiterKey {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// Whether the topic has a `*` or `>`.
    #[n(1)]
    pub is_pattern: bool,
    /// The topic, or the pattern.
    #[n(2)]
    pub topic: String,
    /// The step instance.
    #[n(3)]
    pub task: StepInstanceId,
}

impl EventWaiterKey {
    /// The place of a step that waits for a topic, or a pattern of topics.
    pub(crate) fn of(namespace: &str, topic: &str, task: StepInstanceId) -> Self {
        let is_pattern = topic.split('.').any(|segment| matches!(segment, "*" | ">"));
        Self { namespace: namespace.to_owned(), is_pattern, topic: topic.to_owned(), task }
    }

    /// The least key of a topic, or of a pattern.
    pub(crate) fn first(namespace: &str, is_pattern: bool, topic: &str) -> Self {
        let task = StepInstanceId { run: RunId([0; 16]), scope: 0, index: 0 };
        Self { namespace: namespace.to_owned(), is_pattern, topic: topic.to_owned(), task }
    }

    /// A key behind every step that waits for the same: no topic has a zero byte.
    pub(crate) fn past_topic(&self) -> Self {
        Self::first(&self.namespace, self.is_pattern, &format!("{}\0", self.topic))
    }

    /// The next key.
    pub(crate) fn next(&self) -> Self {
        let StepInstanceId { run, scope, index } = self.task;
        let task = match (index.checked_add(1), scope.checked_add(1)) {
            (Some(index), _) => StepInstanceId { run, scope, index },
            (None, Some(scope)) => StepInstanceId { run, scope, index: 0 },
            (None, None) => return self.past_topic(),
        };
        Self { task, ..self.clone() }
    }
}

impl OfRun for EventWaiterKey {
    fn run(&self) -> RunId {
        self.task.run
    }
}

impl Key for EventWaiterKey {
    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.namespace);
        out.push(u8::from(self.is_pattern));
        put_text(out, &self.topic);
        Key::encode(&self.task, out);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let (namespace, kind, topic) = (parts.text()?, parts.u8()?, parts.text()?);
        let is_pattern = match kind {
            0 => false,
            1 => true,
            _ => return None,
        };
        let task = Key::decode(&parts.take::<24>()?)?;
        parts.end(Self { namespace, is_pattern, topic, task })
    }
}
