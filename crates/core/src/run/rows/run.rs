//! The row of a run, and what a run leaves to later records.
//!
//! For: what is remembered of a run as a whole. Not for: its steps (see `step`), or the rules that change it.
//! Invariant: the size of the row does not grow with the length of the run.

use std::collections::BTreeMap;

use consort_types::{BlobHash, Error, Payload, RunId, Seq, Span, StepInstanceId, Time, event::Position};
use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::tables::Row;

/// The status of a run.
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
    /// Ended: every step succeeded.
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
    /// The step from which it runs again; `None` for "from what had not completed".
    #[n(1)]
    pub step: Option<String>,
}

/// The delivery of an event that a run settles with its end.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Delivers {
    /// The subscription.
    #[n(0)]
    pub subscription: String,
    /// The event.
    #[n(1)]
    pub position: Position,
    /// How long the run is to be kept once the event is acknowledged; not at all, without it. Of an ended run: how long it
    /// is kept; as long as the dead letter, without it.
    #[n(2)]
    pub keep: Option<Span>,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent fact that a person reads in the row")]
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
    /// Its status.
    #[n(4)]
    pub status: RunStatus,
    /// Whether the assignment of its tasks is paused.
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
    pub parent: Option<StepInstanceId>,
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
    /// Whether a timer is armed that resumes what was left to a later record.
    #[n(31)]
    pub continues: bool,
    /// The scope of its compensations, once they have begun.
    #[n(32)]
    pub compensations: Option<u32>,
    /// The first of the runs that it was forked from, one from the other; `None` where it is no fork. Of a run that a step
    /// started: a hash of the place at which it did.
    #[n(33)]
    pub lineage: Option<RunId>,
    /// Steps of it whose effect was under way when the instance above them ended; it ends after them.
    #[n(35)]
    #[cbor(default)]
    pub detached: u32,
    /// The contents that came with its start, or that of the run above it, for workflows that it calls by name; others
    /// are those that are deployed.
    #[n(34)]
    #[cbor(default)]
    pub pins: BTreeMap<String, BlobHash>,
    /// The delivery of an event that its end settles, where a subscription has started it.
    #[n(36)]
    pub delivers: Option<Delivers>,
}

impl Row for Run {
    fn weight(&self) -> usize {
        512 + self.input.bytes().map_or(0, <[u8]>::len)
    }
}

impl Run {
    /// Moves the run to another status. This is the only place that does, and [`RunStatus::may_become`] lists the legal
    /// moves.
    pub(crate) fn set_status(&mut self, status: RunStatus) {
        assert!(self.status.may_become(status), "a run that is {:?} cannot become {status:?}", self.status);
        self.status = status;
    }

    /// Whether nothing below it outlives its own steps.
    pub(crate) fn awaits_nothing(&self) -> bool {
        self.children == 0 && self.detached == 0
    }

    /// Bytes of its input and output.
    pub fn document_bytes(&self) -> u64 {
        self.input.len() + self.output.as_ref().map_or(0, Payload::len)
    }

    /// Whether steps of the run are being stopped over several records: nothing starts meanwhile.
    pub fn is_stopping(&self) -> bool {
        self.cancelling.is_some() || self.stopping > 0
    }

    /// The contents that it needs as long as it is kept.
    pub fn contents(&self) -> impl Iterator<Item = BlobHash> + '_ {
        std::iter::once(self.hash).chain(self.pins.values().copied().filter(|hash| *hash != self.hash))
    }

    /// Whether its tasks are not assigned now.
    pub fn is_held(&self) -> bool {
        self.paused || self.cancelling.is_some()
    }
}

/// The cancellation of a run's steps, as far as it has come.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Cancelling {
    /// Why the run was cancelled, for the runs below it.
    #[n(0)]
    pub reason: String,
    /// The first step instance that is yet to be cancelled: scope and index.
    #[n(1)]
    pub from: (u32, u32),
}

/// What was left to a later record. Its key identifies it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Later {
    /// Stop what is live in the scope, from this instance on.
    #[n(0)]
    Stop,
    /// End the instance, now that nothing below it is live.
    #[n(1)]
    Finish {
        /// What it made; without that, it failed or was cancelled.
        #[n(0)]
        output: Option<Payload>,
        /// Why it failed or was cancelled.
        #[n(1)]
        error: Option<Error>,
    },
    /// Decide whether the instance runs.
    #[n(2)]
    Consider,
    /// Begin the instance.
    #[n(3)]
    Begin,
    /// Start what may start in the scope, or close it.
    #[n(4)]
    Advance,
}

impl Row for Later {}

/// A start that can be repeated.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct IdempotencyRecord {
    /// The run that it made.
    #[n(0)]
    pub run: RunId,
    /// The hash of the request.
    #[n(1)]
    pub request: BlobHash,
}

impl Row for IdempotencyRecord {}
