//! What a run has beside its steps: values that its code exposes, and updates, whose senders its code answers.
//!
//! For: asking a run, while it is active and after. Not for: signals, which are not answered (see `operate`).
//! Invariant: reading needs no worker; an update is answered at most once, and its answer is read again by its id.

use consort_types::{Code, RunId, Span, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Accepts, Document, ErrorDetail, Items, Operation, Returns, Spec, runs::RunParams, schema};

/// A value that the code of a run exposes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExposedValue {
    /// Its name.
    pub name: String,
    /// The value.
    pub value: Document,
    /// The step whose code exposed it.
    pub step: String,
    /// When.
    #[schemars(with = "schema::Instant")]
    pub at: Time,
}

/// Lists the values that the code of a run exposes.
pub struct QueryRun;

impl Operation for QueryRun {
    type Params = RunParams;
    type Body = ();
    type Reply = Items<ExposedValue>;
    const SPEC: Spec = Spec {
        id: "queryRun",
        group: "runs",
        path: "/v1/runs/{run}/values",
        doc: "Lists the values that the code of a run exposes, by name: of each, the last.",
        words: &["runs query"],
        errors: &[Code::RunNotFound],
        ..Spec::READ
    };
}

/// A run and the name of a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValueParams {
    /// The run.
    #[schemars(with = "schema::Run")]
    pub run: RunId,
    /// The value's name.
    pub name: String,
}

/// A value that the code of a run exposes.
pub struct QueryValue;

impl Operation for QueryValue {
    type Params = ValueParams;
    type Body = ();
    type Reply = Document;
    const SPEC: Spec = Spec {
        id: "queryValue",
        group: "runs",
        path: "/v1/runs/{run}/values/{name}",
        doc: "A value that the code of a run exposes, in full.",
        words: &["runs query"],
        returns: Returns::Document,
        answers: &[(200, "The value.")],
        errors: &[Code::RunNotFound, Code::ValueNotFound],
        ..Spec::READ
    };
}

/// How far an update is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpdateState {
    /// No code has taken it yet.
    Waiting,
    /// Code has it.
    Taken,
    /// The code has answered it.
    Answered,
    /// The code has rejected it.
    Rejected,
    /// It will not be answered: the run, or the step that took it, has ended.
    Unanswered,
    /// A state that this version does not know.
    #[schemars(skip)]
    #[serde(untagged)]
    Other(String),
}

impl UpdateState {
    /// The word that people read.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Waiting => "waiting",
            Self::Taken => "taken",
            Self::Answered => "answered",
            Self::Rejected => "rejected",
            Self::Unanswered => "unanswered",
            Self::Other(word) => word,
        }
    }

    /// Whether it stays so.
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Answered | Self::Rejected | Self::Unanswered)
    }
}

/// An update of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Update {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// How far it is.
    pub state: UpdateState,
    /// What was sent.
    pub input: Document,
    /// When it came.
    #[schemars(with = "schema::Instant")]
    pub received_at: Time,
    /// The step whose code took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// What it was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Document>,
    /// Why it was rejected, or will not be answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorDetail>,
    /// When it was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub answered_at: Option<Time>,
    /// Of an update that was sent just now and that nothing waits for: that it is kept, and what is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// A run, the name of an update, its id, and how long to wait for the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateParams {
    /// The run.
    #[schemars(with = "schema::Run")]
    pub run: RunId,
    /// The update's name.
    pub name: String,
    /// The id of the update, unique in the run: the same again with the same request is the same update. Without one it
    /// gets one.
    #[serde(rename = "Idempotency-Key", default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Waits for the answer, at most this long: up to `60s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub wait: Option<Span>,
}

/// Sends an update.
pub struct UpdateRun;

impl Operation for UpdateRun {
    type Params = UpdateParams;
    type Body = Document;
    type Reply = Update;
    const SPEC: Spec = Spec {
        id: "updateRun",
        group: "runs",
        path: "/v1/runs/{run}/updates/{name}",
        doc: "Sends an update to the code of a run, which answers it; the body is its input.",
        words: &["runs update"],
        headers: &["Idempotency-Key"],
        accepts: Accepts::Document,
        returns: Returns::Json,
        answers: &[(200, "The update is durable; with `wait`, mostly with its answer.")],
        errors: &[
            Code::RunNotFound,
            Code::RunEnded,
            Code::IdempotencyMismatch,
            Code::BadJson,
            Code::BadInput,
            Code::BadDuration,
            Code::PayloadTooLarge,
            Code::LimitReached,
        ],
        ..Spec::CHANGE
    };
}

/// A run, the id of an update, and how long to wait for the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShowUpdateParams {
    /// The run.
    #[schemars(with = "schema::Run")]
    pub run: RunId,
    /// The update's id.
    pub id: String,
    /// Waits for the answer, at most this long: up to `60s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub wait: Option<Span>,
}

/// Shows an update.
pub struct ShowUpdate;

impl Operation for ShowUpdate {
    type Params = ShowUpdateParams;
    type Body = ();
    type Reply = Update;
    const SPEC: Spec = Spec {
        id: "showUpdate",
        group: "runs",
        path: "/v1/runs/{run}/sent-updates/{id}",
        doc: "Shows an update that was sent to a run, with its answer.",
        words: &["runs update"],
        answers: &[(200, "The update.")],
        errors: &[Code::RunNotFound, Code::UpdateNotFound, Code::BadDuration],
        ..Spec::READ
    };
}
