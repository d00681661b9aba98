//! The rows of the event bus.
//!
//! For: events, what a namespace keeps of them, subscriptions, deliveries and triggers. Not for: the rules.
//! Invariant: rows are CBOR arrays with field numbers; new fields go at the end and are optional.

use consort_types::{Error, Payload, RunId, Seq, Span, Time, event::EventAttributes, event::Position, limits};
use consort_workflow::Expression;
use minicbor::{Decode, Encode};

use crate::{bus::keys::EventWaiterKey, tables::Row};

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

/// An event that is kept.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct StoredEvent {
    /// Everything but its data.
    #[n(0)]
    pub attributes: EventAttributes,
    /// Its data, where it has any.
    #[n(1)]
    pub data: Option<Payload>,
    /// When it was published, in log time.
    #[n(2)]
    pub published: Time,
    /// How many events of the namespace were published up to this one, itself counted.
    #[n(3)]
    pub ordinal: u64,
}

impl StoredEvent {
    /// Bytes that count against the retention.
    pub fn bytes(&self) -> u64 {
        self.attributes.bytes() + self.data.as_ref().map_or(0, Payload::len)
    }
}

impl Row for StoredEvent {
    fn weight(&self) -> usize {
        512
    }
}

/// Where the event of an id is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct EventPlace {
    /// Its position.
    #[n(0)]
    pub position: Position,
}

impl Row for EventPlace {}

/// How long and how many events a namespace keeps; a bound that is `None` bounds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct EventRetention {
    /// How long an event is kept after its publication.
    #[n(0)]
    pub age: Option<Span>,
    /// Bytes of attributes and data together.
    #[n(1)]
    pub bytes: Option<u64>,
    /// How many events.
    #[n(2)]
    pub count: Option<u64>,
}

impl Default for EventRetention {
    fn default() -> Self {
        Self {
            age: Some(Span::from_secs(limits::EVENT_RETENTION_SECONDS_DEFAULT)),
            bytes: Some(limits::EVENT_RETENTION_BYTES_DEFAULT),
            count: Some(limits::EVENT_RETENTION_COUNT_DEFAULT),
        }
    }
}

/// What a namespace keeps of its events.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub struct EventStream {
    /// What was set; the default without it.
    #[n(0)]
    pub retention: Option<EventRetention>,
    /// Events that were ever published.
    #[n(1)]
    pub published: u64,
    /// Events that are kept: the latest of those.
    #[n(2)]
    pub count: u64,
    /// Bytes of the kept events.
    #[n(3)]
    pub bytes: u64,
    /// The last event that was published.
    #[n(4)]
    pub last: Position,
    /// The last event that was removed.
    #[n(5)]
    pub trimmed: Position,
    /// When the age of the oldest event is looked at; `None` where no timer is armed for it.
    #[n(6)]
    pub age_due: Option<Time>,
    /// Whether a timer is armed that removes more events.
    #[n(7)]
    pub trimming: bool,
    /// Triggers that there are.
    #[n(8)]
    pub triggers: u32,
    /// The last event that every trigger has seen that is neither paused nor catching up.
    #[n(9)]
    pub fired: Position,
    /// The event behind it, where some of those triggers have seen that one too.
    #[n(10)]
    pub showing: Option<Showing>,
    /// Whether a timer is armed that shows triggers more events.
    #[n(11)]
    pub firing: bool,
    /// Subscriptions that there are.
    #[n(12)]
    pub subscriptions: u32,
    /// Steps that wait for an event.
    #[n(13)]
    #[cbor(default)]
    pub waiters: u64,
    /// The last event that every waiting step has been shown.
    #[n(14)]
    #[cbor(default)]
    pub told: Position,
    /// The step that is shown the event behind it next, where some have been.
    #[n(15)]
    pub telling: Option<EventWaiterKey>,
    /// Whether a timer is armed that shows steps more events.
    #[n(16)]
    #[cbor(default)]
    pub continues: bool,
    /// Subscriptions that hand their events out as tasks.
    #[n(17)]
    #[cbor(default)]
    pub handing: u32,
}

impl Row for EventStream {}

/// A step that waits for an event.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct EventWait {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The topic, or the pattern of topics.
    #[n(1)]
    pub topic: String,
}

impl Row for EventWait {}

/// Since when a step waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct WaitsSince {
    /// The last event that was published before.
    #[n(0)]
    pub position: Position,
}

impl Row for WaitsSince {}

/// An event that triggers are being shown, in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Showing {
    /// The event.
    #[n(0)]
    pub position: Position,
    /// The last trigger that has seen it.
    #[n(1)]
    pub by: String,
}

/// A place in the events of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Seen {
    /// The last event that was seen.
    #[n(0)]
    pub position: Position,
    /// How many events there are up to it.
    #[n(1)]
    pub ordinal: u64,
}

/// By what the deliveries of a subscription are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum OrderKey {
    /// The `subject` of the event.
    #[n(0)]
    Subject,
    /// Its extension attribute `partitionkey`.
    #[n(1)]
    PartitionKey,
}

/// How long a delivery waits before the next one of its event: the time doubles from the first wait to the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct BackOff {
    /// After the first delivery.
    #[n(0)]
    pub first: Span,
    /// The longest.
    #[n(1)]
    pub longest: Span,
}

impl BackOff {
    /// The wait after so many deliveries.
    pub fn after(self, deliveries: u32) -> Span {
        let doubled = self.first.0.saturating_mul(1_u64.checked_shl(deliveries.saturating_sub(1)).unwrap_or(u64::MAX));
        Span(doubled.min(self.longest.0))
    }
}

/// What is set for a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SubscriptionSettings {
    /// The topics whose events are delivered.
    #[n(0)]
    pub pattern: String,
    /// Deliver events with the same key one at a time, in their order.
    #[n(1)]
    pub ordered: Option<OrderKey>,
    /// How long a consumer may hold a delivery.
    #[n(2)]
    pub ack_wait: Span,
    /// After how many deliveries an event becomes a dead letter.
    #[n(3)]
    pub max_deliveries: u32,
    /// How long an event waits between its deliveries.
    #[n(4)]
    pub back_off: BackOff,
    /// Deliveries that consumers hold at once.
    #[n(5)]
    pub max_in_flight: u32,
    /// Where its events are sent; without it and `tasks`, consumers fetch them.
    #[n(6)]
    pub push: Option<Push>,
    /// Which of the events of its topics are delivered; all of them without it.
    #[n(7)]
    pub filter: Option<Filter>,
    /// The agents that its events are handed to, as tasks.
    #[n(8)]
    pub tasks: Option<AsTasks>,
}

/// An expression over `event`. Two are the same where their texts are.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(transparent)]
pub struct Filter(#[n(0)] pub Expression);

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.0.source() == other.0.source()
    }
}

impl Eq for Filter {}

/// Who gets the events of a subscription as tasks: each is a run of one step, whose end settles its delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct AsTasks {
    /// The capability.
    #[n(0)]
    pub capability: String,
    /// The agent; any that has the capability, without it.
    #[n(1)]
    pub agent: Option<String>,
    /// How long one attempt may take; as long as it does, without it.
    #[n(2)]
    pub timeout: Option<Span>,
    /// How long the run of an event that was acknowledged is kept; not at all, without it.
    #[n(3)]
    pub keep: Option<Span>,
}

/// The agent that declares a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Owner {
    /// Its name.
    #[n(0)]
    pub agent: String,
    /// The version that declared it last.
    #[n(1)]
    pub version: String,
    /// Whether it declares it no more: the subscription is paused for that.
    #[n(2)]
    pub withdrawn: bool,
}

/// The webhook that the events of a subscription are sent to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Push {
    /// Its address.
    #[n(0)]
    pub url: String,
    /// The name of the secret that they are signed with; never the secret itself.
    #[n(1)]
    pub secret: String,
    /// How long it may take to answer.
    #[n(2)]
    pub timeout: Span,
}

/// A subscription that is paused.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Paused {
    /// Since when.
    #[n(0)]
    pub since: Time,
    /// Why.
    #[n(1)]
    pub reason: Option<String>,
}

/// Why a webhook did not take an event, or could not be used.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PushFailure {
    /// When.
    #[n(0)]
    pub at: Time,
    /// Why.
    #[n(1)]
    pub reason: String,
}

/// A durable subscription: a cursor, and counts of its deliveries.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Subscription {
    /// What was set.
    #[n(0)]
    pub settings: SubscriptionSettings,
    /// When it was made.
    #[n(1)]
    pub created: Time,
    /// The last event that was looked at.
    #[n(2)]
    pub cursor: Position,
    /// The ordinal of that event: how many events there are up to it.
    #[n(3)]
    pub looked: u64,
    /// Deliveries that consumers hold.
    #[n(4)]
    pub in_flight: u32,
    /// Deliveries that are not over, those included.
    #[n(5)]
    pub open: u32,
    /// Dead letters.
    #[n(6)]
    pub dead: u32,
    /// Deliveries ever made.
    #[n(7)]
    pub delivered: u64,
    /// Events that were acknowledged.
    #[n(8)]
    pub acknowledged: u64,
    /// Events that the retention removed before they were looked at, or before they were acknowledged.
    #[n(9)]
    pub missed: u64,
    /// Dead letters that were dropped because there were too many.
    #[n(10)]
    pub overflowed: u64,
    /// Whether it is paused: it hands nothing out, and keeps its place.
    #[n(11)]
    pub paused: Option<Paused>,
    /// Since when its webhook takes nothing.
    #[n(12)]
    pub failing_since: Option<Time>,
    /// The last failure of its webhook.
    #[n(13)]
    pub last_failure: Option<PushFailure>,
    /// The record that made it; zero where an earlier version did.
    #[n(14)]
    #[cbor(default)]
    pub made: Seq,
    /// Events of its topics that its filter has passed over.
    #[n(15)]
    #[cbor(default)]
    pub filtered: u64,
    /// The agent that declares it, where one does.
    #[n(16)]
    pub owner: Option<Owner>,
}

impl Row for Subscription {
    fn weight(&self) -> usize {
        512
    }
}

/// What a delivery waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum DeliveryState {
    /// A consumer holds it until then.
    #[n(0)]
    InFlight(#[n(0)] Time),
    /// It is delivered again from then on.
    #[n(1)]
    Waiting(#[n(0)] Time),
    /// The next fetch gets it.
    #[n(2)]
    Ready,
    /// An earlier event of its key is not acknowledged yet.
    #[n(3)]
    Held,
    /// It is not delivered again by itself, since then.
    #[n(4)]
    Dead(#[n(0)] Time),
    /// It is a task of this run, whose end settles it.
    #[n(5)]
    Task(#[n(0)] RunId),
}

impl DeliveryState {
    /// Whether a consumer or an agent has it.
    pub fn is_in_flight(self) -> bool {
        matches!(self, Self::InFlight(_) | Self::Task(_))
    }
}

/// A delivery that is not over, or a dead letter.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Delivery {
    /// What it waits for.
    #[n(0)]
    pub state: DeliveryState,
    /// The record that handed it out last, while the consumer that got it may still acknowledge it.
    #[n(1)]
    pub token: Option<Seq>,
    /// How often it was delivered.
    #[n(2)]
    pub deliveries: u32,
    /// The hash of its key, in an ordered subscription and where the event has one.
    #[n(3)]
    pub key: Option<u64>,
    /// The consumer that got it last.
    #[n(4)]
    pub consumer: Option<String>,
    /// Why the last delivery failed.
    #[n(5)]
    pub reason: Option<String>,
    /// The event itself, once it has been a task or a dead letter: its retention does not remove that.
    #[n(6)]
    pub event: Option<StoredEvent>,
    /// The run that it was a task of last. It is kept for as long as the delivery is.
    #[n(7)]
    pub run: Option<RunId>,
}

impl Delivery {
    /// One that was not made yet, of an event with this hash of its key.
    pub(crate) fn fresh(key: Option<u64>) -> Self {
        let state = DeliveryState::Held;
        Self { state, token: None, deliveries: 0, key, consumer: None, reason: None, event: None, run: None }
    }
}

impl Row for Delivery {}

/// What a trigger does with an event.
#[derive(Clone, Debug, Encode, Decode)]
pub enum TriggerAction {
    /// Starts a run.
    #[n(0)]
    Start {
        /// The workflow.
        #[n(0)]
        workflow: String,
        /// A revision number or an author's version; the one that the name takes, without it.
        #[n(1)]
        version: Option<String>,
        /// The input; `event.data` without it.
        #[n(2)]
        input: Option<Expression>,
    },
    /// Sends a signal to a run.
    #[n(1)]
    Signal {
        /// The id of the run, as a text.
        #[n(0)]
        run: Expression,
        /// The signal's name.
        #[n(1)]
        name: String,
        /// Its payload; `event.data` without it.
        #[n(2)]
        payload: Option<Expression>,
    },
}

impl TriggerAction {
    pub(crate) fn expressions(&self) -> impl Iterator<Item = &Expression> {
        let (first, second) = match self {
            Self::Start { input, .. } => (input.as_ref(), None),
            Self::Signal { run, payload, .. } => (Some(run), payload.as_ref()),
        };
        first.into_iter().chain(second)
    }
}

impl PartialEq for TriggerAction {
    fn eq(&self, other: &Self) -> bool {
        let source = |expression: &Option<Expression>| expression.as_ref().map(|found| found.source().to_owned());
        match (self, other) {
            (
                Self::Start { workflow, version, input },
                Self::Start { workflow: other_workflow, version: other_version, input: other_input },
            ) => (workflow, version, source(input)) == (other_workflow, other_version, source(other_input)),
            (
                Self::Signal { run, name, payload },
                Self::Signal { run: other_run, name: other_name, payload: other_payload },
            ) => (run.source(), name, source(payload)) == (other_run.source(), other_name, source(other_payload)),
            _ => false,
        }
    }
}

/// What is set for a trigger.
#[derive(Clone, Debug, Encode, Decode)]
pub struct TriggerSettings {
    /// The topics that it looks at.
    #[n(0)]
    pub pattern: String,
    /// Which of their events it acts on; all of them without it.
    #[n(1)]
    pub filter: Option<Expression>,
    /// What it does.
    #[n(2)]
    pub action: TriggerAction,
}

impl PartialEq for TriggerSettings {
    fn eq(&self, other: &Self) -> bool {
        let filter = |settings: &Self| settings.filter.as_ref().map(|found| found.source().to_owned());
        self.pattern == other.pattern && filter(self) == filter(other) && self.action == other.action
    }
}

/// An event with which a trigger could not do what it does.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct TriggerFailure {
    /// The event.
    #[n(0)]
    pub position: Position,
    /// When.
    #[n(1)]
    pub at: Time,
    /// Why.
    #[n(2)]
    pub error: Error,
}

/// A trigger.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Trigger {
    /// What was set.
    #[n(0)]
    pub settings: TriggerSettings,
    /// When it was made.
    #[n(1)]
    pub created: Time,
    /// The last event before it was made.
    #[n(2)]
    pub since: Position,
    /// Whether it is paused: it keeps its place.
    #[n(3)]
    pub paused: bool,
    /// The last event that it has seen, where it is paused or behind the others.
    #[n(4)]
    pub behind: Option<Seen>,
    /// Events that it has acted on.
    #[n(5)]
    pub fired: u64,
    /// Events of its topics that its filter has passed over.
    #[n(6)]
    pub filtered: u64,
    /// Events with which it failed.
    #[n(7)]
    pub failed: u64,
    /// Events that the retention removed while it was paused or behind, of any topic.
    #[n(8)]
    pub missed: u64,
    /// When it acted last.
    #[n(9)]
    pub last_fired: Option<Time>,
    /// The latest failures, the newest last; at most [`limits::EVENT_TRIGGER_FAILURES_MAX`].
    #[n(10)]
    pub failures: Vec<TriggerFailure>,
}

impl Row for Trigger {
    fn weight(&self) -> usize {
        2_048
    }
}
