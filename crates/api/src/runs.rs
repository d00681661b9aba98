//! Runs: start, list, show.
//!
//! For: a run as a whole. Not for: what is inside it (see `inside`), or changing it (see `operate`).
//! Invariant: a start with the same idempotency key answers the same run.

use std::{collections::BTreeMap, fmt, str::FromStr};

use consort_types::{Code, Error, Result, RunId, Span, StepInstanceId, Time, limits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::value::StrDeserializer};

use crate::{Accepts, Document, ErrorDetail, Method, Operation, Page, Spec, is_default, schema};

/// The status of a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Steps are running or waiting.
    Running,
    /// It was cancelled; what still runs is being stopped, and clean-up steps run.
    Cancelling,
    /// It failed or was cancelled, and completed steps are being compensated.
    Compensating,
    /// Ended: every step succeeded.
    Completed,
    /// Ended: a step failed.
    Failed,
    /// Ended: it was cancelled.
    Cancelled,
    /// It was deleted; its rows are being removed.
    Deleted,
    /// A state that this version does not know.
    #[schemars(skip)]
    #[serde(untagged)]
    Other(String),
}

impl RunStatus {
    /// The word that people read.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Compensating => "compensating",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Deleted => "deleted",
            Self::Other(word) => word,
        }
    }

    /// Whether it stays so.
    pub fn has_ended(&self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::Deleted)
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A status by which a listing can be filtered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StatusFilter {
    /// Steps are running or waiting.
    Running,
    /// It is being cancelled.
    Cancelling,
    /// Completed steps are being compensated.
    Compensating,
    /// It ended: every step succeeded.
    Completed,
    /// It ended: a step failed.
    Failed,
    /// It ended: it was cancelled.
    Cancelled,
}

impl FromStr for StatusFilter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::deserialize(StrDeserializer::<serde::de::value::Error>::new(text)).map_err(|_| {
            Error::new(Code::BadRequest, format!("`{text}` is not a state of a run"))
                .hint("use `running`, `cancelling`, `compensating`, `completed`, `failed` or `cancelled`")
        })
    }
}

/// Where a forked run comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Origin {
    /// The run whose outcomes were taken over.
    #[schemars(with = "schema::Run")]
    pub run: RunId,
    /// The step from which it runs again; `null` for "from what had not completed".
    #[serde(default)]
    pub step: Option<String>,
}

/// A run in a few words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunSummary {
    /// The run.
    #[schemars(with = "schema::Run")]
    pub run: RunId,
    /// Its workflow.
    pub workflow: String,
    /// Its status.
    pub status: RunStatus,
    /// Whether the assignment of its tasks is paused.
    pub paused: bool,
    /// Added to the priority of every step.
    pub priority: i32,
    /// When it was started.
    #[schemars(with = "schema::Instant")]
    pub started_at: Time,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub ended_at: Option<Time>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The task of the run above that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Task>")]
    pub parent: Option<StepInstanceId>,
    /// Where it was forked from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Why it failed or was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorDetail>,
}

/// A run with its documents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// In a few words.
    #[serde(flatten)]
    pub summary: RunSummary,
    /// Its namespace.
    pub namespace: String,
    /// The content hash of the definition that it is pinned to.
    pub hash: String,
    /// Its input.
    pub input: Document,
    /// What it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Document>,
    /// When it times out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub deadline: Option<Time>,
    /// Step instances made so far.
    pub steps: u32,
    /// The record that changed it last.
    pub changed: u64,
}

/// A run that was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Started {
    /// The run.
    #[schemars(with = "schema::Run")]
    pub run: RunId,
    /// Whether its idempotency key had started it before.
    pub deduplicated: bool,
}

/// What goes with a start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StartParams {
    /// Makes the start repeatable: the same key with the same request answers the first run.
    #[serde(rename = "Idempotency-Key", default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// The trace of the caller (W3C Trace Context), which the run then belongs to; one that cannot be read is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// Starts a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StartRequest {
    /// The workflow's name.
    pub workflow: String,
    /// A revision number or an author's version; without one, the revision that the name takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The YAML text of the workflow, where the run is to be of this text and not of a deployed revision. Nothing is
    /// deployed: the text is kept as long as the run is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// With `source`: the YAML texts of workflows that the run is to start for the names that it calls without a
    /// version; for other names, it starts those that are deployed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<String>,
    /// The input document; without one (or with `null`), `{}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Document>,
    /// Labels to find the run by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Added to the priority of every step.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: i32,
    /// How long the run may take; by default, the timeout of the workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub timeout: Option<Span>,
}

impl StartRequest {
    /// A start of the revision that the name takes, without input, labels or time limit.
    pub fn of(workflow: impl Into<String>) -> Self {
        Self { workflow: workflow.into(), ..Self::default() }
    }
}

/// Starts a run.
pub struct StartRun;

impl Operation for StartRun {
    type Params = StartParams;
    type Body = StartRequest;
    type Reply = Started;
    const SPEC: Spec = Spec {
        id: "startRun",
        group: "runs",
        method: Method::Post,
        path: "/v1/runs",
        doc: "Starts a run.",
        words: &["run"],
        changes: true,
        headers: &["Idempotency-Key", "traceparent"],
        accepts: Accepts::Json { max_bytes: limits::HTTP_BODY_BYTES_MAX, optional: false },
        answers: &[(200, "The key had started this run before."), (201, "The run was started.")],
        errors: &[
            Code::WorkflowNotFound,
            Code::WorkflowRetired,
            Code::BadWorkflow,
            Code::BadInput,
            Code::BadJson,
            Code::LimitReached,
            Code::PayloadTooLarge,
            Code::IdempotencyMismatch,
        ],
        ..Spec::READ
    };
}

/// Which runs to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListRunsParams {
    /// Only runs in one of these states, with commas between.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<StatusFilter>,
    /// Only runs of this workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// Only runs with this label: `label.KEY=VALUE`, repeatable.
    #[serde(rename = "label", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Whether runs that a run started are listed too.
    #[serde(default, skip_serializing_if = "is_default")]
    pub children: bool,
    /// Only runs that were started at this instant or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub since: Option<Time>,
    /// Only runs that were started before this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub until: Option<Time>,
    /// Only runs with this error code, such as `C0304`: that of their own error, or of a step that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Only runs with this text, in small letters or large, in their input, output, error or labels. Documents of more
    /// than 256 KiB are not looked through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Where the page begins: the `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// How many items at most; 100 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = limits::PAGE_ITEMS_MAX))]
    pub limit: Option<usize>,
}

/// Lists runs.
pub struct ListRuns;

impl Operation for ListRuns {
    type Params = ListRunsParams;
    type Body = ();
    type Reply = Page<RunSummary>;
    const SPEC: Spec = Spec {
        id: "listRuns",
        group: "runs",
        path: "/v1/runs",
        doc: "Lists runs, newest first. A page looks at a bounded number of them, so a search may give an empty one that has a next.",
        words: &["runs list"],
        answers: &[(200, "A page.")],
        errors: &[Code::BadCursor],
        ..Spec::READ
    };
}

/// A run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunParams {
    /// The run.
    #[schemars(with = "schema::Run")]
    pub run: RunId,
}

/// A run, and how long to wait for its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShowRunParams {
    /// The run.
    #[schemars(with = "schema::Run")]
    pub run: RunId,
    /// Waits for the end of the run, at most this long: up to `60s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub wait: Option<Span>,
}

/// Shows a run.
pub struct ShowRun;

impl Operation for ShowRun {
    type Params = ShowRunParams;
    type Body = ();
    type Reply = Run;
    const SPEC: Spec = Spec {
        id: "showRun",
        group: "runs",
        path: "/v1/runs/{run}",
        doc: "Shows a run with its documents.",
        words: &["runs show"],
        answers: &[(200, "The run.")],
        errors: &[Code::RunNotFound, Code::BadDuration],
        ..Spec::READ
    };
}
