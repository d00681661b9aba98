//! What happens: the messages that the world delivers to actors.
//!
//! For: one list of every event with its receiver. Not for: handling any of them (see `actors`).
//! Invariant: an event carries all that its receiver needs besides its own state and the context.

use consort_core::{
    Reply,
    command::Transacted,
    view::{Fetched, Published},
};
use consort_engine::{InstanceId, Outputs, Ticket};
use consort_types::{
    BlobHash, Result, RunId, Seq, StepInstanceId, Token,
    worker::{FromWorker, ToWorker},
};

use crate::{host::End, requests::Request};

/// How a worker instance misbehaves as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misbehaviour {
    /// Its process dies and is started again.
    Dies,
    /// Its connection breaks.
    LosesConnection,
    /// It takes tasks and says nothing at all.
    FallsSilent,
}

/// A fault of disk or store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiskFault {
    /// The `n`-th sync of the log from now fails.
    FailSync(u64),
    /// The store fails until it is healed.
    FailStore,
    /// Writes are slow for so many microseconds.
    Slow(u64),
}

/// What happens.
#[derive(Debug)]
pub(crate) enum Event {
    // To the process.
    /// The partition's loop makes a round.
    Loop,
    /// The outputs of a group leave the engine.
    Deliver(Box<Outputs>),
    /// Every output of a group has left the engine.
    Delivered { unused: Vec<(Seq, BlobHash)>, dropped: Vec<InstanceId> },
    /// The process dies when some outputs of a group have left.
    CutOff,
    /// Changed rows are taken.
    Flush,
    /// Rows that were taken are written to the store.
    Write,
    /// The store is synced.
    Sync,
    /// The answer of a log that is far arrives.
    LogAnswer,
    /// A process starts.
    Open,
    /// The process ends, for this reason.
    Crash { end: End, why: &'static str },
    /// Disk or store fail.
    DiskFault(DiskFault),

    // To a log that is far.
    /// A group arrives.
    LogArrival,

    // To the engine's door.
    /// A client's request arrives.
    Request(Box<Request>),
    /// A worker's report arrives.
    Report { session: u64, report: FromWorker },
    /// The engine notices that a connection has ended.
    Detach { session: u64 },
    /// The engine answers a request.
    Reply { ticket: Ticket, reply: Box<Result<Reply>> },
    /// The engine sends messages to an instance.
    Send { remote: InstanceId, messages: Vec<ToWorker> },

    // To worker instances.
    /// Messages arrive.
    Receive { session: u64, messages: Vec<ToWorker> },
    /// An instance connects.
    Connect { instance: usize },
    /// The agent of an instance is registered.
    Registered { instance: usize },
    /// The worker notices that its connection has ended.
    Broken { session: u64 },
    /// An agent continues with a task.
    Work { instance: usize, task: StepInstanceId, token: Token },
    /// An agent whose task was cancelled reports all the same.
    Zombie { instance: usize, report: FromWorker },
    /// An instance sends a heartbeat.
    Beat { instance: usize },
    /// An instance misbehaves as a whole.
    Misbehave { instance: usize, how: Misbehaviour },
    /// An injected bug takes all leases for expired.
    LeasesExpire,
    /// Every instance behaves from here on.
    Heal,

    // To clients and operators.
    /// Clients deploy and start.
    Start,
    /// A workflow is deployed.
    Deployed { namespace: usize, workflow: usize },
    /// A run is started.
    Started { index: usize, run: RunId },
    /// Publishers publish, and consumers fetch.
    Bus,
    /// An event was published.
    Published { index: usize, published: Vec<Published> },
    /// Clients of a few keys continue.
    Access,
    /// An operation on keys was answered.
    Accessed { number: usize, answer: Box<Transacted> },
    /// A consumer has got deliveries.
    Fetched { namespace: usize, subscription: usize, fetched: Box<Fetched> },
    /// An operator does something to runs.
    Operate,
    /// An operator does something to agents and limits.
    Register,
    /// An approver looks into the inbox.
    Approve,
    /// Clients write and follow shared state.
    Share,
    /// A client sets or operates a schedule.
    Schedule,
    /// A candidate does something to a lock or a barrier.
    Campaign,
    /// Something happens in a ballot.
    Vote,

    // To those that make trouble.
    /// A worker reports on a task that it does not hold.
    Lie,
    /// Something fails.
    Fault,
    /// The wall clock leaps.
    ClockLeap,

    // To the judge.
    /// Faults end here; the judge looks whether all runs have ended.
    Quiesce,
    /// All is quiet: the last checks.
    Finish,
}

impl Event {
    /// Whether it happens inside a process, and dies with it.
    pub(crate) fn is_of_process(&self) -> bool {
        matches!(self, Self::Loop | Self::Deliver(_) | Self::Flush | Self::Write | Self::Sync | Self::LogAnswer)
    }

    /// A form without payloads, for events that may carry large ones: what is in them shows in the records that follow.
    pub(crate) fn brief(&self) -> Option<String> {
        match self {
            Self::Deliver(outputs) => {
                let (replies, to_workers) = (outputs.replies.len(), outputs.to_workers.len());
                Some(format!("Deliver {replies} {to_workers} {}", outputs.progress.len()))
            }
            Self::Fetched { subscription, fetched, .. } => {
                Some(format!("Fetched {subscription} {}", fetched.deliveries.len()))
            }
            Self::Request(request) => Some(format!("Request {:?}", request.ticket)),
            Self::Report { session, report } => Some(format!("Report {session} {:?}", report.attempt())),
            Self::Receive { session, messages } => {
                let weight: u64 = messages.iter().map(|message| message.weight() as u64).sum();
                Some(format!("Receive {session} {} {weight}", messages.len()))
            }
            _ => None,
        }
    }
}
