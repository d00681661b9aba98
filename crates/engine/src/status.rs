//! How a partition is doing.
//!
//! For: operators, `doctor`, metrics. Not for: deciding.
//! Invariant: every number is of one moment: between two groups.

use consort_core::{rows::TaskCounts, view::RefusedRecord};
pub use consort_types::registry::AgentStatus;
use consort_types::{Error, Seq, Span, Time};
use serde::Serialize;

/// How a partition is doing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// Log time.
    pub now: Time,
    /// The last record that was applied.
    pub applied: Seq,
    /// The first record that the log still has.
    pub log_first: Seq,
    /// The last durable record.
    pub log_last: Seq,
    /// The last record that the store's rows reflect.
    pub store_written: Seq,
    /// The last record whose rows survive a power cut in the store; the log is trimmed behind it.
    pub store_synced: Seq,
    /// Bytes appended to the log since the start.
    pub log_bytes: u64,
    /// Bytes of rows and blobs handed to the store since the start.
    pub store_bytes: u64,
    /// Groups appended since the start: one durable write each.
    pub groups: u64,
    /// Records appended since the start.
    pub records: u64,
    /// Commands that wait for the next group.
    pub commands_waiting: usize,
    /// Changed rows in memory that were not handed to the store yet.
    pub rows_changed: usize,
    /// Tasks, counted by their state.
    pub tasks: TaskCounts,
    /// Runs that have not ended.
    pub runs_active: u64,
    /// Tasks that wait for an instance.
    pub tasks_queued: usize,
    /// Why the partition has halted, where it has.
    pub halted: Option<Error>,
    /// Records of the log that operators had refused, in order.
    pub refused: Vec<RefusedRecord>,
    /// Whether tasks are handed out no more.
    pub draining: bool,
    /// Instances that are connected, of all namespaces.
    pub instances: usize,
    /// Tasks that instances hold.
    pub tasks_held: usize,
    /// The connected agents of the namespace that was asked about, by name and version; none where none was.
    pub agents: Vec<AgentStatus>,
    /// How far log time is ahead of the wall clock, which was set back or was wrong before. Waits until an instant end
    /// that much too early; spans are measured as ever.
    pub clock_lead: Span,
    /// How far the wall clock has leapt ahead of log time, while that is not confirmed.
    pub clock_leap: Span,
}

/// What a partition waits for: whether anything is left to do but what time, an instance or a client brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// The last record that was applied.
    pub applied: Seq,
    /// Whether nothing waits to be appended, applied or handed out.
    pub settled: bool,
    /// Tasks that instances hold.
    pub held: usize,
    /// Log time.
    pub now: Time,
    /// When time alone brings something next.
    pub next: Option<Time>,
}
