//! A log that takes nothing while the disk is nearly full.
//!
//! For: stopping before the store's library has no room, because it then has to be opened again. What the engine does with
//! a log that refuses a group is all that happens: changes are refused, reads are answered, and work continues once there is room.
//! Not for: the last byte (another program may take it), which halts the partition.
//! Invariant: what the log took is never affected.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use consort_log::{Log, LogError, LogWaker, Record, Records};
use consort_types::Seq;

use super::verify::free_bytes;

/// How long what the file system said of its room is believed.
const BELIEVED: Duration = Duration::from_millis(250);

/// Returns the free bytes of the disk under a folder.
type Free = Box<dyn Fn(&Path) -> std::io::Result<u64> + Send>;

/// A log that refuses groups while less than a number of bytes is free.
pub(crate) struct Roomy {
    log: Box<dyn Log>,
    folder: PathBuf,
    least: u64,
    free: Free,
    /// When there was enough room.
    enough_at: Option<Instant>,
}

impl Roomy {
    /// Wraps the log of a data folder.
    pub(crate) fn new(log: Box<dyn Log>, folder: &Path, least: u64) -> Self {
        Self::with(log, folder, least, Box::new(free_bytes))
    }

    fn with(log: Box<dyn Log>, folder: &Path, least: u64, free: Free) -> Self {
        Self { log, folder: folder.to_owned(), least, free, enough_at: None }
    }

    fn check(&mut self) -> Result<(), LogError> {
        if self.enough_at.is_some_and(|at| at.elapsed() < BELIEVED) {
            return Ok(());
        }
        // Where the file system does not say, the append itself will.
        let free = (self.free)(&self.folder).unwrap_or(u64::MAX);
        let enough = free >= self.least;
        self.enough_at = enough.then(Instant::now);
        if enough {
            return Ok(());
        }
        let what = format!("`{}` MiB are free, the least is {}", free >> 20, self.least >> 20);
        Err(LogError::Io { place: self.folder.display().to_string(), what })
    }
}

impl Log for Roomy {
    fn append(&mut self, group: &[Record]) -> Result<Seq, LogError> {
        self.check()?;
        self.log.append(group)
    }

    fn submit(&mut self, group: &[Record]) -> Result<Seq, LogError> {
        self.check()?;
        self.log.submit(group)
    }

    fn poll(&mut self) -> Result<Seq, LogError> {
        self.log.poll()
    }

    fn wait(&mut self) -> Result<Seq, LogError> {
        self.log.wait()
    }

    fn depth(&self) -> usize {
        self.log.depth()
    }

    fn set_waker(&mut self, waker: LogWaker) {
        self.log.set_waker(waker);
    }

    fn epoch(&self) -> u64 {
        self.log.epoch()
    }

    fn read(&self, from: Seq) -> Records<'_> {
        self.log.read(from)
    }

    fn first(&self) -> Seq {
        self.log.first()
    }

    fn last(&self) -> Seq {
        self.log.last()
    }

    fn trim(&mut self, before: Seq) -> Result<(), LogError> {
        self.log.trim(before)
    }

    fn bytes_written(&self) -> u64 {
        self.log.bytes_written()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use consort_engine::{Config, Handle, Parts};
    use consort_log::MemoryLogDisk;
    use consort_store::MemoryStore;
    use consort_testkit::wait_until;
    use consort_types::{Code, Span};

    use super::*;

    #[test]
    fn a_full_disk_refuses_changes_and_work_goes_on_by_itself_when_there_is_room() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let free = Arc::new(AtomicU64::new(10));
        let asked = Arc::clone(&free);
        let log = Box::new(MemoryLogDisk::new().open().unwrap());
        let log =
            Roomy::with(log, Path::new("data"), 5 << 20, Box::new(move |_| Ok(asked.load(Ordering::Acquire) << 20)));
        let store = Arc::new(MemoryStore::new());
        let parts = Parts { log: Box::new(log), store: store.clone(), blobs: store };
        let config = Config { append_retry: Span::from_millis(1), ..Config::default() };
        let engine = runtime.block_on(Handle::open(parts, config)).unwrap();
        let set = |seconds| runtime.block_on(engine.set_retention("default", Some(Span::from_secs(seconds))));
        set(1).unwrap();
        free.store(4, Ordering::Release);
        let refused = wait_until("the room is noticed", || set(2).err());
        assert!(refused.code == Code::Disk && refused.message.contains("`4` MiB are free"), "{refused}");
        runtime.block_on(engine.ready()).unwrap();
        free.store(6, Ordering::Release);
        wait_until("commands are taken again", || set(3).ok());
    }
}
