//! What is inside a run: its steps, its history, its documents.
//!
//! For: looking. Not for: the run as a whole (see `runs`).
//! Invariant: a document is given only through a run of the caller's namespace.

use std::fmt;

use consort_types::{Code, RunId, Span, StepInstanceId, Time, limits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Document, ErrorDetail, Operation, Page, Returns, Spec, is_default,
    runs::{RunParams, RunStatus},
    schema,
};

/// The state of a step instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// It waits for the steps that it needs.
    Pending,
    /// Its task waits for a worker instance.
    Queued,
    /// A worker instance runs its task, or steps or a run below it are active.
    Running,
    /// Its task waits for an answer in its journal, without a worker instance.
    Suspended,
    /// It waits before its next attempt.
    Backoff,
    /// The outcome of its last `write` attempt is unknown; it waits for a decision.
    Unknown,
    /// The code of its agent differs from its journal: it waits for code that fits, or for a decision.
    Diverged,
    /// It is a compensation that is not tried again by itself: it waits for a decision.
    GaveUp,
    /// It waits for a time or a signal.
    Waiting,
    /// It waits for a person's decision.
    WaitingApproval,
    /// Ended: done.
    Completed,
    /// Ended: failed.
    Failed,
    /// Ended: its condition was false, or a step that it needs failed.
    Skipped,
    /// Ended: cancelled.
    Cancelled,
    /// A state that this version does not know.
    #[schemars(skip)]
    #[serde(untagged)]
    Other(String),
}

impl StepState {
    /// The word that people read.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Pending => "pending",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Suspended => "suspended",
            Self::Backoff => "backoff",
            Self::Unknown => "unknown",
            Self::Diverged => "diverged",
            Self::GaveUp => "gave_up",
            Self::Waiting => "waiting",
            Self::WaitingApproval => "waiting_approval",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
            Self::Other(word) => word,
        }
    }

    /// Whether it stays so.
    pub fn has_ended(&self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Skipped | Self::Cancelled)
    }
}

impl fmt::Display for StepState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The progress of a fan-out or loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// Something that a step, or the code of a task, waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WaitedFor {
    /// `signal`, `event`, `lock`, `time`, `approval` or `call`.
    pub kind: String,
    /// The signal, the topic, the lock, the question or the capability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the code calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// When it is over at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub until: Option<Time>,
}

/// A bid for the task of a step, or why there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bid {
    /// The agent.
    pub agent: String,
    /// Its price for the task.
    pub cost: f64,
    /// How long it says that the task takes, in seconds.
    pub seconds: f64,
    /// How sure it is of success, from 0 to 1.
    pub confidence: f64,
    /// Whether it is what the agent has declared, and not its answer to a call.
    #[serde(default, skip_serializing_if = "is_default")]
    pub declared: bool,
    /// What it is worth; the least wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Its place among those that count, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
    /// Why it does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// A step instance in the tree of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepNode {
    /// Its id.
    #[schemars(with = "schema::Task")]
    pub task: StepInstanceId,
    /// Its name, or its place among its siblings (`[3]`, `#2`).
    pub name: String,
    /// `for_each`, `repeat`, `auction`, or the kind of the step, such as `call`, `wait` or `publish`.
    pub kind: String,
    /// The capability or agent that is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What the code that calls it, or asks, calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its state.
    pub state: StepState,
    /// The current attempt; 0 where there was none.
    pub attempt: u32,
    /// The worker instance that holds, or last held, the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The version of the agent that it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub ended_at: Option<Time>,
    /// When a wait or back-off is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub wake_at: Option<Time>,
    /// What it waits for, where it is a wait, or a task whose code only waits (of many, the first).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<WaitedFor>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorDetail>,
    /// The run that it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Run>")]
    pub child_run: Option<RunId>,
    /// Whether its outcome was taken over from another run.
    #[serde(default, skip_serializing_if = "is_default")]
    pub copied: bool,
    /// The progress of its fan-out or loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// The bids of its auction, the best first; none while they are awaited.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bids: Vec<Bid>,
    /// What is below it (of many, those that matter).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<StepNode>,
}

/// Shows the steps of a run as a tree.
pub struct RunTree;

impl Operation for RunTree {
    type Params = RunParams;
    type Body = ();
    type Reply = Vec<StepNode>;
    const SPEC: Spec = Spec {
        id: "runTree",
        path: "/v1/runs/{run}/tree",
        doc: "Shows the steps of a run as a tree.",
        words: &["runs show"],
        answers: &[(200, "The top-level steps, each with what is below it.")],
        ..INSIDE
    };
}

/// A step instance with its documents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// Its id.
    #[schemars(with = "schema::Task")]
    pub task: StepInstanceId,
    /// Its path.
    pub path: String,
    /// Its state.
    pub state: StepState,
    /// Attempts made.
    pub attempt: u32,
    /// The worker instance that last held the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The version of the agent that it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub started_at: Option<Time>,
    /// When the last attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub attempt_started_at: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub ended_at: Option<Time>,
    /// What it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Document>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorDetail>,
    /// Whether its outcome was taken over from another run.
    pub copied: bool,
    /// Entries of its task's journal; `GET …/steps/{task}/journal` lists them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub entries: u32,
}

/// Which page of the steps of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepsParams {
    /// The run.
    #[schemars(with = "schema::Run")]
    pub run: RunId,
    /// Where the page begins: the `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// How many items at most; 100 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = limits::PAGE_ITEMS_MAX))]
    pub limit: Option<usize>,
}

/// Lists the step instances of a run.
pub struct RunSteps;

impl Operation for RunSteps {
    type Params = StepsParams;
    type Body = ();
    type Reply = Page<Step>;
    const SPEC: Spec = Spec {
        id: "runSteps",
        path: "/v1/runs/{run}/steps",
        doc: "Lists the step instances of a run, flat, with their outputs.",
        words: &["runs output"],
        answers: &[(200, "A page.")],
        errors: &[Code::RunNotFound, Code::BadCursor],
        ..INSIDE
    };
}

/// An entry of a run's history. Each field is set for the events that its documentation names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryEntry {
    /// Its cursor: pass it as `after` to get the entries behind it.
    pub cursor: String,
    /// When, in log time.
    #[schemars(with = "schema::Instant")]
    pub time: Time,
    /// The step instance, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Task>")]
    pub task: Option<StepInstanceId>,
    /// The step's path, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// What happened.
    pub event: EventKind,
    /// The attempt, from 1; 0 for steps without a task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Of `attempt_started`: the worker instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Of `attempt_started`: the version of the agent that it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Why it failed, was skipped or cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorDetail>,
    /// Of `attempt_failed`: when the next attempt is queued; absent where none follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub retry_at: Option<Time>,
    /// Of `decided`: `done`, `retry`, `fail`, `approved` or `rejected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// Of `decided`: the name of the person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Of `decided`: in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Of `signal_received`: the signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Of `signal_received`: its payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Document>,
    /// Of `run_cancelling`: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of `run_ended`: how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<RunStatus>,
    /// Of `task_recorded`: the entry of the task's journal, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<u32>,
    /// Of `task_recorded`: what was recorded, such as `call research.search`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
}

impl HistoryEntry {
    /// An entry without further fields.
    pub fn new(cursor: String, time: Time, event: EventKind) -> Self {
        Self {
            cursor,
            time,
            task: None,
            step: None,
            event,
            attempt: None,
            instance: None,
            version: None,
            error: None,
            retry_at: None,
            decision: None,
            by: None,
            comment: None,
            name: None,
            payload: None,
            reason: None,
            status: None,
            entry: None,
            what: None,
        }
    }
}

/// What happened in a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The run was started.
    RunStarted,
    /// The step began to wait, or opened what is below it.
    StepStarted,
    /// A worker instance took the attempt.
    AttemptStarted,
    /// The attempt failed or was lost; another may follow.
    AttemptFailed,
    /// The step completed.
    StepCompleted,
    /// The step failed.
    StepFailed,
    /// The step was skipped.
    StepSkipped,
    /// The step was cancelled.
    StepCancelled,
    /// The outcome of a `write` attempt is unknown.
    OutcomeUnknown,
    /// An unknown outcome or an approval was decided.
    Decided,
    /// A signal arrived.
    SignalReceived,
    /// An update arrived.
    UpdateReceived,
    /// The assignment of tasks was paused.
    RunPaused,
    /// Tasks are assigned again.
    RunResumed,
    /// The run is to be cancelled.
    RunCancelling,
    /// Compensation of completed steps began.
    CompensationStarted,
    /// The run ended.
    RunEnded,
    /// A task recorded an entry in its journal.
    TaskRecorded,
    /// The code of the attempt differs from the task's journal; the task waits for code that fits.
    TaskDiverged,
    /// The compensation is not tried again by itself; it waits for a decision.
    StepGaveUp,
    /// The step's outcome was taken over from the run that this one was forked from.
    StepCopied,
    /// The auction of the step awarded its task to an agent.
    TaskAwarded,
    /// Something that this version does not know.
    #[schemars(skip)]
    #[serde(untagged)]
    Other(String),
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The word is the one that travels.
        self.serialize(f)
    }
}

/// Which page of the history of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HistoryParams {
    /// The run.
    #[schemars(with = "schema::Run")]
    pub run: RunId,
    /// Only entries after this cursor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// How many items at most; 100 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = limits::PAGE_ITEMS_MAX))]
    pub limit: Option<usize>,
}

/// Lists what happened in a run.
pub struct RunHistory;

impl Operation for RunHistory {
    type Params = HistoryParams;
    type Body = ();
    type Reply = Page<HistoryEntry>;
    const SPEC: Spec = Spec {
        id: "runHistory",
        path: "/v1/runs/{run}/history",
        doc: "Lists what happened in a run, in order.",
        words: &["runs show"],
        answers: &[(200, "A page; `next` is the `after` of the next one.")],
        errors: &[Code::RunNotFound, Code::BadCursor],
        ..INSIDE
    };
}

/// The source that a run is pinned to.
pub struct RunSource;

impl Operation for RunSource {
    type Params = RunParams;
    type Body = ();
    type Reply = String;
    const SPEC: Spec = Spec {
        id: "runSource",
        path: "/v1/runs/{run}/source",
        doc: "The source that a run is pinned to.",
        words: &["runs fork"],
        returns: Returns::Text("application/yaml"),
        answers: &[(200, "The YAML text.")],
        ..INSIDE
    };
}

/// A step, derived from the history alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReplayedStep {
    /// Its id.
    #[schemars(with = "schema::Task")]
    pub task: StepInstanceId,
    /// Its path.
    pub path: String,
    /// How it ended, or its last state.
    pub state: StepState,
    /// Attempts in the history.
    pub attempts: u32,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub ended_at: Option<Time>,
    /// Its recorded output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Document>,
}

/// A run, derived from its history alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Replay {
    /// The run.
    #[schemars(with = "schema::Run")]
    pub run: RunId,
    /// How it ended; absent while it is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<RunStatus>,
    /// Entries folded.
    pub entries: usize,
    /// The steps, in the order in which they ended or last changed.
    pub steps: Vec<ReplayedStep>,
    /// Where history and state differ; empty when all is well.
    pub differences: Vec<String>,
}

/// Folds the history of a run again.
pub struct ReplayRun;

impl Operation for ReplayRun {
    type Params = RunParams;
    type Body = ();
    type Reply = Replay;
    const SPEC: Spec = Spec {
        id: "replayRun",
        path: "/v1/runs/{run}/replay",
        doc: "Folds the history of a run again without calling anything, and compares it with the run's state.",
        words: &["runs replay"],
        answers: &[(200, "Every recorded step.")],
        errors: &[Code::RunNotFound, Code::LimitReached],
        ..INSIDE
    };
}

/// How a step differs between two runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// The step's path.
    pub path: String,
    /// Its state in the first run; `null` where that has no such step.
    pub left: Option<StepState>,
    /// Its state in the second run.
    pub right: Option<StepState>,
    /// Whether the outputs are equal.
    pub same_output: bool,
    /// How long it took in the first run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub left_took: Option<Span>,
    /// How long it took in the second run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub right_took: Option<Span>,
}

/// Two runs compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// The first run.
    #[schemars(with = "schema::Run")]
    pub left: RunId,
    /// The second run.
    #[schemars(with = "schema::Run")]
    pub right: RunId,
    /// Steps with the same end and equal outputs.
    pub same: usize,
    /// Steps that differ, by path.
    pub differences: Vec<Difference>,
}

/// Two runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompareParams {
    /// The first run.
    #[schemars(with = "schema::Run")]
    pub run: RunId,
    /// The second run.
    #[schemars(with = "schema::Run")]
    pub other: RunId,
}

/// Compares two runs.
pub struct CompareRuns;

impl Operation for CompareRuns {
    type Params = CompareParams;
    type Body = ();
    type Reply = Comparison;
    const SPEC: Spec = Spec {
        id: "compareRuns",
        path: "/v1/runs/{run}/compare/{other}",
        doc: "Compares the steps of two runs.",
        words: &["runs compare"],
        answers: &[(200, "Where they differ.")],
        errors: &[Code::RunNotFound, Code::LimitReached],
        ..INSIDE
    };
}

/// The input of a run.
pub struct RunInput;

impl Operation for RunInput {
    type Params = RunParams;
    type Body = ();
    type Reply = Document;
    const SPEC: Spec = Spec {
        id: "runInput",
        path: "/v1/runs/{run}/input",
        doc: "The input of a run, in full.",
        words: &["runs fork"],
        ..DOCUMENT
    };
}

/// The output of a run.
pub struct RunOutput;

impl Operation for RunOutput {
    type Params = RunParams;
    type Body = ();
    type Reply = Document;
    const SPEC: Spec = Spec {
        id: "runOutput",
        path: "/v1/runs/{run}/output",
        doc: "The output of a completed run, in full.",
        words: &["runs output"],
        errors: &[Code::RunNotFound, Code::RunActive, Code::StepState],
        ..DOCUMENT
    };
}

pub(crate) const INSIDE: Spec = Spec { group: "runs", errors: &[Code::RunNotFound], ..Spec::READ };
pub(crate) const DOCUMENT: Spec =
    Spec { returns: Returns::Document, answers: &[(200, "The JSON document, as it was given.")], ..INSIDE };
