//! The log's disk and the log, with a hand on them.
//!
//! For: stopping in the middle of a write, and lying where an injected bug says so. Not for: what survives a power cut
//! (the memory disk decides that with the world's chance), or the network before a log that is far (see `far`).
//! Invariant: without a fault every call goes through to the product's own code unchanged.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use consort_log::{Files, Log, LogError, MemoryDisk, Record, Records, SegmentFile};
use consort_log_file::{FileLog, Options};
use consort_types::Seq;

use crate::plan::InjectedBug;

/// The orders of the world to the disk, and what the log reports to the world.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The power goes at this sync: 1 is the next.
    cut_at: Option<u64>,
    /// Whether the power is cut.
    cut: bool,
    /// Records whose append was acknowledged, until the world takes them.
    appended: Vec<Record>,
    /// Lets every sync pass without doing anything.
    lies: bool,
    hides_errors: bool,
    cuts_damage: bool,
    swaps: bool,
    /// Whether the last sync failed.
    sync_failed: bool,
    /// Whether a group was acknowledged after such a sync.
    error_passed: bool,
}

/// The hand on disk and log. Clones are the same hand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Control {
    state: Arc<Mutex<State>>,
}

impl Control {
    pub(crate) fn new(injected: Option<InjectedBug>) -> Self {
        let control = Self::default();
        let mut state = control.state();
        state.lies = injected == Some(InjectedBug::AckBeforeSync);
        state.hides_errors = injected == Some(InjectedBug::SyncErrorHidden);
        state.cuts_damage = injected == Some(InjectedBug::DamageCut);
        state.swaps = injected == Some(InjectedBug::ReplaySwapsRecords);
        drop(state);
        control
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The power goes at the `n`-th sync from now, before it has done anything.
    pub(crate) fn cut_at(&self, n: u64) {
        self.state().cut_at = Some(n);
    }

    /// Whether the power is cut.
    pub(crate) fn is_cut(&self) -> bool {
        self.state().cut
    }

    /// Power is back.
    pub(crate) fn restore(&self) {
        let mut state = self.state();
        (state.cut, state.cut_at) = (false, None);
        state.appended.clear();
    }

    /// Records whose append was acknowledged since the last call.
    pub(crate) fn take_appended(&self) -> Vec<Record> {
        std::mem::take(&mut self.state().appended)
    }

    /// Whether a group was acknowledged although its sync had failed.
    pub(crate) fn sync_error_passed(&self) -> bool {
        self.state().error_passed
    }

    fn check(&self) -> io::Result<()> {
        if self.state().cut { Err(io::Error::other("the power is cut")) } else { Ok(()) }
    }

    fn sync(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut state = self.state();
        state.cut_at = state.cut_at.map(|n| n - 1);
        if state.cut_at == Some(0) {
            (state.cut, state.cut_at) = (true, None);
        }
        let (lies, hides) = (state.lies, state.hides_errors);
        drop(state);
        self.check()?;
        if lies {
            return Ok(());
        }
        let result = sync();
        self.state().sync_failed = result.is_err();
        if hides { Ok(()) } else { result }
    }

    /// Notes records that the process knows to be durable.
    pub(crate) fn note_appended(&self, records: Vec<Record>) {
        self.state().appended.extend(records);
    }

    /// Opens the log.
    pub(crate) fn open(&self, disk: &MemoryDisk, log_id: [u8; 16]) -> Result<SimLog, LogError> {
        let files = SimFiles { disk: disk.clone(), control: self.clone() };
        let options = Options {
            first_segment_bytes: 20 << 10,
            segment_bytes: 40 << 10,
            prepare_ahead: false,
            new_log_id: log_id,
        };
        let log = FileLog::open_on(Arc::new(files), options)?;
        let mut end = None;
        if self.state().cuts_damage {
            let good = log.read(log.first()).take_while(Result::is_ok).filter_map(Result::ok).last();
            end = good.map(|(seq, _)| seq).filter(|seq| *seq < log.last());
        }
        Ok(SimLog { log, control: self.clone(), end })
    }
}

struct SimFiles {
    disk: MemoryDisk,
    control: Control,
}

impl SimFiles {
    fn wrap(&self, file: Box<dyn SegmentFile>) -> Box<dyn SegmentFile> {
        Box::new(SimFile { file, control: self.control.clone() })
    }
}

impl Files for SimFiles {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        self.control.check()?;
        self.disk.create(name).map(|file| self.wrap(file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        self.disk.open(name).map(|file| self.wrap(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.control.check()?;
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.control.check()?;
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.control.sync(|| self.disk.sync_dir())
    }

    fn place(&self, name: &str) -> String {
        self.disk.place(name)
    }
}

struct SimFile {
    file: Box<dyn SegmentFile>,
    control: Control,
}

impl SegmentFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.control.check()?;
        self.file.write_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.control.sync(|| self.file.sync_data())
    }
}

/// The product's log, watched.
pub(crate) struct SimLog {
    log: FileLog,
    control: Control,
    /// Where an injected bug has cut it.
    end: Option<Seq>,
}

impl SimLog {
    /// Appends without a report to the world: the service has the group before the process gets its answer.
    pub(crate) fn append_silently(&mut self, group: &[Record]) -> Result<Seq, LogError> {
        self.log.append(group)
    }
}

impl Log for SimLog {
    fn append(&mut self, group: &[Record]) -> Result<Seq, LogError> {
        let last = self.log.append(group)?;
        let mut state = self.control.state();
        state.appended.extend_from_slice(group);
        state.error_passed |= state.sync_failed;
        drop(state);
        Ok(last)
    }

    fn epoch(&self) -> u64 {
        self.log.epoch()
    }

    fn read(&self, from: Seq) -> Records<'_> {
        let end = self.last();
        let mut records: Vec<_> =
            self.log.read(from).take_while(|item| !matches!(item, Ok((seq, _)) if *seq > end)).collect();
        if self.end.is_some() {
            records.retain(Result::is_ok);
        }
        if self.control.state().swaps {
            let pair = records.windows(2).position(|pair| {
                matches!(pair, [Ok((_, a)), Ok((_, b))] if a.time == b.time && a.body.first_chunk::<2>() == b.body.first_chunk::<2>())
            });
            if let Some(at) = pair
                && let [Ok((_, a)), Ok((_, b))] = &mut records[at..at + 2]
            {
                std::mem::swap(a, b);
            }
        }
        Box::new(records.into_iter())
    }

    fn first(&self) -> Seq {
        self.log.first()
    }

    fn last(&self) -> Seq {
        self.end.unwrap_or(self.log.last())
    }

    fn trim(&mut self, before: Seq) -> Result<(), LogError> {
        self.log.trim(before)
    }

    fn bytes_written(&self) -> u64 {
        self.log.bytes_written()
    }
}
