//! The shell around the machine: partition loop, recovery, timers, watches.
//!
//! For: everything that the machine must not do itself: append groups to the log, hand tasks out, keep time, answer,
//! write rows back to the store. [`Handle`] is the only door for clients and workers; [`Partition`] is the same shell
//! without thread, clock or channel, for the simulator. Not for: the rules of runs and tasks (core), nor any real
//! log or store (adapters come in as trait objects).
//! Invariant: an answer leaves only after its record is durable (law 1).

mod admit;
mod backing;
mod blob_gc;
mod calendar;
mod clock;
mod config;
mod freeze;
mod handle;
mod linger;
mod observer;
pub mod partition;
mod run_ids;
mod seen;
mod shell;
mod status;
mod topic;

/// What is seen of runs, steps, histories, the inbox and workflows.
pub mod view {
    pub use consort_core::{
        command::NewEvent,
        rows::{
            AsTasks, Ask, BackOff, BallotStatus, Candidate, Change, ChangeKind, Conflict, Decided, EventRetention,
            Generation, HistoryEvent, LockChange, LockChangeKind, OrderKey, Overlap, Owner, Paused, PrefixMerge, Push,
            PushFailure, ScheduleAction, ScheduleCounts, ScheduleFailure, ScheduleSettings, Settlement, Space,
            StepState, SubscriptionSettings, Times, TriggerAction, TriggerFailure, TriggerSettings,
        },
        tally::{ClosedBy, Outcome, Score, Tally, Undecided, Verdict},
        view::*,
    };
    pub use consort_workflow::Expression;
}

pub use admit::{check_document, check_whole_numbers};
pub use backing::{StoreBacking, write_rows};
pub use blob_gc::BlobGc;
pub use clock::{Clock, ClockNotice, ClockReading, SkippedTime};
pub use config::{Config, Parts};
pub use consort_dispatch::WorkerInstanceId as InstanceId;
pub use freeze::{Archive, Backup, Frozen, first_record, time_of};
pub use handle::{
    AgentWatch, BallotWatch, Ballots, BulkAction, BulkItem, BulkRequest, BulkResult, Coordination, Decision, Deployed,
    EventBus, EventWatch, FailedSteps, FetchRequest, ForkRequest, Handle, LockEvent, LockWatch, PushWatch, Pushes,
    RunBeside, ScheduleRequest, Scheduler, Session, SessionSender, ShownSchedule, StartRequest, Started, StatePage,
    StateStore, StateWatch, StepReader, SubscriptionText, TriggerActionText, TriggerText, Watch, WatchEvent,
    WatchedEvent,
};
pub use linger::linger;
pub use observer::{AppendedGroup, Observer};
pub use partition::{Attached, Outputs, Partition, Ticket, refuse_record};
pub use seen::SeenEntry;
pub use status::{AgentStatus, Status, Waits};
pub use topic::Topic;

pub use consort_core::{
    AttemptEnd, blob_used_by,
    command::{
        AcquireLock, ArriveBarrier, BarrierState, BreakLock, CastVote, Choice, LockClaim, OperationResult,
        RefuseRecord, ReleaseLock, RenewLock, ReplacedRevision, Resolution, Transacted,
    },
};
pub use consort_types::Locality;
