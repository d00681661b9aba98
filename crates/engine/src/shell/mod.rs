//! The threads of a partition: the loop, and the writer of rows.
//!
//! For: driving a [`crate::Partition`] with a clock, channels and threads. Not for: any decision (the partition and the
//! machine make them all).
//! Invariant: only the loop thread touches the partition; only the writer thread writes to the store after the start.

mod completion;
mod mailbox;
mod pages;
mod pending;
mod run;
mod subscriptions;
mod sweep;
mod writer;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use consort_core::{Command, Machine, Reply};
use consort_types::{
    Code, Error, Locality, Result, Seq, Span, Time, limits,
    worker::{FromWorker, Hello, ToWorker},
};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

pub(crate) use completion::Waiter;
pub(crate) use mailbox::Mailbox;
pub(crate) use pages::{Page, Pages};
pub(crate) use run::start;
pub(crate) use subscriptions::{Subscribing, Subscription, Subscriptions, Wake};

use crate::{
    InstanceId,
    blob_gc::{BlobGc, Pin},
    clock::ClockReading,
    freeze::Frozen,
    partition::{Attached, Partition},
    run_ids::RunIds,
    status::Status,
};

/// A query of the state, run on the loop thread between two groups.
pub(crate) type StateQuery = Box<dyn FnOnce(Result<&mut Machine>) + Send>;

/// A query of the partition as a whole, run on the loop thread between two groups.
pub(crate) type PartitionQuery = Box<dyn FnOnce(&mut Partition) + Send>;

/// What the loop thread is told.
pub(crate) enum Message {
    /// Put a command into the next group.
    Submit { command: Box<Command>, reply: oneshot::Sender<Result<Reply>>, pins: Vec<Pin> },
    /// Look at the state, once it holds the record `at_least`.
    Read { at_least: Seq, read: StateQuery },
    /// Look at the partition.
    Look(PartitionQuery),
    /// Begin a subscription.
    Subscribe { subscribing: Subscribing, reply: oneshot::Sender<Subscription> },
    /// Answer when a run has ended.
    WaitEnd(Waiter),
    /// An instance joins.
    Attach {
        hello: Box<Hello>,
        locality: Locality,
        /// Bytes of messages that may wait for it.
        unread_max: usize,
        outbox: mpsc::Sender<Vec<ToWorker>>,
        reply: oneshot::Sender<Result<Attached>>,
    },
    /// An instance reports.
    Report { instance: InstanceId, report: Box<FromWorker>, pin: Option<Pin>, place: Option<OwnedSemaphorePermit> },
    /// An instance has dealt with messages of this weight.
    HasRead { instance: InstanceId, bytes: usize },
    /// An instance leaves.
    Detach(InstanceId),
    /// Requests a status snapshot, with the agents of a namespace where one is named.
    Status { namespace: Option<String>, reply: oneshot::Sender<Status> },
    /// Hand everything that is applied to the store, and answer with the rows at that moment.
    Freeze(oneshot::Sender<Result<Frozen>>),
    /// Keep log and blobs behind this record from now on.
    KeepFrom(Seq),
    /// Hand nothing out any more; answer when no instance holds a task.
    Drain(oneshot::Sender<()>),
    /// Stop: with everything written and synced, or at once.
    Stop { graceful: bool },
}

/// What the handles and the loop thread share.
pub(crate) struct Shared {
    pub(crate) mailbox: Mailbox<Message>,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) blob_gc: BlobGc,
    pub(crate) run_ids: RunIds,
    /// Commands of clients that wait to be appended.
    pub(crate) waiting: AtomicUsize,
    /// Reads that wait to be answered.
    pub(crate) reading: AtomicUsize,
    /// Whether new work is refused because the engine stops.
    pub(crate) stopping: AtomicBool,
    /// Becomes `true` when the loop thread has ended and the log is closed.
    pub(crate) stopped: watch::Sender<bool>,
}

impl Shared {
    pub(crate) fn new(blob_gc: BlobGc) -> Arc<Self> {
        Arc::new(Self {
            mailbox: Mailbox::new(),
            subscriptions: Subscriptions::default(),
            blob_gc,
            run_ids: RunIds::new(),
            waiting: AtomicUsize::new(0),
            reading: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            stopped: watch::Sender::new(false),
        })
    }

    /// Sends to the loop thread.
    pub(crate) fn send(&self, message: Message) -> Result<()> {
        self.mailbox.send(message).map_err(|_| stopping())
    }

    /// Sends a client's command, unless too many wait.
    pub(crate) fn submit(&self, message: Message) -> Result<()> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(stopping());
        }
        let waiting = self.waiting.fetch_add(1, Ordering::AcqRel);
        if waiting >= limits::COMMANDS_WAITING_MAX {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            return Err(overloaded("commands", waiting));
        }
        self.send(message).inspect_err(|_| {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
        })
    }
}

/// A place among the reads that wait, given back when dropped.
pub(crate) struct Reading(Arc<Shared>);

impl Reading {
    /// Takes a place, unless too many wait.
    pub(crate) fn begin(shared: &Arc<Shared>) -> Result<Self> {
        let waiting = shared.reading.fetch_add(1, Ordering::AcqRel);
        let place = Self(Arc::clone(shared));
        if waiting < limits::COMMANDS_WAITING_MAX { Ok(place) } else { Err(overloaded("reads", waiting)) }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.reading.fetch_sub(1, Ordering::AcqRel);
    }
}

pub(crate) fn stopping() -> Error {
    Error::new(Code::Stopping, "the engine is stopping and takes nothing new").hint("try again when it has started")
}

fn overloaded(what: &str, waiting: usize) -> Error {
    let max = limits::COMMANDS_WAITING_MAX;
    Error::new(Code::Overloaded, format!("`{waiting}` {what} wait, the limit is {max}")).hint("try again after `100ms`")
}

/// The wall clock, in log time.
pub(crate) fn wall_clock() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Time(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// The clock that measures spans. It also counts while the machine is suspended, which `Instant` does not on Linux.
#[cfg(any(target_os = "linux", target_os = "android"))]
const STEADY: ClockId = ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const STEADY: ClockId = ClockId::Monotonic;

/// Both clocks, now.
pub(crate) fn read_clocks() -> ClockReading {
    let steady = clock_gettime(STEADY);
    let (seconds, nanos) = (u64::try_from(steady.tv_sec), u64::try_from(steady.tv_nsec));
    let (seconds, nanos) = (seconds.unwrap_or_default(), nanos.unwrap_or_default());
    ClockReading { wall: wall_clock(), steady: Span(seconds.saturating_mul(1_000_000).saturating_add(nanos / 1_000)) }
}
