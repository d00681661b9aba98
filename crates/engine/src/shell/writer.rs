//! The thread that writes rows back to the store.
//!
//! For: keeping the loop thread off the store's disk. Not for: deciding what is written or when.
//! Invariant: jobs are done in the order of their submission, so rows and blobs change as the machine changed them.

use std::{
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use consort_core::Taken;
use consort_store::{Snapshot, Store};
use consort_types::{BlobHash, Code, Error, Result, Seq};

use crate::{BlobGc, write_rows};

/// What the writer is to do.
enum Job {
    Rows(Box<Taken>),
    Sync,
    Freeze,
    List,
    Delete(Vec<BlobHash>),
}

/// What the writer has done.
pub(super) enum Done {
    /// Rows are in the store.
    Rows { generation: u64, applied: Seq, bytes: u64 },
    /// Everything up to this record survives a power cut.
    Synced(Seq),
    /// The rows as they are after what was submitted before.
    Frozen(Box<dyn Snapshot>),
    /// These blobs are there.
    Listed(Vec<BlobHash>),
    /// Something failed; nothing is done any more.
    Failed(Error),
}

/// The writer, as the loop thread sees it.
pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    done: mpsc::Receiver<Done>,
    thread: Option<JoinHandle<()>>,
    rows_in_flight: usize,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(store: Arc<dyn Store>, blob_gc: BlobGc) -> Result<Self> {
        let (jobs, todo) = mpsc::channel();
        let (report, done) = mpsc::channel();
        let work = move || work(&todo, &report, &*store, &blob_gc);
        let thread = std::thread::Builder::new().name("consort-writer".to_owned()).spawn(work);
        let thread = thread.map_err(|error| {
            Error::new(Code::Internal, format!("the writer thread cannot be started: {error}"))
                .hint("raise the limit on threads of the process")
        })?;
        Ok(Self { jobs: Some(jobs), done, thread: Some(thread), rows_in_flight: 0 })
    }

    fn give(&self, job: Job) {
        // A writer that has failed has said so, and does nothing more.
        let _ = self.jobs.as_ref().map(|jobs| jobs.send(job));
    }

    pub(super) fn rows(&mut self, taken: Taken) {
        self.rows_in_flight += 1;
        self.give(Job::Rows(Box::new(taken)));
    }

    pub(super) fn sync(&self) {
        self.give(Job::Sync);
    }

    pub(super) fn freeze(&self) {
        self.give(Job::Freeze);
    }

    pub(super) fn list(&self) {
        self.give(Job::List);
    }

    pub(super) fn delete(&self, marked: Vec<BlobHash>) {
        self.give(Job::Delete(marked));
    }

    /// Batches of rows that are not written yet.
    pub(super) fn rows_in_flight(&self) -> usize {
        self.rows_in_flight
    }

    fn note(&mut self, done: Done) -> Done {
        if let Done::Rows { .. } = done {
            self.rows_in_flight -= 1;
        }
        done
    }

    /// What was done meanwhile.
    pub(super) fn poll(&mut self) -> Option<Done> {
        let done = self.done.try_recv().ok()?;
        Some(self.note(done))
    }

    /// Waits until something is done; `None` where the writer has ended.
    pub(super) fn wait(&mut self) -> Option<Done> {
        let done = self.done.recv().ok()?;
        Some(self.note(done))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the writer was printed by its thread; the loop that would get the error has ended.
            let _ = thread.join();
        }
    }
}

fn work(todo: &mpsc::Receiver<Job>, report: &mpsc::Sender<Done>, store: &dyn Store, blob_gc: &BlobGc) {
    for job in todo {
        let done = match job {
            Job::Rows(taken) => rows(store, blob_gc, *taken).map(Some),
            Job::Sync => store.sync().map(|seq| Some(Done::Synced(seq))).map_err(Error::from),
            Job::Freeze => store.snapshot().map(|rows| Some(Done::Frozen(rows))).map_err(Error::from),
            Job::List => blob_gc.blobs().list_blobs().map(|blobs| Some(Done::Listed(blobs))).map_err(Error::from),
            Job::Delete(marked) => delete(blob_gc, marked).map(|()| None),
        };
        let (done, failed) = match done {
            Ok(Some(done)) => (done, false),
            Ok(None) => continue,
            Err(error) => (Done::Failed(error), true),
        };
        if report.send(done).is_err() || failed {
            return;
        }
    }
}

fn rows(store: &dyn Store, blob_gc: &BlobGc, taken: Taken) -> Result<Done> {
    let (generation, applied) = (taken.generation, taken.applied);
    let bytes = write_rows(store, blob_gc.blobs(), taken)?;
    Ok(Done::Rows { generation, applied, bytes })
}

fn delete(blob_gc: &BlobGc, marked: Vec<BlobHash>) -> Result<()> {
    marked.into_iter().try_for_each(|hash| blob_gc.delete_marked(hash).map(drop))
}
