//! Snapshots of the store, made now and then while the engine works.
//!
//! For: making a damaged store again without a backup. Not for: blobs, which stay where they are, or for a copy elsewhere
//! (see `backup`).
//! Invariant: the log is kept from the older of the two newest snapshots on, and from its beginning while there are fewer.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use consort_engine::Handle;
use consort_store::Snapshot;
use consort_types::{Error, Result, Seq};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::archive::{Archive, on_thread};
use crate::local::{DataFolder, disk};

/// How many snapshots are kept.
const KEPT: usize = 2;
/// An orderly stop makes a snapshot where the log has grown by this part of what calls for one.
const AT_STOP: u64 = 16;

/// The snapshots of a data folder.
pub(crate) struct Snapshots {
    archive: Archive,
    /// Bytes of log that call for one.
    every: u64,
    /// Bytes of log since the last one, as far as this process knows.
    bytes: AtomicU64,
    due: Notify,
}

impl Snapshots {
    /// The snapshots of a folder, whose log begins with the record `log_first`.
    pub(crate) fn open(folder: &DataFolder, every: u64, log_first: Seq) -> Result<Self> {
        let archive = Archive::open(&folder.snapshots())?;
        // A log that does not begin with the first record has no other way back.
        let bytes = if archive.records()?.is_empty() && log_first > Seq(1) {
            every
        } else {
            // What is there beyond a healthy amount was appended by processes that were killed.
            log_bytes(folder)?.saturating_sub(every * KEPT as u64)
        };
        Ok(Self { archive, every, bytes: AtomicU64::new(bytes), due: Notify::new() })
    }

    /// The record behind which the log must be kept.
    pub(crate) fn keep_from(&self) -> Result<Seq> {
        Ok(self.archive.records()?.get(KEPT - 1).copied().unwrap_or(Seq::ZERO))
    }

    /// Notes that the log has grown.
    pub(crate) fn grown(&self, bytes: u64) {
        let before = self.bytes.fetch_add(bytes, Ordering::AcqRel);
        if before < self.every && before + bytes >= self.every {
            self.due.notify_one();
        }
    }

    /// Makes snapshots until `stop`.
    pub(crate) async fn run(self: Arc<Self>, engine: Handle, stop: CancellationToken) {
        if self.bytes.load(Ordering::Acquire) >= self.every {
            self.due.notify_one();
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.due.notified() => {}
            }
            // Whether it is made or not, the next one is due after as much log again.
            self.bytes.store(0, Ordering::Release);
            match self.make(&engine).await {
                Ok(record) => tracing::info!("made a snapshot of the store at record {record}"),
                Err(error) => told(&error),
            }
        }
    }

    async fn make(self: &Arc<Self>, engine: &Handle) -> Result<Seq> {
        let frozen = engine.freeze().await?;
        let snapshots = Arc::clone(self);
        let record = on_thread(move || snapshots.write(frozen.snapshot())).await?;
        engine.keep_from(self.keep_from()?)?;
        Ok(record)
    }

    fn write(&self, snapshot: &dyn Snapshot) -> Result<Seq> {
        let record = snapshot.applied();
        if self.archive.records()?.first() != Some(&record) {
            self.archive.write(snapshot, None)?;
            self.archive.keep_newest(KEPT)?;
        }
        Ok(record)
    }

    /// Makes a last snapshot where much has happened since the one before. The engine has stopped.
    pub(crate) fn at_stop(&self, snapshot: &dyn Snapshot) {
        if self.bytes.load(Ordering::Acquire) < self.every / AT_STOP {
            return;
        }
        match self.write(snapshot) {
            Ok(record) => tracing::info!("made a snapshot of the store at record {record}"),
            Err(error) => told(&error),
        }
    }
}

/// A snapshot reads every row, so this is where damage of rows that nothing else reads is noticed.
fn told(error: &Error) {
    let hint = error.hint.as_deref().unwrap_or_default();
    tracing::error!("no snapshot of the store was made: {}; {hint}", error.message);
}

/// Bytes of the segments of the log.
fn log_bytes(folder: &DataFolder) -> Result<u64> {
    let refused = |error: std::io::Error| disk(&folder.log(), &error);
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder.log()).map_err(refused)? {
        let entry = entry.map_err(refused)?;
        if entry.path().extension().is_some_and(|ending| ending == "log") {
            bytes += entry.metadata().map_err(refused)?.len();
        }
    }
    Ok(bytes)
}
