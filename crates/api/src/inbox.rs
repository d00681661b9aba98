//! The inbox: what waits for a person.
//!
//! For: approvals and unknown outcomes. Not for: signals (any program may send those).
//! Invariant: a decision names who made it.

use consort_types::{Code, RunId, StepInstanceId, Time, limits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Accepts, Document, Operation, Page, PageParams, Returns, Spec, schema};

/// The decision that an item of the inbox waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InboxKind {
    /// Yes or no: `approve` or `reject`.
    Approval,
    /// The outcome of a lost `write` attempt: `done`, `retry` or `fail`.
    UnknownOutcome,
    /// A task whose code differs from its journal: `retry` at any version, `done` with its output, or `fail`. It continues by
    /// itself when an instance of its agent connects whose code fits.
    Diverged,
    /// A compensation that is not tried again by itself: `retry`, `done` where it was undone by other means, or `fail` to
    /// leave it undone.
    GaveUp,
    /// Something that this version does not know.
    #[schemars(skip)]
    #[serde(untagged)]
    Other(String),
}

impl InboxKind {
    /// The word that people read.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Approval => "approval",
            Self::UnknownOutcome => "unknown_outcome",
            Self::Diverged => "diverged",
            Self::GaveUp => "gave_up",
            Self::Other(word) => word,
        }
    }
}

/// Something that waits for a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InboxItem {
    /// What to name in the decision.
    #[schemars(with = "schema::Task")]
    pub task: StepInstanceId,
    /// Its run.
    #[schemars(with = "schema::Run")]
    pub run: RunId,
    /// Its workflow.
    pub workflow: String,
    /// The step's path.
    pub step: String,
    /// Since when it waits.
    #[schemars(with = "schema::Instant")]
    pub since: Time,
    /// The kind of decision.
    pub kind: InboxKind,
    /// The question.
    pub title: String,
    /// What to decide upon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Document>,
}

/// Lists the inbox.
pub struct ListInbox;

impl Operation for ListInbox {
    type Params = PageParams;
    type Body = ();
    type Reply = Page<InboxItem>;
    const SPEC: Spec = Spec {
        id: "listInbox",
        group: "inbox",
        path: "/v1/inbox",
        doc: "Lists what waits for a person.",
        words: &["inbox", "inbox list"],
        answers: &[(200, "A page.")],
        errors: &[Code::BadCursor],
        ..Spec::READ
    };
}

/// An item of the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ItemParams {
    /// The item.
    #[schemars(with = "schema::Task")]
    pub task: StepInstanceId,
}

/// Shows an item.
pub struct ShowInboxItem;

impl Operation for ShowInboxItem {
    type Params = ItemParams;
    type Body = ();
    type Reply = InboxItem;
    const SPEC: Spec = Spec {
        id: "showInboxItem",
        group: "inbox",
        path: "/v1/inbox/{task}",
        doc: "Shows one thing that waits for a person.",
        answers: &[(200, "The item.")],
        errors: &[Code::TaskNotFound],
        ..Spec::READ
    };
}

/// What to decide upon.
pub struct InboxDetails;

impl Operation for InboxDetails {
    type Params = ItemParams;
    type Body = ();
    type Reply = Document;
    const SPEC: Spec = Spec {
        id: "inboxDetails",
        group: "inbox",
        path: "/v1/inbox/{task}/details",
        doc: "What to decide upon, in full.",
        returns: Returns::Document,
        answers: &[(200, "The JSON document; `null` where there is none.")],
        errors: &[Code::TaskNotFound],
        ..Spec::READ
    };
}

/// What a person decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// An approval: yes.
    Approve,
    /// An approval: no.
    Reject,
    /// An unknown outcome: it happened. A divergence: pass over the task, with this output.
    Done,
    /// An unknown outcome: it did not happen, try again. A divergence: try the code of any version.
    Retry,
    /// An unknown outcome or a divergence: count it as failed. A compensation: leave undone what it was to undo.
    Fail,
}

/// Decides what waits in the inbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecideRequest {
    /// What.
    pub decision: Decision,
    /// The name of the person who decides; not empty.
    pub by: String,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// With `done`: what the step made; without one, `null`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Document>,
    /// With `approve`: what is approved, where the person has changed what was asked about; the code and later steps read
    /// it as `value` of the answer. Without one, that is what was asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Document>,
}

impl DecideRequest {
    /// A decision of this person.
    pub fn new(decision: Decision, by: impl Into<String>) -> Self {
        Self { decision, by: by.into(), comment: None, output: None, value: None }
    }

    /// A comment on the decision.
    #[must_use]
    pub fn comment(mut self, comment: impl Into<String>) -> Self {
        self.comment = Some(comment.into());
        self
    }

    /// With [`Decision::Done`]: what the step made.
    #[must_use]
    pub fn output(mut self, output: impl Into<Document>) -> Self {
        self.output = Some(output.into());
        self
    }

    /// With [`Decision::Approve`]: what is approved, where it was changed.
    #[must_use]
    pub fn value(mut self, value: impl Into<Document>) -> Self {
        self.value = Some(value.into());
        self
    }
}

/// Decides.
pub struct Decide;

impl Operation for Decide {
    type Params = ItemParams;
    type Body = DecideRequest;
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "decide",
        group: "inbox",
        path: "/v1/inbox/{task}",
        doc: "Decides an approval (`approve`, `reject`), or an unknown outcome, a divergence or a compensation that gave up (`done`, `retry`, `fail`).",
        words: &["inbox approve", "inbox reject", "inbox done", "inbox retry", "inbox fail", "runs approve"],
        accepts: Accepts::Json { max_bytes: limits::HTTP_BODY_BYTES_MAX, optional: false },
        errors: &[
            Code::TaskNotFound,
            Code::StepState,
            Code::RunEnded,
            Code::BadJson,
            Code::BadOutput,
            Code::PayloadTooLarge,
        ],
        ..Spec::CHANGE
    };
}
