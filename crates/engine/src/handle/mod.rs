//! The only door to a partition.
//!
//! For: everything that a client, a protocol or a worker may ask, typed and asynchronous. Not for: deciding (the
//! machine does), nor for waiting on a disk (the loop thread does).
//! Invariant: what a method returns is durable; a method that is dropped half-way has either been done or not, and
//! asking again with the same idempotency key is safe.

mod bulk;
mod contracts;
mod observe;
mod operations;
mod reads;
mod registry;
mod session;
mod start;
mod status;
mod watch;

use std::{sync::Arc, time::Duration};

use consort_core::{Command, Reply};
use consort_types::{Code, Error, Payload, Result, RunId, limits};
use tokio::sync::oneshot;

pub use bulk::{BulkAction, BulkItem, BulkRequest, BulkResult};
pub use observe::AgentWatch;
pub use operations::{Decision, Deployed};
pub use session::{Session, SessionSender};
pub use start::{ForkRequest, StartRequest, Started};
pub use status::{AgentStatus, Status};
pub use watch::{Watch, WatchEvent};

use crate::{
    Config, Parts,
    keeper::Pin,
    shell::{self, Message, Shared},
};

/// How many items a listing gives, where so many are asked for and `max` is the most.
fn page_items(limit: Option<usize>, max: usize) -> Result<usize> {
    match limit {
        None => Ok(limits::PAGE_ITEMS_DEFAULT),
        Some(limit) if (1..=max).contains(&limit) => Ok(limit),
        Some(limit) => {
            let message = format!("`limit` is `{limit}`, but must be a number from 1 to {max}");
            Err(Error::new(Code::BadRequest, message).hint("ask for less, and go on with the cursor of the answer"))
        }
    }
}

/// Ends the loop thread with the last handle.
struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        // Where the thread has ended already there is nothing to tell.
        let _ = self.0.send(Message::Stop { graceful: false });
    }
}

/// The only door to a partition. Clones are the same door; the partition stops when the last one is dropped.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    _guard: Arc<Guard>,
}

impl Handle {
    /// Recovers a partition and starts its threads. Returns when every durable record is applied.
    pub async fn open(parts: Parts, config: Config) -> Result<Self> {
        let (ready, opened) = oneshot::channel();
        let shared = shell::start(parts, config, ready)?;
        let handle = Self { _guard: Arc::new(Guard(Arc::clone(&shared))), shared };
        opened.await.map_err(|_| shell::stopping())??;
        Ok(handle)
    }

    /// A new run id: unique, and after those that this door has made before.
    fn new_run_id(&self) -> RunId {
        self.shared.run_ids.next(shell::wall_clock(), rand::random())
    }

    /// Appends a command and answers once it is durable and applied.
    pub(crate) async fn submit(&self, command: Command, pin: Option<Pin>) -> Result<Reply> {
        command.check()?;
        let (reply, answer) = oneshot::channel();
        self.shared.submit(Message::Submit { command: Box::new(command), reply, pin })?;
        match answer.await {
            Ok(reply) => reply,
            Err(_) => Err(self.why_silent().await),
        }
    }

    /// Why the loop thread has not answered: it has halted in the middle of something, or it has stopped.
    pub(super) async fn why_silent(&self) -> Error {
        let status = self.status().await.ok();
        status.and_then(|status| status.halted).unwrap_or_else(shell::stopping)
    }

    /// Checks a document, and puts a large one into the blob store (off the async threads: it waits for the disk).
    pub(crate) async fn admit(&self, what: &'static str, payload: Payload) -> Result<(Payload, Option<Pin>)> {
        if !payload.is_large() {
            crate::admit::check_payload(what, &payload)?;
            return Ok((payload, None));
        }
        let keeper = self.shared.keeper.clone();
        let placed = tokio::task::spawn_blocking(move || {
            crate::admit::check_payload(what, &payload)?;
            keeper.place(payload)
        });
        placed.await.map_err(|_| shell::stopping())?
    }

    /// As [`Handle::admit`], for a document where it stands.
    pub(crate) async fn admit_in(&self, what: &'static str, document: &mut Payload) -> Result<Option<Pin>> {
        let (placed, pin) = self.admit(what, std::mem::take(document)).await?;
        *document = placed;
        Ok(pin)
    }

    /// Stops handing tasks out, tells the workers to finish, and waits until none holds a task, at most `bound`.
    /// Returns whether all were done in time.
    pub async fn drain(&self, bound: Duration) -> bool {
        let (done, drained) = oneshot::channel();
        if self.shared.send(Message::Drain(done)).is_err() {
            return true;
        }
        tokio::time::timeout(bound, drained).await.is_ok()
    }

    /// Drains for at most `bound`, writes and syncs everything (so that the next start replays nothing), and stops.
    /// New commands are answered `stopping` from the first moment on.
    pub async fn shutdown(&self, bound: Duration) {
        self.shared.stopping.store(true, std::sync::atomic::Ordering::Release);
        self.drain(bound).await;
        self.stop(true).await;
    }

    /// Stops at once. Nothing that was acknowledged is lost; the next start replays the tail of the log.
    pub async fn stop_now(&self) {
        self.shared.stopping.store(true, std::sync::atomic::Ordering::Release);
        self.stop(false).await;
    }

    async fn stop(&self, graceful: bool) {
        let mut stopped = self.shared.stopped.subscribe();
        // Where the thread has ended already, it says so below.
        let _ = self.shared.send(Message::Stop { graceful });
        // The sender lives in `shared`, which this handle keeps.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }

    /// Ends when the partition has stopped, for whatever reason.
    pub async fn stopped(&self) {
        let mut stopped = self.shared.stopped.subscribe();
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }
}
