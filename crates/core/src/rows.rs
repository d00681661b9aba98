//! The rows of the tables: the whole state of a partition.
//!
//! For: what is remembered, and how it is encoded (CBOR arrays with field numbers; new fields go at the end
//! and are optional, so old rows stay readable). Not for: the rules that change it.
//! Invariant: the size of a row does not grow with the length of its run.

mod later;
mod registry;

use std::collections::BTreeMap;

use consort_types::{
    BlobHash, EffectClass, Error, Payload, RunId, Seq, TaskId, Time, Token, WorkerInstance, worker::JournalRequest,
};
use consort_workflow::CompiledWorkflow;
use minicbor::{Decode, Encode};
use serde::Serialize;

pub use later::{Cancelling, Later};
pub use registry::{Agent, AgentState, Limit};

use crate::tables::Row;

/// What the machine knows of itself.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub struct Meta {
    /// Log time: the time of the last record.
    #[n(0)]
    pub now: Time,
    /// Tasks by what became of them.
    #[n(1)]
    pub tasks: TaskCounts,
    /// Runs that have not ended.
    #[n(2)]
    pub runs_active: u64,
    /// Runs ever started.
    #[n(3)]
    pub runs_made: u64,
    /// No armed timer is due before this: what was due has fired.
    #[n(4)]
    #[cbor(default)]
    pub timers_from: Time,
}

/// Tasks by state; `made` is always the sum of the others (law 8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct TaskCounts {
    /// Tasks ever made.
    #[n(0)]
    pub made: u64,
    /// Tasks that wait: for an instance, a back-off, an answer in their journal, or a decision.
    #[n(1)]
    pub waiting: u64,
    /// Tasks that an instance holds.
    #[n(2)]
    pub taken: u64,
    /// Tasks that completed.
    #[n(3)]
    pub done: u64,
    /// Tasks that failed for good or were cancelled.
    #[n(4)]
    pub dead: u64,
}

/// A deployed revision of a workflow, or (at number 0) which revision is the newest.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Deployed {
    /// Its content hash.
    #[n(0)]
    pub hash: BlobHash,
    /// The revision.
    #[n(1)]
    pub revision: u32,
    /// When it was deployed.
    #[n(2)]
    pub at: Time,
    /// The version that its author wrote, if any.
    #[n(3)]
    pub version: Option<String>,
    /// What it does, in its author's words.
    #[n(4)]
    pub description: String,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Steps are running or waiting.
    #[n(0)]
    Running,
    /// It was cancelled; what still runs is being stopped and clean-up steps run.
    #[n(1)]
    Cancelling,
    /// It failed or was cancelled, and completed steps are being compensated.
    #[n(2)]
    Compensating,
    /// Ended: every step did what it should.
    #[n(3)]
    Completed,
    /// Ended: a step failed.
    #[n(4)]
    Failed,
    /// Ended: it was cancelled.
    #[n(5)]
    Cancelled,
    /// It was deleted; its rows are being removed.
    #[n(6)]
    Deleted,
}

impl RunStatus {
    /// Whether this is final (law 7).
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::Deleted)
    }

    /// The word that people read.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Compensating => "compensating",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Deleted => "deleted",
        }
    }
}

/// Where a forked run comes from.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct Origin {
    /// The run whose outcomes were taken over.
    #[n(0)]
    pub run: RunId,
    /// The step from which it runs anew; `None` for "from what had not completed".
    #[n(1)]
    pub step: Option<String>,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[expect(clippy::struct_excessive_bools, reason = "each says one thing of its own that a person reads in the row")]
pub struct Run {
    /// Its namespace.
    #[n(0)]
    pub namespace: String,
    /// Its workflow's name.
    #[n(1)]
    pub workflow: String,
    /// The content hash of the definition that it is pinned to.
    #[n(2)]
    pub hash: BlobHash,
    /// Its input, with defaults filled in.
    #[n(3)]
    pub input: Payload,
    /// Where it stands.
    #[n(4)]
    pub status: RunStatus,
    /// Whether hand-out of its tasks is held back.
    #[n(5)]
    pub paused: bool,
    /// When it was started.
    #[n(6)]
    pub created: Time,
    /// When it ended.
    #[n(7)]
    pub ended: Option<Time>,
    /// What it made.
    #[n(8)]
    pub output: Option<Payload>,
    /// Why it failed or was cancelled.
    #[n(9)]
    pub error: Option<Error>,
    /// The step of the run above that started it.
    #[n(10)]
    pub parent: Option<TaskId>,
    /// How many runs are above it.
    #[n(11)]
    pub depth: u32,
    /// The number that the next scope gets.
    #[n(12)]
    pub next_scope: u32,
    /// Step instances made so far, for the limit.
    #[n(13)]
    pub steps_made: u32,
    /// Where it was forked from.
    #[n(14)]
    pub origin: Option<Origin>,
    /// Its labels.
    #[n(15)]
    pub labels: BTreeMap<String, String>,
    /// Its priority, added to that of its steps.
    #[n(16)]
    pub priority: i32,
    /// The idempotency key of its start.
    #[n(17)]
    pub idempotency_key: Option<String>,
    /// When it times out.
    #[n(18)]
    pub deadline: Option<Time>,
    /// How it will end once its compensations are done.
    #[n(19)]
    pub ending: Option<RunStatus>,
    /// Whether clean-up steps are cancelled too.
    #[n(20)]
    pub forced: bool,
    /// Signals that wait to be read.
    #[n(21)]
    pub signals_waiting: u32,
    /// The sequence number of the record that changed it last.
    #[n(22)]
    pub changed: Seq,
    /// Runs that its steps have started and that have not ended; it ends after them.
    #[n(23)]
    pub children: u32,
    /// Whether its steps have all ended, and it only waits for such runs.
    #[n(24)]
    pub drained: bool,
    /// The trace that it belongs to, as a W3C `traceparent`; `None` where it is the root of its own.
    #[n(25)]
    pub traceparent: Option<String>,
    /// The run at the top of its tree; `None` where it is that run itself.
    #[n(26)]
    pub root: Option<RunId>,
    /// Runs ever started below it, at any depth; counted at the top of the tree only.
    #[n(27)]
    pub descendants: u32,
    /// How far the cancellation of its steps has come, while that is spread over records.
    #[n(28)]
    pub cancelling: Option<Cancelling>,
    /// Scopes of it that are being stopped over several records; nothing starts in the run meanwhile.
    #[n(29)]
    pub stopping: u32,
    /// The step instance from which runs below it are yet to be paused or resumed: scope and index.
    #[n(30)]
    pub pausing: Option<(u32, u32)>,
    /// Whether a timer is armed that goes on with what was left to a later record.
    #[n(31)]
    pub continues: bool,
}

impl Row for Run {
    fn weight(&self) -> usize {
        512 + self.input.bytes().map_or(0, <[u8]>::len)
    }
}

/// What a scope holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ScopeKind {
    /// The steps of block `block` of the definition.
    #[n(0)]
    Steps {
        /// The block.
        #[n(0)]
        block: u32,
    },
    /// The items of a `for_each`: instance `i` is the step's body for item `i`.
    #[n(1)]
    Items,
    /// The iterations of a `repeat`: instance `i` is the step's body in iteration `i`.
    #[n(2)]
    Iterations,
    /// The calls of a task's journal: instance `i` is the call of entry `i`.
    #[n(3)]
    Calls,
    /// Compensations, one after the other: instance `i` undoes the `i`-th step of the list.
    #[n(4)]
    Compensations,
    /// One call that asks what became of a lost `write` attempt.
    #[n(5)]
    Reconcile,
}

/// A scope: a list of step instances within a run.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Scope {
    /// What it holds.
    #[n(0)]
    pub kind: ScopeKind,
    /// The instance that opened it; `None` for the root and the compensations.
    #[n(1)]
    pub parent: Option<(u32, u32)>,
    /// How many instances it has in all (for iterations: the limit).
    #[n(2)]
    pub total: u32,
    /// How many were started (items, iterations, compensations).
    #[n(3)]
    pub started: u32,
    /// How many have ended.
    #[n(4)]
    pub ended: u32,
    /// How many of those failed or were cancelled without `continue_on_error`.
    #[n(5)]
    pub failed: u32,
    /// The first error, which becomes the opener's.
    #[n(6)]
    pub error: Option<Error>,
    /// Set when the scope has closed; nothing in it changes any more.
    #[n(7)]
    pub closed: bool,
}

impl Row for Scope {}

/// Where a step instance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// It waits for the steps that it needs.
    #[n(0)]
    Pending,
    /// Its task waits for an instance.
    #[n(1)]
    Ready,
    /// An instance works on its task.
    #[n(2)]
    Taken,
    /// Its task waits for an answer in its journal, without an instance.
    #[n(3)]
    Parked,
    /// It waits before its next attempt.
    #[n(4)]
    Backoff,
    /// The outcome of its last `write` attempt is unknown; it waits for a decision.
    #[n(5)]
    Unknown,
    /// It waits for a time or a signal.
    #[n(6)]
    Waiting,
    /// It waits for a person's decision.
    #[n(7)]
    Approval,
    /// Steps or a run below it are at work.
    #[n(8)]
    Open,
    /// Ended: done.
    #[n(9)]
    Completed,
    /// Ended: failed.
    #[n(10)]
    Failed,
    /// Ended: its condition said no, or a step that it needs failed.
    #[n(11)]
    Skipped,
    /// Ended: cancelled.
    #[n(12)]
    Cancelled,
}

impl StepState {
    /// Whether this is final (law 7).
    pub fn is_terminal(self) -> bool {
        self >= Self::Completed
    }

    /// The word that people read and expressions see as `steps.NAME.status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready => "queued",
            Self::Taken | Self::Open => "running",
            Self::Parked => "suspended",
            Self::Backoff => "backoff",
            Self::Unknown => "unknown",
            Self::Waiting => "waiting",
            Self::Approval => "waiting_approval",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A step instance. What it asks for is in the definition; this is what became of it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Step {
    /// Where it stands.
    #[n(0)]
    pub state: StepState,
    /// Steps that it needs and that have not ended.
    #[n(1)]
    pub waiting: u32,
    /// The current attempt, from 1.
    #[n(2)]
    pub attempt: u32,
    /// Attempts that failed (lost ones are not counted here).
    #[n(3)]
    pub failures: u32,
    /// Attempts that were lost.
    #[n(4)]
    pub losses: u32,
    /// The fencing token of the current attempt.
    #[n(5)]
    pub token: Token,
    /// When it began.
    #[n(6)]
    pub began: Option<Time>,
    /// When the current attempt was taken.
    #[n(7)]
    pub taken: Option<Time>,
    /// When it ended.
    #[n(8)]
    pub ended: Option<Time>,
    /// The instance that holds, or last held, the task.
    #[n(9)]
    pub instance: Option<WorkerInstance>,
    /// What it made.
    #[n(10)]
    pub output: Option<Payload>,
    /// Why it failed, is retried, was skipped or cancelled.
    #[n(11)]
    pub error: Option<Error>,
    /// The scope that it opened.
    #[n(12)]
    pub child: Option<u32>,
    /// The run that it started.
    #[n(13)]
    pub child_run: Option<RunId>,
    /// When the attempt's timeout is due.
    #[n(14)]
    pub timeout_at: Option<Time>,
    /// When the step's deadline is due.
    #[n(15)]
    pub deadline_at: Option<Time>,
    /// When the back-off, wait or pause is over.
    #[n(16)]
    pub wake_at: Option<Time>,
    /// Entries in the task's journal.
    #[n(17)]
    pub entries: u32,
    /// Entries of the task's journal that are not answered yet.
    #[n(18)]
    pub entries_pending: u32,
    /// The record that completed it, where it has a compensation.
    #[n(19)]
    pub completed_seq: Option<Seq>,
    /// Whether its outcome was taken over from another run.
    #[n(20)]
    pub copied: bool,
    /// Whether its task counts as failed upstream for what needs it.
    #[n(21)]
    pub tainted: bool,
    /// The effect class of the attempt, fixed when it was taken.
    #[n(22)]
    pub effect: Option<EffectClass>,
    /// Journal entries that wake the parked task.
    #[n(23)]
    pub parked_on: Vec<u32>,
    /// The scope of the call that asks what became of its lost attempt.
    #[n(24)]
    pub asking: Option<u32>,
    /// Whether its end is decided, and only waits until everything below it has been stopped.
    #[n(25)]
    pub ending: bool,
}

impl Default for Step {
    fn default() -> Self {
        Self {
            state: StepState::Pending,
            waiting: 0,
            attempt: 0,
            failures: 0,
            losses: 0,
            token: Token(0),
            began: None,
            taken: None,
            ended: None,
            instance: None,
            output: None,
            error: None,
            child: None,
            child_run: None,
            timeout_at: None,
            deadline_at: None,
            wake_at: None,
            entries: 0,
            entries_pending: 0,
            completed_seq: None,
            copied: false,
            tainted: false,
            effect: None,
            parked_on: Vec::new(),
            asking: None,
            ending: false,
        }
    }
}

impl Row for Step {
    fn weight(&self) -> usize {
        320 + self.output.as_ref().and_then(Payload::bytes).map_or(0, <[u8]>::len)
    }
}

/// A document that belongs to a scope: the items of a `for_each`, or the list of compensations.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Items {
    /// A JSON list.
    #[n(0)]
    pub list: Payload,
}

/// An entry of a task's own journal.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct TaskEntry {
    /// What was asked.
    #[n(0)]
    pub request: JournalRequest,
    /// What came of it.
    #[n(1)]
    pub output: Option<Payload>,
    /// What went wrong with it.
    #[n(2)]
    pub error: Option<Error>,
    /// Entries whose results the code was given before it asked, in order.
    #[n(3)]
    pub after: Vec<u32>,
}

impl TaskEntry {
    /// Whether it was answered.
    pub fn is_answered(&self) -> bool {
        self.output.is_some() || self.error.is_some()
    }
}

/// What happened, as the journal of a run tells it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Entry {
    /// When, in log time.
    #[n(0)]
    pub time: Time,
    /// What.
    #[n(1)]
    pub event: Event,
    /// The step instance, where it is about one: scope and index.
    #[n(2)]
    pub step: Option<(u32, u32)>,
}

/// The kinds of journal entry.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run was started.
    #[n(0)]
    RunStarted,
    /// The step began to wait, or opened what is below it.
    #[n(1)]
    StepBegan,
    /// An instance took the attempt.
    #[n(2)]
    AttemptTaken {
        /// The attempt.
        #[n(0)]
        attempt: u32,
        /// The instance.
        #[n(1)]
        instance: WorkerInstance,
    },
    /// The attempt failed or was lost; another may follow.
    #[n(3)]
    AttemptFailed {
        /// The attempt.
        #[n(0)]
        attempt: u32,
        /// Why.
        #[n(1)]
        error: Error,
        /// When the next one is made ready; `None` where none follows.
        #[n(2)]
        retry_at: Option<Time>,
    },
    /// The step completed; its output is in its row.
    #[n(4)]
    StepCompleted {
        /// The attempt that did it; 0 for steps without a task.
        #[n(0)]
        attempt: u32,
    },
    /// The step failed.
    #[n(5)]
    StepFailed {
        /// Why.
        #[n(0)]
        error: Error,
    },
    /// The step was skipped.
    #[n(6)]
    StepSkipped {
        /// Why, where it was not its own condition.
        #[n(0)]
        error: Option<Error>,
    },
    /// The step was cancelled.
    #[n(7)]
    StepCancelled {
        /// Why.
        #[n(0)]
        error: Error,
    },
    /// The outcome of a `write` attempt is unknown.
    #[n(8)]
    OutcomeUnknown {
        /// The attempt.
        #[n(0)]
        attempt: u32,
    },
    /// Somebody decided an unknown outcome or an approval.
    #[n(9)]
    Decided {
        /// `done`, `retry`, `fail`, `approved` or `rejected`.
        #[n(0)]
        decision: String,
        /// Who.
        #[n(1)]
        by: String,
        /// In their words.
        #[n(2)]
        comment: Option<String>,
    },
    /// A signal arrived.
    #[n(10)]
    SignalReceived {
        /// Its name.
        #[n(0)]
        name: String,
        /// What it brought.
        #[n(1)]
        payload: Payload,
    },
    /// Hand-out of tasks was held back.
    #[n(11)]
    RunPaused,
    /// Hand-out of tasks goes on.
    #[n(12)]
    RunResumed,
    /// Somebody asked to cancel the run.
    #[n(13)]
    RunCancelling {
        /// Why.
        #[n(0)]
        reason: String,
    },
    /// Compensation of completed steps began.
    #[n(14)]
    CompensationBegan,
    /// The run ended.
    #[n(15)]
    RunEnded {
        /// How.
        #[n(0)]
        status: RunStatus,
    },
    /// A task recorded an entry in its own journal.
    #[n(16)]
    TaskRecorded {
        /// The entry.
        #[n(0)]
        entry: u32,
        /// What it is, such as `call research.search`.
        #[n(1)]
        what: String,
    },
    /// The step's outcome was taken over from the run that this one was forked from.
    #[n(17)]
    StepCopied,
}

/// Why a task stands in the inbox.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct InboxItem {
    /// Since when.
    #[n(0)]
    pub since: Time,
    /// What is asked.
    #[n(1)]
    pub ask: Ask,
    /// The question, in the workflow author's words (for an unknown outcome: what is known).
    #[n(2)]
    pub title: String,
    /// What to decide upon.
    #[n(3)]
    pub details: Option<Payload>,
}

/// What the inbox asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Yes or no.
    #[n(0)]
    Approval,
    /// Did it happen?
    #[n(1)]
    UnknownOutcome,
}

/// A start that can be repeated.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Started {
    /// The run that it made.
    #[n(0)]
    pub run: RunId,
    /// The hash of what was asked for.
    #[n(1)]
    pub request: BlobHash,
}

/// A signal that waits to be read.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Signal {
    /// What it brought.
    #[n(0)]
    pub payload: Payload,
}

/// A step or a journal entry that waits for a signal.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Waiter {
    /// The step instance.
    #[n(0)]
    pub task: TaskId,
    /// The journal entry; `None` where the step itself waits.
    #[n(1)]
    pub entry: Option<u32>,
}

/// The settings of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub struct Namespace {
    /// How long a run is kept after its end; `None` keeps it.
    #[n(0)]
    pub retention: Option<consort_types::Span>,
    /// Its runs that have not ended.
    #[n(1)]
    pub runs_active: u64,
}

/// A row that says only "there is one": its key tells all.
#[derive(Clone, Copy, Debug, PartialEq, Encode, Decode)]
pub struct Mark;

/// How many rows refer to a blob.
#[derive(Clone, Copy, Debug, Default, PartialEq, Encode, Decode)]
pub struct BlobUse {
    /// The count.
    #[n(0)]
    pub rows: u64,
}

/// A record that was not applied because an operator said so; its number is the key.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Refusal {
    /// Why.
    #[n(0)]
    pub reason: String,
    /// Who said so.
    #[n(1)]
    pub by: String,
    /// When.
    #[n(2)]
    pub at: Time,
    /// The record that says so.
    #[n(3)]
    pub by_record: Seq,
}

impl Row for Meta {}
impl Row for Refusal {}
impl Row for CompiledWorkflow {
    fn weight(&self) -> usize {
        128 + self.normal_form.len() + self.source.len()
    }
}
impl Row for Deployed {}
impl Row for Items {}
impl Row for TaskEntry {}
impl Row for Entry {}
impl Row for InboxItem {}
impl Row for Started {}
impl Row for Signal {}
impl Row for Waiter {}
impl Row for Namespace {}
impl Row for Mark {}
impl Row for BlobUse {}
