//! The server itself: status, limits, retention, error pages, its description, the probes.
//!
//! For: what is not about one run, workflow or agent. Not for: configuration (a server's is read at its start).
//! Invariant: a probe reveals nothing but its own result.

use consort_types::{Code, Span, Time};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::{Accepts, Document, ErrorDetail, Items, Method, NoParams, Operation, Returns, Scope, Spec, schema};

const ABOUT: Spec = Spec { group: "server", scope: Scope::Server, ..Spec::READ };

/// Sets how long ended runs are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetentionRequest {
    /// How long; `null` keeps them until they are deleted.
    #[serde(deserialize_with = "present")]
    #[schemars(schema_with = "nullable_duration", required)]
    pub keep: Option<Span>,
}

/// `required` alone would take the `null` away.
fn nullable_duration(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<Option<schema::Duration>>()
}

/// An optional value whose field must be there: leaving it out must not mean "keep without end".
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Span>, D::Error> {
    Option::deserialize(deserializer)
}

/// Sets the retention of a namespace.
pub struct SetRetention;

impl Operation for SetRetention {
    type Params = NoParams;
    type Body = RetentionRequest;
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "setRetention",
        group: "runs",
        method: Method::Put,
        path: "/v1/retention",
        doc: "Sets how long the namespace keeps ended runs.",
        words: &["runs retention"],
        accepts: Accepts::SMALL,
        answers: &[(204, "It is set, and durable.")],
        ..Spec::CHANGE
    };
}

/// How long ended runs are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Retention {
    /// How long, such as `30d`; `null` keeps them until they are deleted.
    #[schemars(schema_with = "nullable_duration", required)]
    pub keep: Option<Span>,
}

/// Shows the retention of a namespace.
pub struct ShowRetention;

impl Operation for ShowRetention {
    type Params = NoParams;
    type Body = ();
    type Reply = Retention;
    const SPEC: Spec = Spec {
        id: "retention",
        group: "runs",
        path: "/v1/retention",
        doc: "How long the namespace keeps ended runs.",
        words: &["runs retention"],
        answers: &[(200, "The retention.")],
        ..Spec::READ
    };
}

/// The instances of one agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentInstances {
    /// The namespace.
    pub namespace: String,
    /// The agent.
    pub agent: String,
    /// Its version.
    pub version: String,
    /// How many instances are connected.
    pub instances: usize,
    /// How many tasks they work on.
    pub in_flight: usize,
    /// Tasks that they could still accept.
    pub available: usize,
}

/// Tasks by outcome; `created` is the sum of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskCounts {
    /// Tasks ever made.
    pub created: u64,
    /// Tasks that wait: for an instance, a back-off, an answer in their journal, or a decision.
    pub waiting: u64,
    /// Tasks that an instance is running.
    pub running: u64,
    /// Tasks that completed.
    pub completed: u64,
    /// Tasks that failed for good or were cancelled.
    pub unsuccessful: u64,
}

/// How the server is doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Log time.
    #[schemars(with = "schema::Instant")]
    pub now: Time,
    /// The last record that was applied.
    pub applied: u64,
    /// The first record that the log still has.
    pub log_first: u64,
    /// The last durable record.
    pub log_last: u64,
    /// The last record that the store's rows reflect.
    pub store_written: u64,
    /// The last record whose rows survive a power cut in the store.
    pub store_synced: u64,
    /// Bytes appended to the log since the start.
    pub log_bytes: u64,
    /// Bytes of rows and blobs handed to the store since the start.
    pub store_bytes: u64,
    /// Groups appended since the start.
    pub groups: u64,
    /// Records appended since the start.
    pub records: u64,
    /// Commands that wait for the next group.
    pub commands_waiting: usize,
    /// Changed rows in memory that were not handed to the store yet.
    pub rows_changed: usize,
    /// Tasks by outcome.
    pub tasks: TaskCounts,
    /// Runs that have not ended.
    pub runs_active: u64,
    /// Tasks that wait for an instance.
    pub tasks_queued: usize,
    /// Why the partition has halted; `null` where it has not.
    pub halted: Option<ErrorDetail>,
    /// Records of the log that operators had refused, in order.
    pub refused: Vec<RefusedRecord>,
    /// Whether the assignment of tasks has stopped.
    pub draining: bool,
    /// Worker instances that are connected, of all namespaces.
    pub instances: usize,
    /// Tasks that worker instances hold, of all namespaces.
    pub in_flight: usize,
    /// The agents of the namespace that are connected.
    pub agents: Vec<AgentInstances>,
    /// How far log time is ahead of the wall clock, such as `2h`.
    #[schemars(with = "schema::Duration")]
    pub clock_lead: Span,
    /// How far the wall clock has leapt ahead of log time, while that is not confirmed.
    #[schemars(with = "schema::Duration")]
    pub clock_leap: Span,
}

/// A record of the log that was not applied, because an operator refused it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefusedRecord {
    /// The record.
    pub record: u64,
    /// The record of the refusal.
    pub by_record: u64,
    /// Why.
    pub reason: String,
    /// The name of the operator.
    pub by: String,
    /// When.
    #[schemars(with = "schema::Instant")]
    pub at: Time,
}

/// How the server is doing.
pub struct ShowStatus;

impl Operation for ShowStatus {
    type Params = NoParams;
    type Body = ();
    type Reply = Status;
    const SPEC: Spec = Spec {
        id: "status",
        path: "/v1/status",
        doc: "How the server is doing.",
        answers: &[(200, "The status.")],
        ..ABOUT
    };
}

/// One built-in limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BuiltInLimit {
    /// Its name.
    pub name: String,
    /// Its value, in the unit at the end of its name.
    pub value: u64,
    /// Why it is there.
    pub doc: String,
}

/// Lists the built-in limits.
pub struct ListLimits;

impl Operation for ListLimits {
    type Params = NoParams;
    type Body = ();
    type Reply = Items<BuiltInLimit>;
    const SPEC: Spec = Spec {
        id: "listLimits",
        path: "/v1/limits",
        doc: "Every built-in limit, with its reason.",
        words: &["limits"],
        answers: &[(200, "The limits, in the order of the reference.")],
        ..ABOUT
    };
}

/// The page of an error code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorPage {
    /// The code.
    pub code: String,
    /// A few words.
    pub title: String,
    /// What the caller should do, in a word.
    pub kind: String,
    /// The HTTP status that goes with it.
    pub status: u16,
    /// When it comes and what to do.
    pub text: String,
}

/// Lists the error codes.
pub struct ListErrors;

impl Operation for ListErrors {
    type Params = NoParams;
    type Body = ();
    type Reply = Items<ErrorPage>;
    const SPEC: Spec = Spec {
        id: "listErrors",
        path: "/v1/errors",
        doc: "Every error code.",
        answers: &[(200, "The pages, in order of their codes.")],
        ..ABOUT
    };
}

/// An error code, and what the caller reads best.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorPageParams {
    /// The code, such as `C0201`.
    pub code: String,
    /// A caller that names a kind of text first gets the page as plain text.
    #[serde(rename = "Accept", default, skip_serializing_if = "Option::is_none")]
    pub accept: Option<String>,
}

/// Shows the page of an error code.
pub struct ShowError;

impl Operation for ShowError {
    type Params = ErrorPageParams;
    type Body = ();
    type Reply = ErrorPage;
    const SPEC: Spec = Spec {
        id: "showError",
        path: "/v1/errors/{code}",
        doc: "The page of an error code (plain text for callers that prefer text, such as a browser).",
        headers: &["Accept"],
        answers: &[(200, "The page.")],
        errors: &[Code::RouteNotFound],
        ..ABOUT
    };
}

/// The OpenAPI document.
pub struct OpenApi;

impl Operation for OpenApi {
    type Params = NoParams;
    type Body = ();
    type Reply = Document;
    const SPEC: Spec = Spec {
        id: "openapi",
        path: "/v1/openapi.json",
        doc: "This document.",
        returns: Returns::Document,
        answers: &[(200, "An OpenAPI 3.1 document.")],
        ..ABOUT
    };
}

/// The result of a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ready {
    /// Always `ok`; what is not is a problem.
    pub status: String,
}

/// Whether the server answers.
pub struct Healthy;

impl Operation for Healthy {
    type Params = NoParams;
    type Body = ();
    type Reply = Ready;
    const SPEC: Spec = Spec {
        id: "healthy",
        path: "/healthz",
        doc: "Whether the server answers at all.",
        answers: &[(200, "It does.")],
        ..ABOUT
    };
}

/// Whether the server accepts commands.
pub struct IsReady;

impl Operation for IsReady {
    type Params = NoParams;
    type Body = ();
    type Reply = Ready;
    const SPEC: Spec = Spec {
        id: "ready",
        path: "/readyz",
        doc: "Whether the server accepts commands: 503 while it stops, and once it has halted.",
        answers: &[(200, "It does.")],
        errors: &[Code::Halted],
        ..ABOUT
    };
}
