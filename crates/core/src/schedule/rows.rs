//! The rows of schedules.
//!
//! For: what a schedule is, and how far it is. Not for: deciding anything (see `due` and `act`).
//! Invariant: every instant up to `planned_through` is in exactly one of the plan, the waiting ones and the counts.

use consort_types::{BlobHash, Error, Payload, Position, RunId, Seq, Span, Time};
use minicbor::{Decode, Encode};

use crate::{run::keys::TimerKind, tables::Row};

/// The instants of a schedule, as they were written. The machine never evaluates them.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Times {
    /// A cron expression in a time zone.
    #[n(0)]
    Cron {
        /// The expression, of five fields.
        #[n(0)]
        expression: String,
        /// The name of the time zone.
        #[n(1)]
        timezone: String,
    },
    /// Instants at equal distances since 1970-01-01T00:00:00Z.
    #[n(1)]
    Every {
        /// The distance, in whole seconds.
        #[n(0)]
        every: Span,
        /// How long after the multiples of the distance.
        #[n(1)]
        phase: Span,
    },
}

/// The outcome of an instant while a run of the schedule is still active.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub enum Overlap {
    /// It is skipped.
    #[n(0)]
    #[default]
    Skip,
    /// It waits, unless another one does.
    #[n(1)]
    BufferOne,
    /// It waits behind the others that do.
    #[n(2)]
    BufferAll,
    /// It is acted on all the same.
    #[n(3)]
    Allow,
    /// The active run is cancelled; the instant waits for its end, in the place of any other one.
    #[n(4)]
    CancelOther,
}

/// What a schedule does.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum ScheduleAction {
    /// Starts a run.
    #[n(0)]
    Start {
        /// The workflow.
        #[n(0)]
        workflow: String,
        /// A revision number or an author's version; the one that the name takes, without it.
        #[n(1)]
        version: Option<String>,
        /// The input, inline.
        #[n(2)]
        input: Payload,
    },
    /// Publishes an event.
    #[n(1)]
    Publish {
        /// Its type.
        #[n(0)]
        kind: String,
        /// Its topic.
        #[n(1)]
        topic: String,
        /// What it is about.
        #[n(2)]
        subject: Option<String>,
        /// Its data, inline.
        #[n(3)]
        data: Option<Payload>,
    },
}

/// What is set for a schedule.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct ScheduleSettings {
    /// Its instants.
    #[n(0)]
    pub times: Times,
    /// What it does.
    #[n(1)]
    pub action: ScheduleAction,
    /// The outcome of an instant while a run is active.
    #[n(2)]
    pub overlap: Overlap,
    /// How late an instant may be acted on.
    #[n(3)]
    pub catch_up: Span,
    /// How much later than its instant an action may come; how much exactly follows from the schedule and the instant.
    #[n(4)]
    pub jitter: Span,
    /// No instant behind this is planned.
    #[n(5)]
    pub until: Option<Time>,
    /// After how many planned instants that were acted on, or came to wait, it ends.
    #[n(6)]
    pub limit: Option<u64>,
}

/// What the planned and the requested instants have come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct ScheduleCounts {
    /// Acted on.
    #[n(0)]
    pub done: u64,
    /// Skipped: a run was active, too many waited, or the instant had been acted on before.
    #[n(1)]
    pub skipped: u64,
    /// Older than the catch-up window when they could be acted on.
    #[n(2)]
    pub missed: u64,
    /// What was to be done could not be.
    #[n(3)]
    pub failed: u64,
    /// How many of all instants were requested by hand.
    #[n(4)]
    pub by_hand: u64,
}

/// An instant on which a schedule acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Acted {
    /// The instant.
    #[n(0)]
    pub instant: Time,
    /// When it acted.
    #[n(1)]
    pub at: Time,
    /// The run that it started; `None` for an event.
    #[n(2)]
    pub run: Option<RunId>,
}

/// An instant on which a schedule could not act.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct ScheduleFailure {
    /// The instant.
    #[n(0)]
    pub instant: Time,
    /// When it was to act.
    #[n(1)]
    pub at: Time,
    /// Why it could not.
    #[n(2)]
    pub error: Error,
}

/// A past instant that was requested by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Backfilled {
    /// The instant.
    #[n(0)]
    pub instant: Time,
    /// The outcome while a run is active.
    #[n(1)]
    pub overlap: Overlap,
}

/// The timer of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Armed {
    /// When it is due.
    #[n(0)]
    pub due: Time,
    /// Whether that was at once when it was armed: such a timer may be armed for the same time again.
    #[n(1)]
    pub at_once: bool,
}

impl Armed {
    pub(crate) fn kind(self) -> TimerKind {
        if self.at_once { TimerKind::ScheduleContinue } else { TimerKind::Schedule }
    }
}

/// A schedule.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Schedule {
    /// What was set.
    #[n(0)]
    pub settings: ScheduleSettings,
    /// The record that set its times: a plan for another revision is stale.
    #[n(1)]
    pub revision: Seq,
    /// When its times were set: no earlier instant is planned.
    #[n(2)]
    pub since: Time,
    /// When it was made.
    #[n(3)]
    pub created: Time,
    /// What its timers name.
    #[n(4)]
    pub timer: Position,
    /// When its timer is due, and whether that was at once when it was armed.
    #[n(5)]
    pub armed: Option<Armed>,
    /// Whether it is paused: planned instants stay where they are.
    #[n(6)]
    pub paused: bool,
    /// The next instants, in order; at most [`consort_types::limits::SCHEDULE_PLANNED_MAX`].
    #[n(7)]
    pub planned: Vec<Time>,
    /// Every instant up to this one is planned or decided.
    #[n(8)]
    pub planned_through: Time,
    /// Whether there is no instant behind that.
    #[n(9)]
    pub ends: bool,
    /// When more instants were requested, while they have not come.
    #[n(10)]
    pub asked: Option<Time>,
    /// Planned instants that count against the limit.
    #[n(11)]
    pub spent: u64,
    /// Instants that wait for the end of a run, in order.
    #[n(12)]
    pub waiting: Vec<Time>,
    /// Past instants that were requested and are not looked at yet, in order.
    #[n(13)]
    pub backfill: Vec<Backfilled>,
    /// Its runs that are active, the oldest first.
    #[n(14)]
    pub running: Vec<RunId>,
    /// What the instants have come to.
    #[n(15)]
    pub counts: ScheduleCounts,
    /// The last instants on which it acted, the newest last.
    #[n(16)]
    pub acted: Vec<Acted>,
    /// The last failures, the newest last.
    #[n(17)]
    pub failures: Vec<ScheduleFailure>,
    /// The last instant that a request to act now was given.
    #[n(18)]
    pub last_by_hand: Time,
}

impl Row for Schedule {
    fn weight(&self) -> usize {
        4_096
    }
}

impl Schedule {
    /// Whether it has acted as often as it may.
    pub fn is_spent(&self) -> bool {
        self.settings.limit.is_some_and(|limit| self.spent >= limit)
    }

    /// Whether no planned instant will come any more.
    pub fn is_finished(&self) -> bool {
        self.planned.is_empty() && (self.ends || self.is_spent())
    }
}

impl ScheduleSettings {
    /// When the schedule of that name acts on an instant: the jitter follows from the schedule and the instant alone.
    pub(crate) fn due(&self, namespace: &str, name: &str, instant: Time) -> Time {
        if self.jitter == Span::ZERO {
            return instant;
        }
        let hash = BlobHash::of(format!("{namespace}/{name}@{}", instant.0).as_bytes()).0;
        let drawn = hash[..8].iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
        instant.after(Span(drawn % self.jitter.0.saturating_add(1)))
    }
}

/// A request for more of the plan of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanRequest {
    /// The namespace.
    pub namespace: String,
    /// The schedule.
    pub name: String,
    /// The record that set its times.
    pub revision: Seq,
    /// Its times.
    pub times: Times,
    /// No instant behind this is wanted.
    pub until: Option<Time>,
    /// The plan continues behind this.
    pub after: Time,
    /// Instants before this come too late: they may be counted instead of planned.
    pub too_old: Time,
    /// How many instants are wanted.
    pub max: usize,
}

/// The schedule that a timer is about.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ScheduleTimer {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// Its name.
    #[n(1)]
    pub name: String,
}

impl Row for ScheduleTimer {}

/// How many schedules a namespace has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct ScheduleCount {
    /// The number.
    #[n(0)]
    pub schedules: u32,
}

impl Row for ScheduleCount {}
