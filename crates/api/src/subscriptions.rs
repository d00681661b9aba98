//! Durable subscriptions to events: consumers fetch deliveries, and settle each of them.
//!
//! For: subscriptions, their deliveries and their dead letters. Not for: following events without keeping a place (see
//! `events`).
//! Invariant: an answer to a change is sent after its command is durable.

use consort_types::{
    Code, RunId, Span, Time,
    event::{DeliveryId, Position},
    limits,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Accepts, EmptyRequest, Method, Operation, Page, PageParams, Problem, Returns, Spec,
    events::{CHANGE, CloudEvent},
    schema,
};

/// By what the deliveries of a subscription are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderKey {
    /// The `subject` of the event.
    Subject,
    /// Its extension attribute `partitionkey`.
    Partitionkey,
}

/// How long an event waits between its deliveries: the time doubles from the first wait to the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackOff {
    /// After the first delivery.
    #[schemars(with = "schema::Duration")]
    pub first: Span,
    /// The longest.
    #[schemars(with = "schema::Duration")]
    pub longest: Span,
}

/// A webhook that the events of a subscription are sent to, signed as in Standard Webhooks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Push {
    /// Its address: `https://HOST[:PORT]/PATH`, or `http` where the server may reach it so. It is kept and shown.
    pub url: String,
    /// The name of the secret that the events are signed with: a file of this name in the server's folder `webhook-secrets`.
    pub secret: String,
    /// How long it may take to answer, shorter than `ack_wait`; 15 seconds without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub timeout: Option<Span>,
}

/// The agents that the events of a subscription are handed to, as tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AsTasks {
    /// The capability; its input is the event.
    pub capability: String,
    /// The agent; any that has the capability, without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// How long one attempt may take; as long as it does, without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub timeout: Option<Span>,
    /// How long the run of an event that was acknowledged is kept; not at all, without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub keep: Option<Span>,
}

/// The agent that declares a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SubscriptionOwner {
    /// Its name.
    pub agent: String,
    /// The version that declared it last.
    pub version: String,
}

/// Why a webhook or an agent did not take an event, or could not be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PushFailure {
    /// When.
    #[schemars(with = "schema::Instant")]
    pub at: Time,
    /// Why.
    pub reason: String,
}

/// Since when a subscription is paused, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PausedSubscription {
    /// Since when.
    #[schemars(with = "schema::Instant")]
    pub since: Time,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Where to begin: one of them, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StartWord {
    /// Behind the last event.
    #[default]
    New,
    /// With the oldest event that is kept.
    All,
}

/// Makes a subscription, or changes the settings of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionRequest {
    /// The topics whose events are delivered: `*` is any one segment, `>` at the end the rest.
    pub topic: String,
    /// Where a new subscription begins; `new` without any of the three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<StartWord>,
    /// A new subscription begins behind this position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// A new subscription begins with the first event that was published at this instant or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub since: Option<Time>,
    /// Deliver events with the same key one at a time, in their order; it cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordered: Option<OrderKey>,
    /// How long a consumer may hold a delivery; 30 seconds without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub ack_wait: Option<Span>,
    /// After how many deliveries an event becomes a dead letter; 10 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_deliveries: Option<u32>,
    /// How long an event waits between its deliveries; from 1 second to 1 minute without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_off: Option<BackOff>,
    /// Deliveries that consumers hold at once; 100 without it, and 64 where they are tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<u32>,
    /// Send the events to this webhook; without it and `tasks`, consumers fetch them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<Push>,
    /// Deliver only events for which this is true: CEL over `event`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Hand the events to these agents, as tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<AsTasks>,
}

/// A subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Subscription {
    /// Its name.
    pub name: String,
    /// The topics whose events are delivered.
    pub topic: String,
    /// By what its deliveries are ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordered: Option<OrderKey>,
    /// How long a consumer may hold a delivery.
    #[schemars(with = "schema::Duration")]
    pub ack_wait: Span,
    /// After how many deliveries an event becomes a dead letter.
    pub max_deliveries: u32,
    /// How long an event waits between its deliveries.
    pub back_off: BackOff,
    /// Deliveries that consumers hold at once.
    pub max_in_flight: u32,
    /// When it was made.
    #[schemars(with = "schema::Instant")]
    pub created_at: Time,
    /// The last event that it has looked at.
    #[schemars(with = "schema::Position")]
    pub position: Position,
    /// Events behind that, of any topic.
    pub lag: u64,
    /// Deliveries that consumers hold.
    pub in_flight: u32,
    /// Events that it has looked at and that are not settled, those in flight included.
    pub open: u32,
    /// Dead letters.
    pub dead_letters: u32,
    /// Deliveries ever made.
    pub delivered: u64,
    /// Events that were acknowledged.
    pub acknowledged: u64,
    /// Events that the retention removed before they were delivered or acknowledged.
    pub missed: u64,
    /// Dead letters that were dropped because there were too many.
    pub dropped: u64,
    /// The webhook that its events are sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<Push>,
    /// Which of the events of its topics are delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Events that the filter has passed over.
    pub filtered: u64,
    /// The agents that its events are handed to, as tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<AsTasks>,
    /// The agent that declares it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared_by: Option<SubscriptionOwner>,
    /// Whether it is paused: it hands nothing out, and keeps its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<PausedSubscription>,
    /// Since when its webhook or its agents take nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub failing_since: Option<Time>,
    /// The last failure of its webhook or its agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<PushFailure>,
}

/// A subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionParams {
    /// Its name.
    pub name: String,
}

const OF_ONE: Spec = Spec { errors: &[Code::SubscriptionNotFound], ..CHANGE };

/// Lists subscriptions.
pub struct ListSubscriptions;

impl Operation for ListSubscriptions {
    type Params = PageParams;
    type Body = ();
    type Reply = Page<Subscription>;
    const SPEC: Spec = Spec {
        id: "listSubscriptions",
        group: "events",
        path: "/v1/subscriptions",
        doc: "Lists subscriptions, with their lag and what is in flight.",
        words: &["subscriptions list"],
        answers: &[(200, "A page, by name.")],
        ..Spec::READ
    };
}

/// Makes a subscription, or changes one.
pub struct SetSubscription;

impl Operation for SetSubscription {
    type Params = SubscriptionParams;
    type Body = SubscriptionRequest;
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "setSubscription",
        method: Method::Put,
        path: "/v1/subscriptions/{name}",
        doc: "Makes a durable subscription, or changes the settings of one, which keeps its place.",
        words: &["subscriptions create"],
        accepts: Accepts::SMALL,
        errors: &[
            Code::SubscriptionClash,
            Code::EventsTrimmed,
            Code::BadTopic,
            Code::BadCursor,
            Code::LimitReached,
            Code::BadWebhook,
            Code::BadTrigger,
            Code::SubscriptionOwned,
        ],
        ..CHANGE
    };
}

/// Shows a subscription.
pub struct ShowSubscription;

impl Operation for ShowSubscription {
    type Params = SubscriptionParams;
    type Body = ();
    type Reply = Subscription;
    const SPEC: Spec = Spec {
        id: "showSubscription",
        group: "events",
        path: "/v1/subscriptions/{name}",
        doc: "Shows a subscription with its lag, what is in flight and how many dead letters there are.",
        words: &["subscriptions show"],
        answers: &[(200, "The subscription.")],
        errors: &[Code::SubscriptionNotFound],
        ..Spec::READ
    };
}

/// Deletes a subscription.
pub struct DeleteSubscription;

impl Operation for DeleteSubscription {
    type Params = SubscriptionParams;
    type Body = ();
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "deleteSubscription",
        method: Method::Delete,
        path: "/v1/subscriptions/{name}",
        doc: "Deletes a subscription with its deliveries and dead letters.",
        words: &["subscriptions delete"],
        accepts: Accepts::Nothing,
        ..OF_ONE
    };
}

/// Pauses a subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseRequest {
    /// Why, for people who look at the subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Pauses a subscription.
pub struct PauseSubscription;

impl Operation for PauseSubscription {
    type Params = SubscriptionParams;
    type Body = PauseRequest;
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "pauseSubscription",
        path: "/v1/subscriptions/{name}/pause",
        doc: "Pauses a subscription: it hands nothing out and pushes nothing, and keeps its place.",
        words: &["subscriptions pause"],
        ..OF_ONE
    };
}

/// Resumes a subscription.
pub struct ResumeSubscription;

impl Operation for ResumeSubscription {
    type Params = SubscriptionParams;
    type Body = EmptyRequest;
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "resumeSubscription",
        path: "/v1/subscriptions/{name}/resume",
        doc: "Resumes a subscription.",
        words: &["subscriptions resume"],
        ..OF_ONE
    };
}

/// Takes deliveries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FetchRequest {
    /// How many at most, up to 256; 1 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// How long to wait for one where there is none, at most 60 seconds; not at all without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub wait: Option<Span>,
    /// Who takes them, for people who look at the subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer: Option<String>,
}

/// A delivery of an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventDelivery {
    /// What to name when it is settled.
    #[schemars(with = "schema::Delivery")]
    pub delivery: DeliveryId,
    /// The how-manyth delivery of the event it is, from 1.
    pub attempt: u32,
    /// Until when it is to be settled; then the event is delivered again.
    #[schemars(with = "schema::Instant")]
    pub until: Time,
    /// The event.
    pub event: CloudEvent,
}

/// What a fetch gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FetchedEvents {
    /// The deliveries; none where there was none in time.
    pub deliveries: Vec<EventDelivery>,
}

/// Takes deliveries of a subscription.
pub struct FetchEvents;

impl Operation for FetchEvents {
    type Params = SubscriptionParams;
    type Body = FetchRequest;
    type Reply = FetchedEvents;
    const SPEC: Spec = Spec {
        id: "fetchEvents",
        path: "/v1/subscriptions/{name}/fetch",
        doc: "Takes deliveries of a subscription, and waits for one where there is none. Each is to be acknowledged.",
        words: &["subscriptions fetch"],
        returns: Returns::Json,
        answers: &[(200, "The deliveries.")],
        errors: &[Code::SubscriptionNotFound, Code::SubscriptionPushes],
        ..CHANGE
    };
}

/// Deliveries to acknowledge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AckRequest {
    /// The deliveries, up to 256.
    #[schemars(with = "Vec<schema::Delivery>")]
    pub deliveries: Vec<DeliveryId>,
}

/// Deliveries to give back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NackRequest {
    /// The deliveries, up to 256.
    #[schemars(with = "Vec<schema::Delivery>")]
    pub deliveries: Vec<DeliveryId>,
    /// How long the events wait before they are delivered again; as the back-off says without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub delay: Option<Span>,
    /// Why, for people who look at the dead letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A delivery that could not be settled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UnsettledDelivery {
    /// The delivery.
    #[schemars(with = "schema::Delivery")]
    pub delivery: DeliveryId,
    /// Why.
    pub problem: Problem,
}

/// The outcome of deliveries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SettledDeliveries {
    /// How many were settled.
    pub settled: u32,
    /// Those that were over before.
    pub refused: Vec<UnsettledDelivery>,
}

/// Acknowledges deliveries.
pub struct AckDeliveries;

impl Operation for AckDeliveries {
    type Params = SubscriptionParams;
    type Body = AckRequest;
    type Reply = SettledDeliveries;
    const SPEC: Spec = Spec {
        id: "ackDeliveries",
        path: "/v1/subscriptions/{name}/ack",
        doc: "Acknowledges deliveries: their events are not delivered again.",
        words: &["subscriptions ack"],
        accepts: Accepts::SMALL,
        returns: Returns::Json,
        answers: &[(200, "How many were acknowledged, and those that were over; where all were over, it is refused.")],
        errors: &[Code::SubscriptionNotFound, Code::DeliveryOver],
        ..CHANGE
    };
}

/// Gives deliveries back.
pub struct NackDeliveries;

impl Operation for NackDeliveries {
    type Params = SubscriptionParams;
    type Body = NackRequest;
    type Reply = SettledDeliveries;
    const SPEC: Spec = Spec {
        id: "nackDeliveries",
        path: "/v1/subscriptions/{name}/nack",
        doc: "Gives deliveries back: their events are delivered again later, or become dead letters.",
        words: &["subscriptions nack"],
        accepts: Accepts::SMALL,
        returns: Returns::Json,
        answers: &[(200, "How many were given back, and those that were over; where all were over, it is refused.")],
        errors: &[Code::SubscriptionNotFound, Code::DeliveryOver],
        ..CHANGE
    };
}

/// Where a subscription continues: exactly one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SeekRequest {
    /// Behind the last event, or with the oldest that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<StartWord>,
    /// Behind this position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// With the first event that was published at this instant or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub since: Option<Time>,
}

/// The place of a subscription that was moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MovedSubscription {
    /// It continues behind this.
    #[schemars(with = "schema::Position")]
    pub position: Position,
}

/// Moves a subscription.
pub struct SeekSubscription;

impl Operation for SeekSubscription {
    type Params = SubscriptionParams;
    type Body = SeekRequest;
    type Reply = MovedSubscription;
    const SPEC: Spec = Spec {
        id: "seekSubscription",
        path: "/v1/subscriptions/{name}/seek",
        doc: "Moves a subscription to another place, to deliver events again or to pass over some. What is in flight is over.",
        words: &["subscriptions seek"],
        accepts: Accepts::SMALL,
        returns: Returns::Json,
        answers: &[(200, "Where it continues.")],
        errors: &[Code::SubscriptionNotFound, Code::EventsTrimmed, Code::BadCursor],
        ..CHANGE
    };
}

/// The dead letters of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLettersParams {
    /// The subscription.
    pub name: String,
    /// Where the page begins: the `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// How many items at most; 100 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = limits::PAGE_ITEMS_MAX))]
    pub limit: Option<usize>,
}

/// An event that is not delivered again by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetter {
    /// The event.
    pub event: CloudEvent,
    /// Since when.
    #[schemars(with = "schema::Instant")]
    pub since: Time,
    /// How often it was delivered.
    pub deliveries: u32,
    /// The consumer that got it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer: Option<String>,
    /// Why the last delivery failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The run that it was a task of last; it is kept as long as the dead letter is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Run>")]
    pub run: Option<RunId>,
}

/// Lists dead letters.
pub struct ListDeadLetters;

impl Operation for ListDeadLetters {
    type Params = DeadLettersParams;
    type Body = ();
    type Reply = Page<DeadLetter>;
    const SPEC: Spec = Spec {
        id: "listDeadLetters",
        group: "events",
        path: "/v1/subscriptions/{name}/dead-letters",
        doc: "Lists the dead letters of a subscription, in the order of their events.",
        words: &["subscriptions dead list"],
        answers: &[(200, "A page.")],
        errors: &[Code::SubscriptionNotFound, Code::BadCursor],
        ..Spec::READ
    };
}

/// Dead letters to settle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLettersRequest {
    /// Their events, up to 256; without any, the oldest ones, as many as one request takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Position>")]
    pub positions: Vec<Position>,
}

/// How many dead letters were settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SettledDeadLetters {
    /// How many.
    pub settled: u32,
}

const DEAD: Spec = Spec {
    returns: Returns::Json,
    answers: &[(200, "How many it were; 0 where there was none.")],
    errors: &[Code::SubscriptionNotFound, Code::EventNotFound],
    ..CHANGE
};

/// Delivers dead letters again.
pub struct RedriveDeadLetters;

impl Operation for RedriveDeadLetters {
    type Params = SubscriptionParams;
    type Body = DeadLettersRequest;
    type Reply = SettledDeadLetters;
    const SPEC: Spec = Spec {
        id: "redriveDeadLetters",
        path: "/v1/subscriptions/{name}/dead-letters/redrive",
        doc: "Delivers dead letters again, as if they had never been delivered.",
        words: &["subscriptions dead redrive"],
        ..DEAD
    };
}

/// Drops dead letters.
pub struct DropDeadLetters;

impl Operation for DropDeadLetters {
    type Params = SubscriptionParams;
    type Body = DeadLettersRequest;
    type Reply = SettledDeadLetters;
    const SPEC: Spec = Spec {
        id: "dropDeadLetters",
        path: "/v1/subscriptions/{name}/dead-letters/drop",
        doc: "Drops dead letters.",
        words: &["subscriptions dead drop"],
        ..DEAD
    };
}
