//! Following a run.
//!
//! For: entries of its history as they happen, with live progress in between. Not for: history that is read by pages
//! (see `inside`).
//! Invariant: entries come in order, each once, from the cursor on; `end` is the last event of a run that has ended.

use consort_types::{Code, RunId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Operation, Problem, Returns, Spec, inside::HistoryEntry, runs::Run, schema};

/// The id of the last event: a client that reconnects with it has seen everything.
pub const END_ID: &str = "end";

/// Live progress of an attempt. It is not kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// The run.
    #[schemars(with = "schema::Run")]
    pub run: RunId,
    /// The step's path.
    pub step: String,
    /// The attempt.
    pub attempt: u32,
    /// The kind; the field of the same name has the content.
    pub kind: ProgressKind,
    /// What the attempt is doing, in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// More of its partial output, to be put behind what came before from the same attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// A document of its partial output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
}

/// The kinds of progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProgressKind {
    /// What the attempt is doing.
    Message,
    /// More of its partial output, as text.
    Text,
    /// A document of its partial output.
    Json,
    /// Something that this version does not know.
    #[schemars(skip)]
    #[serde(untagged)]
    Other(String),
}

/// An event of a watch of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunEvent {
    /// An entry of the history; its cursor is the id of the event.
    Entry(Box<HistoryEntry>),
    /// Live progress of an attempt; it has no id.
    Progress(Progress),
    /// The run has ended; nothing follows.
    End(Box<Run>),
    /// Why the watch ends; nothing follows.
    Error(Problem),
}

/// A run, and from where to follow it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WatchRunParams {
    /// The run.
    #[schemars(with = "schema::Run")]
    pub run: RunId,
    /// Only entries after this cursor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The id of the last event that was seen; goes before `after`. Browsers send it by themselves.
    #[serde(rename = "Last-Event-ID", default, skip_serializing_if = "Option::is_none")]
    pub last_event_id: Option<String>,
}

/// Follows a run.
pub struct WatchRun;

impl Operation for WatchRun {
    type Params = WatchRunParams;
    type Body = ();
    type Reply = RunEvent;
    const SPEC: Spec = Spec {
        id: "watchRun",
        group: "runs",
        path: "/v1/runs/{run}/watch",
        doc: "Follows a run: events `entry` (an entry of its history; its cursor is the id), `progress`, `end` (the \
              run) and `error`.",
        words: &["runs watch", "run"],
        headers: &["Last-Event-ID"],
        returns: Returns::Events,
        answers: &[
            (200, "Server-sent events until the run has ended."),
            (204, "The client has seen the end already (`Last-Event-ID: end`) and must not reconnect."),
        ],
        errors: &[Code::RunNotFound, Code::BadCursor],
        ..Spec::READ
    };
}
