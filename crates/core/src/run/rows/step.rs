//! The rows of step instances and of the scopes that hold them.
//!
//! For: where each step instance is in its life. Not for: what a step is to do (the definition has that).
//! Invariant: a step instance has one row, whatever its number of attempts.

use consort_types::{EffectClass, Error, Payload, RunId, Seq, Time, Token, WorkerInstance};
use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::tables::Row;

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
    /// One call that queries the outcome of a lost `write` attempt.
    #[n(5)]
    Reconcile,
    /// The auction of a call: instances below `called` call for bids, those from there on are the awards.
    #[n(6)]
    Auction {
        /// How many agents are called for a bid.
        #[n(0)]
        called: u32,
    },
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
    /// Set when the scope has closed; nothing in it changes after that.
    #[n(7)]
    pub closed: bool,
}

impl Row for Scope {}

/// The state of a step instance.
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
    /// An instance runs its task.
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
    /// Its code differs from its journal: it waits for code that fits, or for a decision.
    #[n(13)]
    Diverged,
    /// It is a compensation that is not tried again by itself: it waits for a decision.
    #[n(14)]
    GaveUp,
    /// It waits for a time, a signal, an event or a lock.
    #[n(6)]
    Waiting,
    /// It waits for a person's decision.
    #[n(7)]
    Approval,
    /// Steps or a run below it are active.
    #[n(8)]
    Open,
    /// Ended: done.
    #[n(9)]
    Completed,
    /// Ended: failed.
    #[n(10)]
    Failed,
    /// Ended: its condition was false, or a step that it needs failed.
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
            Self::Diverged => "diverged",
            Self::GaveUp => "gave_up",
            Self::Waiting => "waiting",
            Self::Approval => "waiting_approval",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A version of an agent that a task is pinned to, because its code wrote the task's journal.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Pin {
    /// The agent.
    #[n(0)]
    pub agent: String,
    /// Its version, as its author wrote it.
    #[n(1)]
    pub version: String,
}

/// The end of a step that waits until the outcome of its `write` attempt is known.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct AwaitedEnd {
    /// What it ends with, unless it has completed.
    #[n(0)]
    pub error: Error,
    /// Whether the instance above it has ended, and only its run waits for it.
    #[n(1)]
    pub detached: bool,
}

/// The lock of a step.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct StepLock {
    /// Its name.
    #[n(0)]
    pub name: String,
    /// The token of the grant; `None` while the step waits for it.
    #[n(1)]
    pub token: Option<Token>,
    /// Whether the step has begun under it.
    #[n(2)]
    pub begun: bool,
}

/// A step instance: its state and outcome. What it is to do is in the definition.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Step {
    /// Its state.
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
    /// The scope of the call that queries the outcome of its lost attempt.
    #[n(24)]
    pub asking: Option<u32>,
    /// Whether its end is decided, and only waits until everything below it has been stopped.
    #[n(25)]
    pub ending: bool,
    /// The version of an agent whose code wrote the task's journal, where it has one.
    #[n(26)]
    pub pinned: Option<Pin>,
    /// Of a top-level step: how often what it did was undone, in the runs that its run was forked from.
    #[n(27)]
    pub undone: Option<u32>,
    /// The version of its agent that served the attempt that was last taken; `None` in rows of before.
    #[n(28)]
    pub version: Option<String>,
    /// How often its worker died while it ran, since its journal last grew.
    #[n(29)]
    pub deaths: Option<u32>,
    /// What it ends with, unless it completes, once the outcome of its `write` attempt is known.
    #[n(30)]
    pub ends_as: Option<AwaitedEnd>,
    /// The lock that it holds or waits for, or has held.
    #[n(31)]
    pub lock: Option<StepLock>,
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
            pinned: None,
            undone: None,
            version: None,
            deaths: None,
            ends_as: None,
            lock: None,
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

impl Row for Items {}

/// What a step has read of shared state before its `if` was decided.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct StepReads {
    /// A JSON map from names to values with their versions.
    #[n(0)]
    pub document: Payload,
}

impl Row for StepReads {}
