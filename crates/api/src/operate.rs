//! Runs, operated: cancel, pause, resume, signal, retry, fork, delete.
//!
//! For: one run at a time. Not for: many (see `bulk`).
//! Invariant: every answer is sent after its command is durable.

use consort_types::{Code, RunId, limits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Accepts, Document, Method, Operation, Returns, Spec, is_default,
    runs::{RunParams, Started},
    schema,
};

/// Nothing: an empty body does as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmptyRequest {}

/// Cancels a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    /// Why, for the history.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Whether the clean-up steps are cancelled too.
    #[serde(default, skip_serializing_if = "is_default")]
    pub force: bool,
}

/// Makes a new run that repeats what had not completed in an old one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryRequest {
    /// The top-level step from which everything is repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The entry of that step's journal from which its code continues; what is before it is kept. Without one, a step that
    /// had not completed continues behind what is before its first entry that failed or has no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<u32>,
}

/// Starts a new run that reuses outcomes of an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForkRequest {
    /// The top-level step from which everything runs again; without one, all that had not completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Another input; without one (or with `null`), the old run's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Document>,
    /// The entry of that step's journal from which its code continues; what is before it is kept. Without one, a step that
    /// had not completed continues behind what is before its first entry that failed or has no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<u32>,
}

/// A run and a signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignalParams {
    /// The run.
    #[schemars(with = "schema::Run")]
    pub run: RunId,
    /// The signal's name.
    pub name: String,
}

const OPERATE: Spec = Spec { group: "runs", errors: &[Code::RunNotFound, Code::RunEnded], ..Spec::CHANGE };
const MAKE: Spec = Spec {
    returns: Returns::Json,
    answers: &[(201, "The new run.")],
    errors: &[Code::RunNotFound, Code::RunActive, Code::StepNotFound, Code::LimitReached],
    ..OPERATE
};

/// Cancels a run.
pub struct CancelRun;

impl Operation for CancelRun {
    type Params = RunParams;
    type Body = CancelRequest;
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "cancelRun",
        path: "/v1/runs/{run}/cancel",
        doc: "Cancels a run and everything below it.",
        words: &["runs cancel"],
        ..OPERATE
    };
}

/// Pauses a run.
pub struct PauseRun;

impl Operation for PauseRun {
    type Params = RunParams;
    type Body = EmptyRequest;
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "pauseRun",
        path: "/v1/runs/{run}/pause",
        doc: "Holds back the tasks of a run.",
        words: &["runs pause"],
        ..OPERATE
    };
}

/// Resumes a run.
pub struct ResumeRun;

impl Operation for ResumeRun {
    type Params = RunParams;
    type Body = EmptyRequest;
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "resumeRun",
        path: "/v1/runs/{run}/resume",
        doc: "Resumes a paused run.",
        words: &["runs resume"],
        ..OPERATE
    };
}

/// A signal was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignalSent {
    /// Where nothing waits for it: that it is kept, and what is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// Sends a signal.
pub struct SignalRun;

impl Operation for SignalRun {
    type Params = SignalParams;
    type Body = Document;
    type Reply = SignalSent;
    const SPEC: Spec = Spec {
        id: "signalRun",
        path: "/v1/runs/{run}/signals/{name}",
        doc: "Sends a signal to a run; the body is its payload. Where nothing waits for it, it is kept, and the answer warns.",
        words: &["runs signal"],
        accepts: Accepts::Document,
        returns: Returns::Json,
        answers: &[(200, "The signal was sent.")],
        errors: &[
            Code::RunNotFound,
            Code::RunEnded,
            Code::BadJson,
            Code::BadInput,
            Code::PayloadTooLarge,
            Code::LimitReached,
        ],
        ..OPERATE
    };
}

/// Retries a run.
pub struct RetryRun;

impl Operation for RetryRun {
    type Params = RunParams;
    type Body = RetryRequest;
    type Reply = Started;
    const SPEC: Spec = Spec {
        id: "retryRun",
        path: "/v1/runs/{run}/retry",
        doc: "Makes a new run that repeats what had not completed, or everything from a step on.",
        words: &["runs retry"],
        ..MAKE
    };
}

/// Forks a run.
pub struct ForkRun;

impl Operation for ForkRun {
    type Params = RunParams;
    type Body = ForkRequest;
    type Reply = Started;
    const SPEC: Spec = Spec {
        id: "forkRun",
        path: "/v1/runs/{run}/fork",
        doc: "Starts a new run that reuses outcomes of this one, optionally with another input.",
        words: &["runs fork"],
        accepts: Accepts::Json { max_bytes: limits::HTTP_BODY_BYTES_MAX, optional: true },
        ..MAKE
    };
}

/// Deletes a run.
pub struct DeleteRun;

impl Operation for DeleteRun {
    type Params = RunParams;
    type Body = ();
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "deleteRun",
        method: Method::Delete,
        path: "/v1/runs/{run}",
        doc: "Deletes an ended run.",
        words: &["runs delete"],
        accepts: Accepts::Nothing,
        errors: &[Code::RunNotFound, Code::RunActive],
        ..OPERATE
    };
}
