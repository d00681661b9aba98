//! The client of one partition.
//!
//! For: what every operation needs: appending a command, reading between two groups, admitting documents. Not for: any
//! operation itself, or choosing the partition (the handle does).
//! Invariant: an answer leaves only after its record is durable and applied.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use consort_core::{Command, Machine, Reply};
use consort_types::{
    BlobHash, Code, Error, Payload, Result, RunId, Seq,
    worker::{JournalEntry, ToWorker},
};
use tokio::sync::oneshot;

use super::operations::unexpected;
use crate::{
    Config, Observer, Partition, Parts,
    admit::{check_payload, check_whole_numbers},
    blob_gc::Pin,
    shell::{self, Message, Reading, Shared, Subscription},
    status::Status,
    topic::Topic,
};

/// Ends the loop thread with the last handle.
struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        // Where the thread has ended already there is nothing to tell.
        let _ = self.0.send(Message::Stop { graceful: false });
    }
}

/// A client of one partition. Clones are the same client; the partition stops when the last one is dropped.
#[derive(Clone)]
pub(crate) struct PartitionClient {
    pub(super) shared: Arc<Shared>,
    _guard: Arc<Guard>,
}

impl PartitionClient {
    /// Recovers a partition and starts its threads. Returns when every durable record is applied.
    pub(super) async fn open(parts: Parts, config: Config, observer: Option<Arc<dyn Observer>>) -> Result<Self> {
        let (ready, opened) = oneshot::channel();
        let shared = shell::start(parts, config, observer, ready)?;
        let client = Self { _guard: Arc::new(Guard(Arc::clone(&shared))), shared };
        opened.await.map_err(|_| shell::stopping())??;
        Ok(client)
    }

    pub(super) fn send(&self, message: Message) -> Result<()> {
        self.shared.send(message)
    }

    /// A new run id: unique, and after those that this partition has made before.
    pub(super) fn new_run_id(&self) -> RunId {
        self.shared.run_ids.next(shell::wall_clock(), rand::random())
    }

    /// Appends a command and answers once it is durable and applied. `pins` keep the blobs that the command names.
    pub(super) async fn submit(&self, command: Command, pins: impl IntoIterator<Item = Pin>) -> Result<Reply> {
        command.check()?;
        let (reply, answer) = oneshot::channel();
        self.shared.submit(Message::Submit { command: Box::new(command), reply, pins: pins.into_iter().collect() })?;
        match answer.await {
            Ok(reply) => reply,
            Err(_) => Err(self.why_silent().await),
        }
    }

    /// As [`PartitionClient::submit`], for a command that is answered by nothing but its success.
    pub(super) async fn done(&self, command: Command, pin: Option<Pin>) -> Result<()> {
        match self.submit(command, pin).await? {
            Reply::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Why the loop thread has not answered: it has halted in the middle of something, or it has stopped.
    pub(super) async fn why_silent(&self) -> Error {
        let status = self.status(None).await.ok();
        status.and_then(|status| status.halted).unwrap_or_else(shell::stopping)
    }

    /// Checks a document, and puts a large one into the blob store (off the async threads: it waits for the disk). What runs
    /// are given and make is read by expressions, so its numbers must be what they say; see [`NUMBERS_COUNT`].
    pub(super) async fn admit(&self, what: &'static str, payload: Payload) -> Result<(Payload, Option<Pin>)> {
        if !payload.is_large() {
            admitted(what, &payload)?;
            return Ok((payload, None));
        }
        let blobs = self.shared.blob_gc.clone();
        let placed = tokio::task::spawn_blocking(move || {
            admitted(what, &payload)?;
            blobs.place(payload)
        });
        placed.await.map_err(|_| shell::stopping())?
    }

    /// As [`PartitionClient::admit`], but replaces the document in place.
    pub(super) async fn admit_in(&self, what: &'static str, document: &mut Payload) -> Result<Option<Pin>> {
        let (placed, pin) = self.admit(what, std::mem::take(document)).await?;
        *document = placed;
        Ok(pin)
    }

    /// Looks at the state between two groups. Keep it short: it blocks the partition.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&mut Machine) -> T + Send + 'static,
    ) -> Result<T> {
        self.read_at(Seq::ZERO, look).await
    }

    /// As [`PartitionClient::read`], once the record `at_least` is applied (read your writes from another connection).
    pub(super) async fn read_at<T: Send + 'static>(
        &self,
        at_least: Seq,
        look: impl FnOnce(&mut Machine) -> T + Send + 'static,
    ) -> Result<T> {
        let _place = Reading::begin(&self.shared)?;
        let (reply, answer) = oneshot::channel();
        let read = Box::new(move |machine: Result<&mut Machine>| {
            // The receiver may have been dropped meanwhile.
            let _ = reply.send(machine.map(look));
        });
        self.send(Message::Read { at_least, read })?;
        match answer.await {
            Ok(found) => found,
            Err(_) => Err(self.why_silent().await),
        }
    }

    /// Looks at the partition between two groups. Keep it short: it blocks the partition.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&mut Partition) -> T + Send + 'static,
    ) -> Result<T> {
        let _place = Reading::begin(&self.shared)?;
        let (reply, answer) = oneshot::channel();
        let look = Box::new(move |partition: &mut Partition| {
            // The receiver may have been dropped meanwhile.
            let _ = reply.send(look(partition));
        });
        self.send(Message::Look(look))?;
        match answer.await {
            Ok(found) => Ok(found),
            Err(_) => Err(self.why_silent().await),
        }
    }

    /// The bytes of a blob.
    pub(super) async fn blob(&self, hash: BlobHash) -> Result<Arc<[u8]>> {
        let blobs = self.shared.blob_gc.clone();
        let stored = tokio::task::spawn_blocking(move || blobs.get(hash)).await.map_err(|_| shell::stopping())??;
        if let Some(bytes) = stored {
            return Ok(Arc::from(bytes));
        }
        // What the machine made rests in its memory until it is written.
        let payload = Payload::Blob { hash, len: 0 };
        let found =
            self.read(
                move |machine| {
                    if machine.blob_used(&hash)? { machine.payload_bytes(&payload).map(Some) } else { Ok(None) }
                },
            );
        found.await??.ok_or_else(|| {
            Error::new(Code::BlobNotFound, format!("there is no blob `{hash}`"))
                .hint("its run may have been deleted by its retention")
        })
    }

    /// The bytes of a payload, wherever they are.
    pub(super) async fn payload(&self, payload: Payload) -> Result<Arc<[u8]>> {
        match payload {
            Payload::Inline(bytes) => Ok(bytes),
            Payload::Blob { hash, .. } => self.blob(hash).await,
        }
    }

    /// Begins a subscription: it misses nothing that changes after this returns.
    pub(super) async fn subscribe(&self, topic: Topic) -> Result<Subscription> {
        let subscribing = self.shared.subscriptions.subscribe(topic, self.shared.stopped.subscribe())?;
        let (reply, answer) = oneshot::channel();
        self.send(Message::Subscribe { subscribing, reply })?;
        match answer.await {
            Ok(subscription) => Ok(subscription),
            Err(_) => Err(self.why_silent().await),
        }
    }

    /// A status snapshot, with the connected agents of a namespace where one is named.
    pub(super) async fn status(&self, namespace: Option<String>) -> Result<Status> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Status { namespace, reply })?;
        answer.await.map_err(|_| shell::stopping())
    }

    /// Hands nothing out any more, and waits until no worker holds a task, at most `bound`; whether that is so.
    pub(super) async fn drain(&self, bound: Duration) -> bool {
        let (done, drained) = oneshot::channel();
        if self.send(Message::Drain(done)).is_err() {
            return true;
        }
        tokio::time::timeout(bound, drained).await.is_ok()
    }

    /// Answers new commands with `stopping` from now on.
    pub(super) fn refuse_commands(&self) {
        self.shared.stopping.store(true, Ordering::Release);
    }

    pub(super) async fn stop(&self, graceful: bool) {
        let mut stopped = self.shared.stopped.subscribe();
        // Where the thread has ended already, it says so below.
        let _ = self.send(Message::Stop { graceful });
        // The sender lives in `shared`, which this client keeps.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }

    /// Ends when the partition has stopped, for whatever reason.
    pub(super) async fn stopped(&self) {
        let mut stopped = self.shared.stopped.subscribe();
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }
}

impl PartitionClient {
    /// Puts the documents of a message in the place of references to them.
    ///
    /// # Errors
    /// Where a blob cannot be read; what was read by then is in its place.
    pub(super) async fn complete(&self, message: &mut ToWorker) -> Result<()> {
        match message {
            ToWorker::Task(offer) => {
                self.fetch(&mut offer.input).await?;
                for entry in &mut offer.journal {
                    self.complete_entry(entry).await?;
                }
                Ok(())
            }
            ToWorker::Recorded { entry, .. } => self.complete_entry(entry).await,
            ToWorker::Cancel { .. } | ToWorker::Refused { .. } | ToWorker::Drain => Ok(()),
        }
    }

    async fn complete_entry(&self, entry: &mut JournalEntry) -> Result<()> {
        if let Some(document) = entry.request.document_mut() {
            self.fetch(document).await?;
        }
        match &mut entry.result {
            Some(Ok(output)) => self.fetch(output).await,
            _ => Ok(()),
        }
    }

    /// Puts a document in the place of a reference to it.
    pub(super) async fn fetch(&self, payload: &mut Payload) -> Result<()> {
        if let Payload::Blob { hash, .. } = payload {
            *payload = Payload::Inline(self.blob(*hash).await?);
        }
        Ok(())
    }
}

/// The documents of runs: what a workflow computes with.
const NUMBERS_COUNT: [&str; 4] = ["input", "output", "signal", "journal entry"];

fn admitted(what: &str, payload: &Payload) -> Result<()> {
    check_payload(what, payload)?;
    match payload.bytes() {
        Some(bytes) if NUMBERS_COUNT.contains(&what) => check_whole_numbers(what, bytes),
        _ => Ok(()),
    }
}
