//! The only way into the engine.
//!
//! For: everything that a client, a protocol or a worker may ask, typed and asynchronous. Not for: deciding (the
//! machine does), nor for waiting on a disk (the loop thread does).
//! Invariant: what a method returns is durable; a method that is dropped half-way has either been done or not, and
//! asking again with the same idempotency key is safe.

mod ballots;
mod beside;
mod bulk;
mod contracts;
mod decide;
mod events;
mod keep;
mod lock_watch;
mod locks;
mod observe;
mod operations;
mod partition_client;
mod pushes;
mod reads;
mod registry;
mod schedules;
mod search;
mod session;
mod start;
mod state;
mod status;
mod step;
mod watch;

use std::{sync::Arc, time::Duration};

use consort_types::{Code, Error, Result, limits};
use futures::future::{join_all, select_all};

pub use ballots::{BallotWatch, Ballots};
pub use beside::RunBeside;
pub use bulk::{BulkAction, BulkItem, BulkRequest, BulkResult};
pub use decide::Decision;
pub use events::{EventBus, EventWatch, FetchRequest, SubscriptionText, TriggerActionText, TriggerText, WatchedEvent};
pub use lock_watch::{LockEvent, LockWatch};
pub use locks::Coordination;
pub use observe::AgentWatch;
pub use operations::Deployed;
pub use pushes::{PushWatch, Pushes};
pub use schedules::{ScheduleRequest, Scheduler, ShownSchedule};
pub use search::FailedSteps;
pub use session::{Session, SessionSender};
pub use start::{ForkRequest, StartRequest, Started};
pub use state::{StatePage, StateStore, StateWatch};
pub use step::StepReader;
pub use watch::{Watch, WatchEvent};

pub(crate) use partition_client::PartitionClient;

use crate::{Archive, Config, Observer, Parts};

/// How many items a page has: the requested number, which must be from 1 to `max`, or the default.
fn page_items(limit: Option<usize>, max: usize) -> Result<usize> {
    match limit {
        None => Ok(limits::PAGE_ITEMS_DEFAULT),
        Some(limit) if (1..=max).contains(&limit) => Ok(limit),
        Some(limit) => {
            let message = format!("`limit` is `{limit}`, but must be a number from 1 to {max}");
            let hint = "request fewer items, and continue with the cursor of the answer";
            Err(Error::new(Code::BadRequest, message).hint(hint))
        }
    }
}

/// The only way into the engine: it looks a namespace up to the partition that has it. Clones are the same handle; the
/// partitions stop when the last one is dropped.
#[derive(Clone)]
pub struct Handle {
    /// One partition has every namespace today.
    partition: PartitionClient,
    /// Where backups are written; an engine without one makes none.
    archive: Option<Arc<dyn Archive>>,
}

impl Handle {
    /// Recovers a partition and starts its threads. Returns when every durable record is applied.
    pub async fn open(parts: Parts, config: Config) -> Result<Self> {
        Ok(Self { partition: PartitionClient::open(parts, config, None).await?, archive: None })
    }

    /// As [`Handle::open`]; `observer` is told what happens.
    pub async fn open_observed(parts: Parts, config: Config, observer: Arc<dyn Observer>) -> Result<Self> {
        Ok(Self { partition: PartitionClient::open(parts, config, Some(observer)).await?, archive: None })
    }

    /// The partition that has a namespace.
    pub(crate) fn of(&self, _namespace: &str) -> &PartitionClient {
        &self.partition
    }

    /// Every partition.
    fn all(&self) -> [&PartitionClient; 1] {
        [&self.partition]
    }

    /// Stops handing tasks out, tells the workers to finish, and waits until none holds a task, at most `bound`.
    /// Returns whether all were done in time.
    pub async fn drain(&self, bound: Duration) -> bool {
        join_all(self.all().map(|partition| partition.drain(bound))).await.into_iter().all(|drained| drained)
    }

    /// Drains for at most `bound`, writes and syncs everything (so that the next start replays nothing), and stops.
    /// New commands are answered `stopping` from the first moment on.
    pub async fn shutdown(&self, bound: Duration) {
        self.all().into_iter().for_each(PartitionClient::refuse_commands);
        self.drain(bound).await;
        join_all(self.all().map(|partition| partition.stop(true))).await;
    }

    /// Stops at once. Nothing that was acknowledged is lost; the next start replays the tail of the log.
    pub async fn stop_now(&self) {
        self.all().into_iter().for_each(PartitionClient::refuse_commands);
        join_all(self.all().map(|partition| partition.stop(false))).await;
    }

    /// Ends when a partition has stopped, for whatever reason.
    pub async fn stopped(&self) {
        select_all(self.all().map(|partition| Box::pin(partition.stopped()))).await;
    }
}
