//! The keys of a run's rows.
//!
//! For: runs, scopes, history, timers, signals and deferred work. Not for: what is stored at them (see `rows`).
//! Invariant: the key of every row that belongs to a run names the run, so that they can be found and removed with it.

use consort_types::{Position, RunId, Seq, StepInstanceId, Time};

use crate::{
    key::{Parts, put_text},
    tables::Key,
};

/// A key that names a run: the row belongs to it.
pub trait OfRun {
    /// The run.
    fn run(&self) -> RunId;
}

impl OfRun for RunId {
    fn run(&self) -> RunId {
        *self
    }
}

impl OfRun for StepInstanceId {
    fn run(&self) -> RunId {
        self.run
    }
}

impl OfRun for ScopeKey {
    fn run(&self) -> RunId {
        self.run
    }
}

impl OfRun for LaterKey {
    fn run(&self) -> RunId {
        self.run
    }
}

impl OfRun for HistoryKey {
    fn run(&self) -> RunId {
        self.run
    }
}

impl OfRun for TimerKey {
    fn run(&self) -> RunId {
        self.task.run
    }
}

impl OfRun for SignalKey {
    fn run(&self) -> RunId {
        self.run
    }
}

impl OfRun for ListKey {
    fn run(&self) -> RunId {
        RunId(self.turned.0.map(|byte| !byte))
    }
}

/// A scope of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScopeKey {
    /// The run.
    pub run: RunId,
    /// The scope's number in the run; 0 is the workflow itself.
    pub scope: u32,
}

impl Key for ScopeKey {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.run.0);
        out.extend(self.scope.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let key = Self { run: parts.run()?, scope: parts.u32()? };
        parts.end(key)
    }
}

/// The order in which a run resumes what was left to a later record; part of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum LaterRank {
    /// What is to stop comes before anything else.
    Stop = 0,
    /// Then what has been stopped ends.
    Finish = 1,
    /// Then instances are considered or begun.
    Instance = 2,
    /// Then scopes are advanced.
    Scope = 3,
}

impl LaterRank {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Stop, Self::Finish, Self::Instance, Self::Scope].get(usize::from(byte)).copied()
    }
}

/// Work of a run that was left to a later record; the same work is there once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaterKey {
    /// The run.
    pub run: RunId,
    /// When its turn comes.
    pub rank: LaterRank,
    /// The scope.
    pub scope: u32,
    /// The instance in it; 0 where it is about the scope as a whole.
    pub index: u32,
}

impl LaterKey {
    /// The least key of the run.
    pub fn first(run: RunId) -> Self {
        Self { run, rank: LaterRank::Stop, scope: 0, index: 0 }
    }

    /// The greatest key of the run (no scope has this number).
    pub fn last(run: RunId) -> Self {
        Self { run, rank: LaterRank::Scope, scope: u32::MAX, index: u32::MAX }
    }

    /// The instance.
    pub fn task(&self) -> StepInstanceId {
        StepInstanceId { run: self.run, scope: self.scope, index: self.index }
    }
}

impl Key for LaterKey {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.run.0);
        out.push(self.rank as u8);
        out.extend(self.scope.to_be_bytes());
        out.extend(self.index.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let run = parts.run()?;
        let rank = LaterRank::from_byte(parts.u8()?)?;
        let key = Self { run, rank, scope: parts.u32()?, index: parts.u32()? };
        parts.end(key)
    }
}

/// What a row beside a run is; part of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum BesideKind {
    /// An exposed value, by its name.
    Value = 0,
    /// An update, by its id.
    Update = 1,
    /// How many there are of each, without a name.
    Counts = 2,
}

/// What a run has beside its steps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BesideKey {
    /// The run.
    pub run: RunId,
    /// What it is.
    pub kind: BesideKind,
    /// Its name or id.
    pub name: String,
}

impl BesideKey {
    pub(crate) fn new(run: RunId, kind: BesideKind, name: &str) -> Self {
        Self { run, kind, name: name.to_owned() }
    }
}

impl Key for BesideKey {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.run.0);
        out.push(self.kind as u8);
        put_text(out, &self.name);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let run = parts.run()?;
        let kinds = [BesideKind::Value, BesideKind::Update, BesideKind::Counts];
        let kind = *kinds.get(usize::from(parts.u8()?))?;
        let key = Self { run, kind, name: parts.text()? };
        parts.end(key)
    }
}

impl OfRun for BesideKey {
    fn run(&self) -> RunId {
        self.run
    }
}

/// An entry of a run's journal: `n` counts the entries that one record made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HistoryKey {
    /// The run.
    pub run: RunId,
    /// The record.
    pub seq: Seq,
    /// The entry within the record.
    pub n: u32,
}

impl Key for HistoryKey {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.run.0);
        out.extend(self.seq.0.to_be_bytes());
        out.extend(self.n.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let key = Self { run: parts.run()?, seq: Seq(parts.u64()?), n: parts.u32()? };
        parts.end(key)
    }
}

/// What a timer is for; part of its key, so that one task can have several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum TimerKind {
    /// The attempt's `timeout`.
    Timeout = 0,
    /// The step's `deadline`.
    Deadline = 1,
    /// The back-off before the next attempt.
    Backoff = 2,
    /// A `wait` of a step, or the pause before the next iteration.
    Wake = 3,
    /// A `sleep` in a task's journal.
    Sleep = 4,
    /// The run's own timeout.
    RunTimeout = 5,
    /// The run's retention is over.
    Retention = 6,
    /// Work that was too much for one record is resumed.
    Continue = 7,
    /// Rows of a deleted run are removed.
    Reap = 8,
    /// The retention of a namespace is applied to more runs that had ended before; the timer belongs to no run.
    Retain = 9,
    /// A value of the state store expires; the timer belongs to no run.
    StateExpiry = 10,
    /// More rows of a deleted space are removed; the timer belongs to no run.
    StatePurge = 11,
    /// A lease, a wait for a lock, an idle lock or a barrier is due; the timer belongs to no run.
    Coordination = 12,
    /// A round of a ballot closes; the timer belongs to no run, and has the round in the place of an entry.
    BallotDeadline = 18,
    /// The time that an ended ballot is kept is over, or rows of it are left; the timer names the ballot likewise.
    BallotReap = 19,
    /// Deliveries, triggers or the retention of events are due; the timer belongs to no run.
    Events = 14,
    /// What was due of events and too much for one record is resumed; the timer belongs to no run.
    EventsContinue = 15,
    /// A schedule has something to do; the timer names the schedule in the place of a task.
    Schedule = 16,
    /// The same at once, once more or because a run has ended.
    ScheduleContinue = 17,
}

impl TimerKind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Timeout,
            1 => Self::Deadline,
            2 => Self::Backoff,
            3 => Self::Wake,
            4 => Self::Sleep,
            5 => Self::RunTimeout,
            6 => Self::Retention,
            7 => Self::Continue,
            8 => Self::Reap,
            9 => Self::Retain,
            10 => Self::StateExpiry,
            11 => Self::StatePurge,
            12 => Self::Coordination,
            14 => Self::Events,
            15 => Self::EventsContinue,
            16 => Self::Schedule,
            17 => Self::ScheduleContinue,
            18 => Self::BallotDeadline,
            19 => Self::BallotReap,
            _ => return None,
        })
    }
}

/// A timer: when it is due, whose it is, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerKey {
    /// When it is due, in log time.
    pub due: Time,
    /// The task (for a run's own timers: scope 0, index 0).
    pub task: StepInstanceId,
    /// What it is for.
    pub kind: TimerKind,
    /// The journal entry that sleeps, or the round of a ballot; 0 for the other kinds.
    pub entry: u32,
}

impl TimerKey {
    /// The least key that is due at `due`.
    pub fn at(due: Time) -> Self {
        Self { due, task: root_task(NO_RUN), kind: TimerKind::Timeout, entry: 0 }
    }
}

impl Key for TimerKey {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.due.0.to_be_bytes());
        Key::encode(&self.task, out);
        out.push(self.kind as u8);
        out.extend(self.entry.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let due = Time(parts.u64()?);
        let task = Key::decode(&parts.take::<24>()?)?;
        let key = Self { due, task, kind: TimerKind::from_byte(parts.u8()?)?, entry: parts.u32()? };
        parts.end(key)
    }
}

/// A run in the listing of its namespace, newest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListKey {
    /// The namespace.
    pub namespace: String,
    /// The run's id with every bit turned, so that newer runs sort first.
    pub turned: RunId,
}

impl ListKey {
    /// The place of a run in the listing.
    pub fn of(namespace: &str, run: RunId) -> Self {
        Self { namespace: namespace.to_owned(), turned: RunId(run.0.map(|byte| !byte)) }
    }
}

impl Key for ListKey {
    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.namespace);
        out.extend(self.turned.0);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let key = Self { namespace: parts.text()?, turned: parts.run()? };
        parts.end(key)
    }
}

/// A signal that waits to be read (`number` counts arrivals), or a task that waits for one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignalKey {
    /// The run.
    pub run: RunId,
    /// The signal's name.
    pub name: String,
    /// The record in which it arrived, or in which the wait began: first come, first served.
    pub seq: Seq,
    /// The order within the record.
    pub n: u32,
}

impl Key for SignalKey {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.run.0);
        put_text(out, &self.name);
        out.extend(self.seq.0.to_be_bytes());
        out.extend(self.n.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let key = Self { run: parts.run()?, name: parts.text()?, seq: Seq(parts.u64()?), n: parts.u32()? };
        parts.end(key)
    }
}

/// The id that no run has: the timers of what belongs to no run, and is there once, have it.
pub(crate) const NO_RUN: RunId = RunId([0; 16]);

/// What the timers of something that belongs to no run, and is known by its position, have in the place of a task. No run
/// has such an id: it is older than any clock.
pub(crate) fn timer_of(at: Position) -> StepInstanceId {
    let mut run = NO_RUN.0;
    run[8..].copy_from_slice(&at.seq.0.to_be_bytes());
    StepInstanceId { run: RunId(run), scope: at.n, index: 0 }
}

/// The position that [`timer_of`] has put there.
pub(crate) fn position_of(timer: StepInstanceId) -> Position {
    let seq = timer.run.0[8..].iter().fold(0, |seq, byte| seq << 8 | u64::from(*byte));
    Position { seq: Seq(seq), n: timer.scope }
}

/// The key of a run's own timers.
pub(crate) fn root_task(run: RunId) -> StepInstanceId {
    StepInstanceId { run, scope: 0, index: 0 }
}

pub(crate) fn scope_of(task: StepInstanceId) -> ScopeKey {
    ScopeKey { run: task.run, scope: task.scope }
}
