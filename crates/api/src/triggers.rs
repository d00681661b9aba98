//! Triggers: rules that start a workflow or signal a run for each event that fits.
//!
//! For: their settings, and what they have done. Not for: what consumers do with events (see `subscriptions`).
//! Invariant: a trigger sees each event once; what it could not do with one is shown.

use consort_types::{Code, Time, event::Position};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Accepts, EmptyRequest, ErrorDetail, Items, Method, NoParams, Operation, Spec, events::CHANGE, schema};

/// Starts a run for each event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TriggeredStart {
    /// The workflow, which is looked up by its name when an event comes.
    pub workflow: String,
    /// A revision number or an author's version; without it, the one that the name takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The input, as an expression over `event`; `event.data` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
}

/// Sends a signal for each event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TriggeredSignal {
    /// The id of the run, as an expression over `event` that gives a text.
    pub run: String,
    /// The signal's name.
    pub name: String,
    /// Its payload, as an expression over `event`; `event.data` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
}

/// Makes a trigger, or changes what it does: exactly one of `start` and `signal` is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TriggerRequest {
    /// The topics that it looks at: `*` is any one segment, `>` at the end the rest.
    pub topic: String,
    /// Which of their events it acts on, as an expression over `event` that gives `true` or `false`; all without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Start a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<TriggeredStart>,
    /// Signal a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<TriggeredSignal>,
}

/// An event with which a trigger could not do what it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TriggerFailure {
    /// The event.
    #[schemars(with = "schema::Position")]
    pub position: Position,
    /// When.
    #[schemars(with = "schema::Instant")]
    pub at: Time,
    /// Why.
    pub error: ErrorDetail,
}

/// A trigger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trigger {
    /// Its name.
    pub name: String,
    /// The topics that it looks at.
    pub topic: String,
    /// Which of their events it acts on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// The run that it starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<TriggeredStart>,
    /// The signal that it sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<TriggeredSignal>,
    /// When it was made.
    #[schemars(with = "schema::Instant")]
    pub created_at: Time,
    /// Whether it is paused: it keeps its place.
    pub paused: bool,
    /// Events that it has not seen yet, of any topic.
    pub lag: u64,
    /// Events that it has acted on.
    pub fired: u64,
    /// Events of its topics that its filter has passed over.
    pub filtered: u64,
    /// Events with which it failed.
    pub failed: u64,
    /// Events that the retention removed before it saw them.
    pub missed: u64,
    /// When it acted last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub last_fired_at: Option<Time>,
    /// The latest failures, the newest last.
    pub failures: Vec<TriggerFailure>,
}

/// A trigger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TriggerParams {
    /// Its name.
    pub name: String,
}

const OF_ONE: Spec = Spec { errors: &[Code::TriggerNotFound], ..CHANGE };

/// Lists triggers.
pub struct ListTriggers;

impl Operation for ListTriggers {
    type Params = NoParams;
    type Body = ();
    type Reply = Items<Trigger>;
    const SPEC: Spec = Spec {
        id: "listTriggers",
        group: "events",
        path: "/v1/triggers",
        doc: "Lists triggers, with what they have done and what they could not do.",
        words: &["triggers list"],
        answers: &[(200, "The triggers, by name.")],
        ..Spec::READ
    };
}

/// Makes a trigger, or changes one.
pub struct SetTrigger;

impl Operation for SetTrigger {
    type Params = TriggerParams;
    type Body = TriggerRequest;
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "setTrigger",
        method: Method::Put,
        path: "/v1/triggers/{name}",
        doc: "Makes a trigger, or changes what it does from the next event on that it sees.",
        words: &["triggers set"],
        accepts: Accepts::SMALL,
        errors: &[Code::BadTrigger, Code::BadTopic, Code::LimitReached],
        ..CHANGE
    };
}

/// Shows a trigger.
pub struct ShowTrigger;

impl Operation for ShowTrigger {
    type Params = TriggerParams;
    type Body = ();
    type Reply = Trigger;
    const SPEC: Spec = Spec {
        id: "showTrigger",
        group: "events",
        path: "/v1/triggers/{name}",
        doc: "Shows a trigger with its latest failures.",
        words: &["triggers show"],
        answers: &[(200, "The trigger.")],
        errors: &[Code::TriggerNotFound],
        ..Spec::READ
    };
}

/// Deletes a trigger.
pub struct DeleteTrigger;

impl Operation for DeleteTrigger {
    type Params = TriggerParams;
    type Body = ();
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "deleteTrigger",
        method: Method::Delete,
        path: "/v1/triggers/{name}",
        doc: "Deletes a trigger; what it has started continues.",
        words: &["triggers delete"],
        accepts: Accepts::Nothing,
        ..OF_ONE
    };
}

/// Pauses a trigger.
pub struct PauseTrigger;

impl Operation for PauseTrigger {
    type Params = TriggerParams;
    type Body = EmptyRequest;
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "pauseTrigger",
        path: "/v1/triggers/{name}/pause",
        doc: "Pauses a trigger: it keeps its place, and sees what it has missed when it is resumed.",
        words: &["triggers pause"],
        ..OF_ONE
    };
}

/// Resumes a trigger.
pub struct ResumeTrigger;

impl Operation for ResumeTrigger {
    type Params = TriggerParams;
    type Body = EmptyRequest;
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "resumeTrigger",
        path: "/v1/triggers/{name}/resume",
        doc: "Resumes a trigger.",
        words: &["triggers resume"],
        ..OF_ONE
    };
}
