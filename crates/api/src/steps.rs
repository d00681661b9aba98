//! One step of a run: what it was given, what its code has requested, what it made.
//!
//! For: looking at a step with its data. Not for: the run as a whole (see `inside`).
//! Invariant: a document is given only through a run of the caller's namespace.

use std::collections::BTreeMap;

use consort_types::{Code, RunId, Span, StepInstanceId, limits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Document, ErrorDetail, Operation, Page, Spec,
    inside::{DOCUMENT, INSIDE, Step},
    is_default, schema,
};

/// A step instance of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepParams {
    /// The run.
    #[schemars(with = "schema::Run")]
    pub run: RunId,
    /// The step instance.
    #[schemars(with = "schema::Task")]
    pub task: StepInstanceId,
}

/// The output of a step.
pub struct StepOutput;

impl Operation for StepOutput {
    type Params = StepParams;
    type Body = ();
    type Reply = Document;
    const SPEC: Spec = Spec {
        id: "stepOutput",
        path: "/v1/runs/{run}/steps/{task}/output",
        doc: "The output of a completed step, in full.",
        words: &["runs output"],
        errors: &[Code::RunNotFound, Code::TaskNotFound, Code::StepState],
        ..DOCUMENT
    };
}

/// A step instance with its documents and counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepDetail {
    /// The step instance.
    pub step: Step,
    /// The capability or agent that is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What its task was given, or the run that it started; absent where it has not begun, or takes no input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Document>,
    /// The idempotency key of what its task does; absent where it is no task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// The effect class of the attempt that was last taken: `read`, `idempotent` or `write`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    /// Attempts that failed.
    pub failures: u32,
    /// Attempts that were lost with their worker instance.
    pub losses: u32,
}

/// Shows a step.
pub struct ShowStep;

impl Operation for ShowStep {
    type Params = StepParams;
    type Body = ();
    type Reply = StepDetail;
    const SPEC: Spec = Spec {
        id: "showStep",
        path: "/v1/runs/{run}/steps/{task}",
        doc: "Shows a step with its input, its idempotency key and its output.",
        words: &["runs show"],
        answers: &[(200, "The step.")],
        errors: &[Code::RunNotFound, Code::TaskNotFound],
        ..INSIDE
    };
}

/// The input of a step.
pub struct StepInput;

impl Operation for StepInput {
    type Params = StepParams;
    type Body = ();
    type Reply = Document;
    const SPEC: Spec = Spec {
        id: "stepInput",
        path: "/v1/runs/{run}/steps/{task}/input",
        doc: "The input of a step that has begun, in full.",
        words: &["runs input"],
        errors: &[Code::RunNotFound, Code::TaskNotFound, Code::StepState],
        ..DOCUMENT
    };
}

/// What the code of a task has requested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JournalKind {
    /// A local effect, with its result.
    Run,
    /// A call of a capability.
    Call,
    /// A pause.
    Sleep,
    /// A wait for a signal.
    Signal,
    /// A person's decision.
    Approval,
    /// Waits that the code has passed.
    Forget,
    /// Keys of shared state that were read and written together.
    State,
    /// A value that anyone may read.
    Expose,
    /// Labels of the run.
    Labels,
    /// A wait for an update.
    Update,
    /// What the sender of an update is answered.
    Answer,
    /// Something that this version does not know.
    #[schemars(skip)]
    #[serde(untagged)]
    Other(String),
}

impl JournalKind {
    /// The word that people read.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Run => "run",
            Self::Call => "call",
            Self::Sleep => "sleep",
            Self::Signal => "signal",
            Self::Approval => "approval",
            Self::Forget => "forget",
            Self::State => "state",
            Self::Expose => "expose",
            Self::Labels => "labels",
            Self::Update => "update",
            Self::Answer => "answer",
            Self::Other(word) => word,
        }
    }
}

/// An entry of a task's journal, in the form that the replay helpers of the SDKs read. Without `output` and `error` it
/// has no answer yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JournalEntry {
    /// Its position, from 0.
    pub index: u32,
    /// What was requested.
    pub kind: JournalKind,
    /// What its author calls it, to tell equal requests apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Of `run`, `signal`, `expose` and `update`: the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Of `call`: the capability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// Of `call`: what it was called with. Of `state`: the transaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Document>,
    /// Of `sleep`: how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub span: Option<Span>,
    /// Of `approval`: the question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Of `approval`: what it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Document>,
    /// Of `expose`: the value. Of `answer`: what came of the update; without it, the update is rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Document>,
    /// Of `labels`: the labels with their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Of `answer`: the entry before it that has the update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<u32>,
    /// Of `answer`: why the update is rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection: Option<String>,
    /// Of `forget`: the entries before it that it closed; they are never answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<u32>,
    /// The entries whose results the code was given before it requested this one, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<u32>,
    /// What came of it; `null` is an answer too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Document>,
    /// How it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorDetail>,
}

impl JournalEntry {
    /// An entry without further fields.
    pub fn new(index: u32, kind: JournalKind) -> Self {
        Self {
            index,
            kind,
            title: None,
            name: None,
            capability: None,
            input: None,
            span: None,
            prompt: None,
            detail: None,
            value: None,
            labels: BTreeMap::new(),
            update: None,
            rejection: None,
            entries: Vec::new(),
            after: Vec::new(),
            output: None,
            error: None,
        }
    }
}

/// Which page of the journal of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JournalParams {
    /// The run.
    #[schemars(with = "schema::Run")]
    pub run: RunId,
    /// The step instance.
    #[schemars(with = "schema::Task")]
    pub task: StepInstanceId,
    /// Whether large documents are given in full instead of by reference, as a replay needs them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub whole: bool,
    /// Where the page begins: the `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// How many items at most; 100 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = limits::PAGE_ITEMS_MAX))]
    pub limit: Option<usize>,
}

/// Lists the journal of a task.
pub struct StepJournal;

impl Operation for StepJournal {
    type Params = JournalParams;
    type Body = ();
    type Reply = Page<JournalEntry>;
    const SPEC: Spec = Spec {
        id: "stepJournal",
        path: "/v1/runs/{run}/steps/{task}/journal",
        doc: "Lists what the code of a task has requested, with the answers: the journal that its next attempt replays.",
        words: &["runs show", "runs journal"],
        answers: &[(200, "A page.")],
        errors: &[Code::RunNotFound, Code::TaskNotFound, Code::BadCursor],
        ..INSIDE
    };
}
