//! Runs as clients see them.
//!
//! For: what is asked and answered about runs. Not for: asking (see [`super::Client`]).
//! Invariant: what the server sends is understood as a whole or refused by name.

use std::collections::BTreeMap;

use consort_proto::{convert::error_from_wire, v1};
use consort_types::{Code, Error, Result, RunId, Span, Time};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::read_document;

/// A workflow that was deployed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// Its name.
    pub name: String,
    /// Its revision, counted by the server from 1.
    pub revision: u32,
    /// Its content hash, in hexadecimal digits.
    pub hash: String,
    /// Whether this revision is new.
    pub new: bool,
}

impl From<v1::DeployWorkflowResponse> for Deployed {
    fn from(answer: v1::DeployWorkflowResponse) -> Self {
        let v1::DeployWorkflowResponse { name, revision, hash, new } = answer;
        Self { name, revision, hash, new }
    }
}

/// How a run is to be started, beside its workflow and input.
#[derive(Clone, Debug, Default)]
pub struct StartOptions {
    pub(super) version: String,
    pub(super) idempotency_key: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) priority: i32,
    pub(super) timeout: Option<Span>,
}

impl StartOptions {
    /// The newest revision, no labels, priority 0, no time limit.
    pub fn new() -> Self {
        Self::default()
    }

    /// A revision number, or a version as the workflow's author wrote it.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Makes the start repeatable: a second start with the same key gives the same run.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = key.into();
        self
    }

    /// A label, to find the run by.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Its tasks' priority; higher goes first.
    #[must_use]
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// How long the run may take.
    #[must_use]
    pub fn timeout(mut self, span: Span) -> Self {
        self.timeout = Some(span);
        self
    }
}

/// A run that was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// The run.
    pub run: RunId,
    /// Whether its idempotency key had started it before.
    pub existing: bool,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunStatus {
    /// Steps are running or waiting.
    Running,
    /// It was cancelled; what still runs is being stopped, and clean-up steps run.
    Cancelling,
    /// It failed or was cancelled, and completed steps are being compensated.
    Compensating,
    /// Ended: every step did what it should.
    Completed,
    /// Ended: a step failed.
    Failed,
    /// Ended: it was cancelled.
    Cancelled,
    /// It was deleted.
    Deleted,
}

impl RunStatus {
    /// Whether this is final.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::Deleted)
    }

    fn read(status: i32) -> Result<Self> {
        Ok(match v1::RunStatus::try_from(status) {
            Ok(v1::RunStatus::Running) => Self::Running,
            Ok(v1::RunStatus::Cancelling) => Self::Cancelling,
            Ok(v1::RunStatus::Compensating) => Self::Compensating,
            Ok(v1::RunStatus::Completed) => Self::Completed,
            Ok(v1::RunStatus::Failed) => Self::Failed,
            Ok(v1::RunStatus::Cancelled) => Self::Cancelled,
            Ok(v1::RunStatus::Deleted) => Self::Deleted,
            Ok(v1::RunStatus::Unspecified) | Err(_) => {
                let message = format!("the server sent the run status `{status}`, which this client does not know");
                return Err(Error::new(Code::BadRequest, message).hint("use a client of the server's release"));
            }
        })
    }
}

impl From<RunStatus> for v1::RunStatus {
    fn from(status: RunStatus) -> Self {
        match status {
            RunStatus::Running => Self::Running,
            RunStatus::Cancelling => Self::Cancelling,
            RunStatus::Compensating => Self::Compensating,
            RunStatus::Completed => Self::Completed,
            RunStatus::Failed => Self::Failed,
            RunStatus::Cancelled => Self::Cancelled,
            RunStatus::Deleted => Self::Deleted,
        }
    }
}

/// A run.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// The namespace that it belongs to.
    pub namespace: String,
    /// Its workflow.
    pub workflow: String,
    /// Where it stands.
    pub status: RunStatus,
    /// Whether its tasks are held back.
    pub paused: bool,
    /// When it was started.
    pub created: Time,
    /// When it ended.
    pub ended: Option<Time>,
    /// What it is found by.
    pub labels: BTreeMap<String, String>,
    /// Its tasks' priority.
    pub priority: i32,
    /// Its input; absent in listings.
    pub input: Option<Value>,
    /// Its output; absent in listings and where there is none.
    pub output: Option<Value>,
    /// Why it failed or was cancelled.
    pub error: Option<Error>,
}

impl Run {
    pub(super) fn read(run: Option<v1::Run>) -> Result<Self> {
        let run = run.ok_or_else(|| Error::new(Code::BadRequest, "the server's answer has no run"))?;
        let read = |what: &str, bytes: Option<bytes::Bytes>| bytes.map(|bytes| read_document(what, &bytes)).transpose();
        Ok(Self {
            id: run.run.parse()?,
            namespace: run.namespace,
            workflow: run.workflow,
            status: RunStatus::read(run.status)?,
            paused: run.paused,
            created: Time(run.created_us),
            ended: run.ended_us.map(Time),
            labels: run.labels.into_iter().collect(),
            priority: run.priority,
            input: read("input", run.input)?,
            output: read("output", run.output)?,
            error: run.error.map(error_from_wire),
        })
    }

    /// The output of a run that has ended; its error where it has none.
    pub(super) fn into_result<T: DeserializeOwned>(self) -> Result<T> {
        if self.status != RunStatus::Completed {
            let plain = || Error::new(Code::ChildFailed, format!("run `{}` ended without an output", self.id));
            return Err(self.error.clone().unwrap_or_else(plain));
        }
        serde_path_to_error::deserialize(self.output.unwrap_or_default()).map_err(|error| {
            let message = format!("the output does not fit at `{}`: {}", error.path(), error.inner());
            Error::new(Code::BadOutput, message).hint("read it as a `serde_json::Value` to look at it")
        })
    }
}

/// Which runs are asked for. Empty fields ask for nothing.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Runs of this workflow.
    pub workflow: String,
    /// Runs in one of these.
    pub statuses: Vec<RunStatus>,
    /// Runs with these labels.
    pub labels: BTreeMap<String, String>,
    /// Runs on a page, from 1 to 1,000; 0 for 50.
    pub page_size: u32,
}

/// A page of a listing.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next page begins; empty at the end.
    pub next: String,
}
