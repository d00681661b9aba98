//! The process that runs a partition: what the engine's thread does, on virtual time.
//!
//! For: opening, writing rows back, syncing, trimming, sweeping blobs, and dying. Not for: deciding when (the world).
//! Invariant: what is on the disk and in the store is all that one process leaves to the next.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use consort_core::Taken;
use consort_engine::{Clock, ClockReading, Config, Partition, Parts, write_rows};
use consort_log::{Log, MemoryDisk, Record};
use consort_store::{Batch, Blobs, MemoryStore, Row, Snapshot, Store, StoreError};
use consort_types::{BlobHash, Code, Error, Payload, Result, Seq, Span, Time};

use crate::{disk::Control, far::Far, plan::InjectedBug, random::Random};

/// The store, with an injected bug where the plan has one.
pub(crate) struct SimStore {
    pub(crate) memory: MemoryStore,
    /// Drop the rows of the next batch.
    lose_next: AtomicBool,
}

impl Store for SimStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.memory.get(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        self.memory.scan(from, to, limit)
    }

    fn write(&self, batch: Batch) -> Result<(), StoreError> {
        if self.lose_next.swap(false, Ordering::Relaxed) {
            return self.memory.write(Batch::new(batch.applied));
        }
        self.memory.write(batch)
    }

    fn applied(&self) -> Result<Seq, StoreError> {
        self.memory.applied()
    }

    fn sync(&self) -> Result<Seq, StoreError> {
        self.memory.sync()
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.memory.snapshot()
    }
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Everything is written and synced.
    Stopped,
    /// The process dies, the system lives on.
    Killed,
    /// The power goes: of what was not synced, chance decides.
    PowerCut,
    /// The process ends by itself because it has halted.
    Halted,
}

/// A process, its disk and its store.
pub(crate) struct Host {
    pub(crate) disk: MemoryDisk,
    pub(crate) control: Control,
    /// The log, where it is far.
    pub(crate) far: Option<Far>,
    pub(crate) store: Arc<SimStore>,
    pub(crate) partition: Option<Partition>,
    /// Log time as the process keeps it.
    clock: Option<Clock>,
    /// Counts starts.
    pub(crate) incarnation: u64,
    log_id: [u8; 16],
    config: Config,
    injected: Option<InjectedBug>,
    /// Rows that are on their way to the store.
    writing: VecDeque<Taken>,
    candidates: BTreeSet<(Seq, BlobHash)>,
    pins: BTreeSet<BlobHash>,
    synced: Seq,
}

impl Host {
    pub(crate) fn new(random: &mut Random, injected: Option<InjectedBug>, far_log: bool) -> Self {
        let mut log_id = [0; 16];
        log_id[..8].copy_from_slice(&random.bits().to_le_bytes());
        log_id[8..].copy_from_slice(&random.bits().to_le_bytes());
        let config = Config {
            grace: Span::from_secs(random.between(1, 20)),
            lazy_delay: Span(random.span(1, 100_000)),
            lazy_merge: Span(random.span(1, 10_000)),
            trim_margin: random.below(200),
            ..Config::default()
        };
        Self {
            disk: MemoryDisk::new(),
            control: Control::new(injected),
            far: far_log.then(|| Far::new(random.between(1, 4) as usize, injected)),
            store: Arc::new(SimStore { memory: MemoryStore::new(), lose_next: AtomicBool::new(false) }),
            partition: None,
            clock: None,
            incarnation: 0,
            log_id,
            config,
            injected,
            writing: VecDeque::new(),
            candidates: BTreeSet::new(),
            pins: BTreeSet::new(),
            synced: Seq::ZERO,
        }
    }

    /// Starts a process on what the one before has left. Returns what the log holds, for the oracle.
    pub(crate) fn open(&mut self, reading: ClockReading) -> Result<(Seq, Vec<Record>)> {
        assert!(self.partition.is_none(), "one process at a time");
        self.incarnation += 1;
        self.control.restore();
        let log: Box<dyn Log> = match &self.far {
            Some(far) => Box::new(far.open(&self.control, &self.disk, self.log_id)?),
            None => Box::new(self.control.open(&self.disk, self.log_id)?),
        };
        let first = log.first();
        let records = log.read(first).map(|item| item.map(|(_, record)| record)).collect::<Result<Vec<_>, _>>();
        let records = if self.injected == Some(InjectedBug::ReplaySwapsRecords) { Vec::new() } else { records? };
        let last = log.last();
        let (store, blobs) = (Arc::clone(&self.store) as Arc<dyn Store>, Arc::new(self.store.memory.clone()));
        let parts = Parts { log, store, blobs };
        let partition = Partition::open(parts, self.config.clone(), self.incarnation, reading.wall)?;
        self.clock = Some(Clock::new(partition.clock(), reading));
        self.partition = Some(partition);
        self.synced = Seq::ZERO;
        // What a crash left behind: every blob is looked at once.
        let blobs = self.store.memory.list_blobs()?;
        self.candidates = blobs.into_iter().map(|hash| (last, hash)).collect();
        Ok((first, records))
    }

    /// Log time of the process that runs; the wall clock where none does.
    pub(crate) fn log_time(&mut self, reading: ClockReading) -> Time {
        let (Some(partition), Some(clock)) = (&mut self.partition, &mut self.clock) else { return reading.wall };
        let now = clock.advance(reading);
        clock.take_notices();
        partition.set_lead(clock.lead());
        now
    }

    /// Ends the process. Chance decides what a power cut leaves.
    pub(crate) fn end(&mut self, how: End, random: &mut Random) {
        let mode = random.below(3);
        match how {
            End::Stopped | End::Halted => {}
            // The machine of the log is another one.
            _ if self.far.is_some() => {}
            End::Killed => self.disk.crash(|_| true),
            End::PowerCut => self.disk.crash(|_| match mode {
                0 => false,
                1 => true,
                _ => random.chance(500),
            }),
        }
        // After a crash the log's files are dead, so that dropping it writes nothing.
        self.partition = None;
        let survivors = match how {
            End::PowerCut => random.below(self.store.memory.unsynced() as u64 + 1) as usize,
            _ => usize::MAX,
        };
        self.store.memory.crash(survivors);
        self.control.restore();
        self.writing.clear();
        self.pins.clear();
    }

    /// Takes changed rows, to be written soon.
    pub(crate) fn take_rows(&mut self) {
        if let Some(taken) = self.partition.as_mut().and_then(Partition::take) {
            self.writing.push_back(taken);
        }
    }

    /// Writes the rows that were taken first.
    pub(crate) fn write_rows(&mut self) -> Result<()> {
        let Some(taken) = self.writing.pop_front() else { return Ok(()) };
        let generation = taken.generation;
        write_rows(&*self.store, &self.store.memory, taken)?;
        if let Some(partition) = &mut self.partition {
            partition.written(generation);
        }
        Ok(())
    }

    /// Lets the store lose its next batch.
    pub(crate) fn lose_batch(&self) {
        self.store.lose_next.store(true, Ordering::Relaxed);
    }

    /// Syncs the store, trims the log behind it, and sweeps blobs.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.synced = self.store.sync()?;
        let Some(partition) = &mut self.partition else { return Ok(()) };
        partition.trim(self.synced);
        if partition.is_settled() {
            self.pins.clear();
        }
        while let Some((since, hash)) = self.candidates.first().copied().filter(|(since, _)| *since <= self.synced) {
            self.candidates.remove(&(since, hash));
            let used = self.pins.contains(&hash) || partition.machine()?.blob_used(&hash)?;
            if !used {
                self.store.memory.delete_blob(hash)?;
            }
        }
        Ok(())
    }

    pub(crate) fn unused(&mut self, unused: Vec<(Seq, BlobHash)>) {
        self.candidates.extend(unused);
    }

    /// Does what the client's door does with a large document: into the blob store, by reference.
    pub(crate) fn admit(&mut self, payload: Payload) -> Result<Payload> {
        let Some(bytes) = payload.bytes().filter(|_| payload.is_large()) else { return Ok(payload) };
        let (hash, len) = (BlobHash::of(bytes), bytes.len() as u64);
        self.store.memory.put_blob(hash, bytes)?;
        self.pins.insert(hash);
        self.candidates.insert((Seq(u64::MAX), hash));
        Ok(Payload::Blob { hash, len })
    }

    /// Writes and syncs everything and ends, as a process does that is asked to stop.
    pub(crate) fn stop(&mut self) -> Result<()> {
        while !self.writing.is_empty() {
            self.write_rows()?;
        }
        self.take_rows();
        self.write_rows()?;
        self.store.sync()?;
        self.partition = None;
        Ok(())
    }

    /// Flips a bit in a segment of the log. Returns the place.
    pub(crate) fn flip_bit(&self, random: &mut Random) -> Option<String> {
        use consort_log::Files;
        let names: Vec<String> = self
            .disk
            .list()
            .ok()?
            .into_iter()
            .filter(|name| std::path::Path::new(name).extension().is_some_and(|end| end == "log"))
            .collect();
        if names.is_empty() {
            return None;
        }
        let name = random.pick(&names).clone();
        let bytes = self.disk.contents(&name)?;
        let used = bytes.iter().rposition(|byte| *byte != 0)? as u64 + 1;
        let (offset, bit) = (random.below(used), random.below(8) as u8);
        self.disk.flip_bit(&name, offset, bit).then(|| format!("{name} at {offset} bit {bit}"))
    }

    /// The partition, where a process runs.
    pub(crate) fn partition(&mut self) -> Result<&mut Partition> {
        self.partition.as_mut().ok_or_else(|| Error::new(Code::Unreachable, "no process runs"))
    }
}
