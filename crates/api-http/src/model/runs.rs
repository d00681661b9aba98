//! Runs and what is inside them.
//!
//! For: reading answers about runs. Not for: making them (the engine's views are encoded directly).
//! Invariant: times are RFC 3339 in UTC, ids are texts, documents are JSON values or `{"$blob", "bytes"}`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A page of a listing.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// The `cursor` of the next page; absent at the end. A page may be empty and still have a next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What went wrong in a run.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ErrorDetail {
    /// The stable code, such as `C0304`; `GET /v1/errors/{code}` explains it.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Where a forked run comes from.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Origin {
    /// The run whose outcomes were taken over.
    pub run: String,
    /// The step from which it runs anew; `null` for "from what had not completed".
    #[serde(default)]
    pub step: Option<String>,
}

/// A run in a few words.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RunSummary {
    /// The run.
    pub run: String,
    /// Its workflow.
    pub workflow: String,
    /// `running`, `cancelling`, `compensating`, `completed`, `failed`, `cancelled` or `deleted`.
    pub status: String,
    /// Whether hand-out of its tasks is held back.
    pub paused: bool,
    /// When it was started.
    pub created: String,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The task of the run above that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Where it was forked from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Why it failed or was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorDetail>,
}

/// A run with its documents.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// In a few words.
    #[serde(flatten)]
    pub summary: RunSummary,
    /// Its namespace.
    pub namespace: String,
    /// The content hash of the definition that it is pinned to.
    pub hash: String,
    /// Its input.
    pub input: Value,
    /// What it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Its priority.
    pub priority: i32,
    /// When it times out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// Step instances made so far.
    pub steps: u32,
    /// The record that changed it last.
    pub changed: u64,
}

/// How a fan-out or loop stands.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Instances in all (for a loop: its limit).
    pub total: u32,
    /// Instances that were started.
    pub started: u32,
    /// Instances that have ended.
    pub ended: u32,
    /// Instances that failed.
    pub failed: u32,
}

/// A step instance in the tree of a run.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct StepNode {
    /// Its id.
    pub task: String,
    /// Its name, or its place among its siblings (`[3]`, `#2`).
    pub name: String,
    /// `call`, `group`, `workflow`, `wait`, `approve`, `for_each` or `repeat`.
    pub kind: String,
    /// The capability or agent that is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Where it stands, such as `pending`, `taken`, `completed` or `failed`.
    pub state: String,
    /// The current attempt; 0 where there was none.
    pub attempt: u32,
    /// The instance that holds, or last held, the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// When a wait or back-off is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wakes: Option<String>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorDetail>,
    /// The run that it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child_run: Option<String>,
    /// Whether its outcome was taken over from another run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub copied: bool,
    /// How its fan-out or loop stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// What is below it (of many, those that matter).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub below: Vec<StepNode>,
}

/// A step instance with its documents.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// Its id.
    pub task: String,
    /// Its path.
    pub path: String,
    /// Where it stands.
    pub state: String,
    /// Attempts made.
    pub attempt: u32,
    /// The instance that last held the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<String>,
    /// When the last attempt was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// What it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorDetail>,
    /// Whether its outcome was taken over from another run.
    pub copied: bool,
}

/// An entry of a run's journal.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct JournalEntry {
    /// Its place: ask for what comes after it.
    pub cursor: String,
    /// When, in log time.
    pub time: String,
    /// The step instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The step's path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// What happened, such as `run_started`, `attempt_taken`, `step_completed` or `run_ended`.
    pub event: String,
    /// What belongs to the event: `attempt`, `instance`, `error`, `retry_at`, `decision`, `by`, `comment`, `name`,
    /// `payload`, `reason`, `status`, `entry` or `what`.
    #[serde(flatten)]
    pub details: BTreeMap<String, Value>,
}

/// What an attempt says while it works. It is not kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// The run.
    pub run: String,
    /// The step's path.
    pub step: String,
    /// The attempt.
    pub attempt: u32,
    /// What is said.
    #[serde(flatten)]
    pub live: Live,
}

/// What is said while an attempt works.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Live {
    /// What the attempt is doing.
    Message {
        /// In a few words.
        message: String,
    },
    /// More of its partial output, as text.
    Text {
        /// To be put behind what came before from the same attempt.
        text: String,
    },
    /// A document of its partial output.
    Json {
        /// The document.
        value: Value,
    },
}

/// A step as the journal tells it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReplayedStep {
    /// Its id.
    pub task: String,
    /// Its path.
    pub path: String,
    /// How it ended, or where it stood.
    pub state: String,
    /// Attempts that the journal knows of.
    pub attempts: u32,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// Its recorded output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
}

/// A run as its journal tells it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Replay {
    /// The run.
    pub run: String,
    /// How it ended; absent while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Entries folded.
    pub entries: usize,
    /// The steps, in the order in which they ended or last changed.
    pub steps: Vec<ReplayedStep>,
    /// Where journal and state differ; empty when all is well.
    pub differences: Vec<String>,
}

/// How a step differs between two runs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// The step's path.
    pub path: String,
    /// Where it stands in the first run; `null` where that has no such step.
    pub left: Option<String>,
    /// Where it stands in the second run.
    pub right: Option<String>,
    /// Whether the outputs are equal.
    pub same_output: bool,
    /// How long it took in the first run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_took: Option<String>,
    /// How long it took in the second run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right_took: Option<String>,
}

/// Two runs compared.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// The first run.
    pub left: String,
    /// The second run.
    pub right: String,
    /// Steps that ended alike, with equal outputs.
    pub same: usize,
    /// Steps that differ, by path.
    pub differences: Vec<Difference>,
}

/// Something that waits for a person.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct InboxItem {
    /// What to name in the decision.
    pub task: String,
    /// Its run.
    pub run: String,
    /// Its workflow.
    pub workflow: String,
    /// The step's path.
    pub step: String,
    /// Since when.
    pub since: String,
    /// `approval` or `unknown_outcome`.
    pub ask: String,
    /// The question.
    pub title: String,
    /// What to decide upon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}
