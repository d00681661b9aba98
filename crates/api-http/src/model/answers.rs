//! Answers about everything but the inside of runs.
//!
//! For: workflows, the server itself, and errors. Not for: runs (see `runs`) or agents (see `registry`).
//! Invariant: as in the module above.

use consort_workflow as workflow;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A refusal: RFC 9457 with the code, the hint and, for a workflow, every finding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// The path of the code's page.
    pub r#type: String,
    /// The code's title.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong.
    pub detail: String,
    /// The stable code, such as `C0201`.
    pub code: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Every finding in a workflow's source, in order of their places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
}

/// A finding in a workflow's source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnostic {
    /// `error` or `warning`.
    pub severity: String,
    /// A stable short slug, such as `unknown-step`.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// The first byte of the place in the source.
    pub start: usize,
    /// The byte after the place.
    pub end: usize,
    /// What would be right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl From<&workflow::Diagnostic> for Diagnostic {
    fn from(found: &workflow::Diagnostic) -> Self {
        let severity = match found.severity {
            workflow::Severity::Error => "error",
            workflow::Severity::Warning => "warning",
        };
        Self {
            severity: severity.to_owned(),
            code: found.code.to_owned(),
            message: found.message.clone(),
            line: found.line,
            column: found.column,
            start: found.span.start,
            end: found.span.end,
            hint: found.hint.clone(),
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// Whether the source may be deployed.
    pub valid: bool,
    /// The workflow's name, where the source is valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its content hash, where the source is valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Every finding; of a valid source, the warnings.
    pub diagnostics: Vec<Diagnostic>,
}

/// A workflow that was deployed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Deployed {
    /// Its name.
    pub name: String,
    /// Its revision, from 1.
    pub revision: u32,
    /// Its content hash.
    pub hash: String,
    /// Whether this revision is new.
    pub new: bool,
    /// What looks like a mistake.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Diagnostic>,
}

/// A deployed workflow in a few words.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowSummary {
    /// Its name.
    pub name: String,
    /// Its newest revision.
    pub revision: u32,
    /// The version that its author wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it does.
    pub description: String,
    /// Its content hash.
    pub hash: String,
    /// When it was deployed.
    pub deployed: String,
}

/// A deployed workflow with its source.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowSource {
    /// Its name.
    pub name: String,
    /// The version that its author wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it does.
    pub description: String,
    /// Its content hash.
    pub hash: String,
    /// The YAML text.
    pub source: String,
}

/// A step in a drawing.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GraphNode {
    /// Step names from the root, joined by `/`.
    pub path: String,
    /// The step's name.
    pub name: String,
    /// `call`, `group`, `workflow`, `wait` or `approve`.
    pub kind: String,
    /// What it calls, waits for or asks; empty for a group.
    pub target: String,
    /// How often and when.
    pub notes: Vec<String>,
    /// The group that it stands in, by position in `nodes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<usize>,
}

/// Nodes and edges of a workflow.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Graph {
    /// The workflow's name.
    pub name: String,
    /// Every step, a group before the steps inside it.
    pub nodes: Vec<GraphNode>,
    /// From the needed step to the one that needs it, as positions in `nodes`.
    pub edges: Vec<(usize, usize)>,
}

/// A run that was started.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Started {
    /// The run.
    pub run: String,
    /// Whether its idempotency key had started it before.
    pub existing: bool,
}

/// What became of one run of a bulk request.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BulkItem {
    /// The run.
    pub run: String,
    /// Whether it was done (with `dry_run`: always `false`).
    pub done: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<super::ErrorDetail>,
}

/// What became of a bulk request.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BulkResult {
    /// Each run that was meant.
    pub results: Vec<BulkItem>,
    /// The `cursor` with which to go on; absent where no more runs are meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The instances of one agent.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AgentInstances {
    /// The namespace.
    pub namespace: String,
    /// The agent.
    pub agent: String,
    /// Its version.
    pub version: String,
    /// How many instances are connected.
    pub instances: usize,
    /// How many tasks they hold.
    pub held: usize,
    /// How many more they would take.
    pub credit: usize,
}

/// Tasks by what became of them.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TaskCounts {
    /// Tasks ever made.
    pub made: u64,
    /// Tasks that wait.
    pub waiting: u64,
    /// Tasks that an instance holds.
    pub taken: u64,
    /// Tasks that completed.
    pub done: u64,
    /// Tasks that failed for good or were cancelled.
    pub dead: u64,
}

/// How the server is doing.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Log time.
    pub now: String,
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
    /// Tasks by what became of them.
    pub tasks: TaskCounts,
    /// Runs that have not ended.
    pub runs_active: u64,
    /// Tasks that wait for an instance.
    pub tasks_queued: usize,
    /// Why the partition has halted; `null` where it has not.
    pub halted: Option<super::ErrorDetail>,
    /// Whether tasks are handed out no more.
    pub draining: bool,
    /// Instances that are connected, of all namespaces.
    pub instances: usize,
    /// Tasks that instances hold.
    pub tasks_held: usize,
    /// The agents of the namespace that are connected.
    pub agents: Vec<AgentInstances>,
    /// How far log time is ahead of the wall clock, such as `2h`.
    pub clock_lead: String,
    /// How far the wall clock has leapt ahead of log time, while that is not confirmed.
    pub clock_leap: String,
}

/// Whether a probe is content.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Ready {
    /// Always `ok`; what is not is a problem.
    pub status: String,
}

/// One built-in limit.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Bound {
    /// Its name.
    pub name: String,
    /// Its value, in the unit that its name says.
    pub value: u64,
    /// Why it is there.
    pub doc: String,
}

/// Every built-in limit.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Bounds {
    /// In the order of the reference.
    pub bounds: Vec<Bound>,
}

/// The page of an error code.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
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
