//! The log itself: append, read, trim.
//!
//! For: the hot path (one write and one fdatasync a group) and the life of segments around it.
//! Not for: recovery (`recover`), nor the making of files (`prepare`).
//! Invariant: state in memory moves on only after the disk has confirmed; after a failed write or sync it never does.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    path::Path,
    sync::Arc,
    thread::JoinHandle,
};

use consort_log::{Files, Log, LogError, Record, Records, frame};
use consort_types::Seq;

use crate::{
    Folder, LockError, LockFile, Options,
    prepare::{Prepared, prepare},
    read::{Replay, Sealed},
    recover::{Active, Recovered, begin, recover},
    segment::{self, Head},
};

/// Files that are kept to become segments again.
const SPARES_MAX: usize = 2;
/// Bytes that the buffer of a group may keep between groups.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// The segment that comes after the active one.
enum Next {
    Unmade,
    Making(JoinHandle<Result<Prepared, LogError>>),
    Ready(Prepared),
}

/// A log in a folder of segment files.
pub struct FileLog {
    files: Arc<dyn Files>,
    options: Options,
    epoch: u64,
    sealed: VecDeque<Sealed>,
    active: Active,
    next: Next,
    spares: Vec<String>,
    buffer: Vec<u8>,
    bytes_written: u64,
    poisoned: Option<String>,
    /// Held for as long as the log is open; the last field, so that it is released last.
    _lock: Option<LockFile>,
}

impl FileLog {
    /// Opens the log in a local folder, or makes a new one there, and locks the folder against other processes.
    pub fn open(folder: &Path) -> Result<Self, LogError> {
        let place = folder.display().to_string();
        let lock = LockFile::acquire(folder).map_err(|error| match error {
            LockError::Held(holder) => LogError::Locked { holder: holder.to_string() },
            LockError::Io(error) => LogError::io(&place, &error),
        })?;
        let files = Folder::open(folder).map_err(|error| LogError::io(&place, &error))?;
        Self::open_locked(Arc::new(files), Options::new(unguessable()), Some(lock))
    }

    /// Makes a log in an empty local folder that begins with this record, as the record `first`, which is after 1: the
    /// log of a restored folder, whose store has what was before.
    ///
    /// # Errors
    /// [`LogError::BadFormat`] where the folder holds a log, and what the disk refuses.
    pub fn begin(folder: &Path, first: Seq, record: Record) -> Result<Self, LogError> {
        let place = folder.display().to_string();
        let files = Folder::open(folder).map_err(|error| LogError::io(&place, &error))?;
        let mut begun = Self::begin_on(Arc::new(files), Options::new(unguessable()), first)?;
        begun.append(&[record])?;
        drop(begun);
        Self::open(folder)
    }

    fn begin_on(files: Arc<dyn Files>, options: Options, first: Seq) -> Result<Self, LogError> {
        assert!(first > Seq(1), "a log that begins with record 1 is opened");
        let active = begin(&*files, &options, first)?;
        let epoch = active.head.epoch;
        let recovered = Recovered { sealed: VecDeque::new(), active, next: None, spares: Vec::new(), epoch };
        Ok(Self::of(files, options, recovered, None))
    }

    /// Opens the log on any file system. The caller makes sure that the log is not open elsewhere.
    pub fn open_on(files: Arc<dyn Files>, options: Options) -> Result<Self, LogError> {
        Self::open_locked(files, options, None)
    }

    fn open_locked(files: Arc<dyn Files>, options: Options, lock: Option<LockFile>) -> Result<Self, LogError> {
        let recovered = recover(&files, &options)?;
        Ok(Self::of(files, options, recovered, lock))
    }

    fn of(files: Arc<dyn Files>, options: Options, recovered: Recovered, lock: Option<LockFile>) -> Self {
        let Recovered { sealed, active, next, spares, epoch } = recovered;
        Self {
            files,
            options,
            epoch,
            sealed,
            active,
            next: next.map_or(Next::Unmade, Next::Ready),
            spares,
            buffer: Vec::new(),
            bytes_written: 0,
            poisoned: None,
            _lock: lock,
        }
    }

    fn check_sound(&self) -> Result<(), LogError> {
        self.poisoned.as_ref().map_or(Ok(()), |why| Err(LogError::Poisoned { why: why.clone() }))
    }

    /// Remembers a failure that leaves the disk's state unknown.
    fn note<T>(&mut self, result: Result<T, LogError>) -> Result<T, LogError> {
        if let Err(LogError::Poisoned { why }) = &result {
            self.poisoned = Some(why.clone());
        }
        result
    }

    fn poison(&mut self, doing: &str, error: &std::io::Error) -> LogError {
        let place = self.files.place(&segment::name(self.active.head.ordinal));
        let why = format!("{doing} `{place}`: {error}");
        self.poisoned = Some(why.clone());
        LogError::Poisoned { why }
    }

    fn head(&self, ordinal: u64, frame_bytes: u64) -> Head {
        let bytes = self.options.bytes_of(ordinal, frame_bytes);
        Head { log_id: self.active.head.log_id, ordinal, epoch: self.epoch, bytes }
    }

    /// A spare file that is long enough.
    fn take_spare(&mut self, bytes: u64) -> Option<String> {
        let long_enough =
            |name: &String| self.files.open(name).and_then(|file| file.len()).is_ok_and(|len| len >= bytes);
        let found = self.spares.iter().position(long_enough)?;
        Some(self.spares.swap_remove(found))
    }

    /// Switches to a segment that has room for a frame of `frame_bytes`.
    fn rotate(&mut self, frame_bytes: u64) -> Result<(), LogError> {
        // A segment that holds nothing is replaced by a larger one, so that every sealed segment holds a frame.
        let ordinal = self.active.head.ordinal + u64::from(self.active.first.is_some());
        let ready = match std::mem::replace(&mut self.next, Next::Unmade) {
            Next::Unmade => None,
            Next::Ready(prepared) => Some(prepared),
            Next::Making(thread) => match thread.join() {
                Ok(made) => self.note(made).map(Some)?,
                Err(panic) => std::panic::resume_unwind(panic),
            },
        };
        let head = self.head(ordinal, frame_bytes);
        let fits = |ready: &Prepared| ready.head.ordinal == ordinal && ready.head.bytes >= head.bytes;
        let prepared = if let Some(prepared) = ready.filter(fits) {
            prepared
        } else {
            let spare = self.take_spare(head.bytes);
            let made = prepare(&*self.files, head, spare.as_deref());
            self.note(made)?
        };
        let (next, chain) = (self.active.at.next, self.active.at.chain);
        let before = std::mem::replace(&mut self.active, Active::start(prepared, next, chain));
        if let Some(first) = before.first {
            self.sealed.push_back(Sealed { ordinal: before.head.ordinal, first, bytes: before.head.bytes });
        }
        Ok(())
    }

    /// Begins to make the next segment when the active one is half full.
    fn prepare_ahead(&mut self) {
        let half_full = self.active.at.offset >= self.active.head.bytes / 2;
        if !self.options.prepare_ahead || !half_full || !matches!(self.next, Next::Unmade) {
            return;
        }
        let head = self.head(self.active.head.ordinal + 1, 0);
        let spare = self.take_spare(head.bytes);
        let files = Arc::clone(&self.files);
        let make = move || prepare(&*files, head, spare.as_deref());
        // Where there is no thread to be had, the segment is made when it is needed.
        if let Ok(thread) = std::thread::Builder::new().name("log-prepare".to_owned()).spawn(make) {
            self.next = Next::Making(thread);
        }
    }

    /// Takes the oldest segment out of the log.
    fn forget_oldest(&mut self, oldest: Sealed) -> Result<(), LogError> {
        let name = segment::name(oldest.ordinal);
        let keep = self.spares.len() < SPARES_MAX && oldest.bytes >= self.options.segment_bytes;
        let done = if keep {
            let spare = segment::spare_name(oldest.ordinal);
            self.files.rename(&name, &spare).map(|()| self.spares.push(spare))
        } else {
            self.files.remove(&name)
        };
        done.map_err(|error| LogError::io(self.files.place(&name), &error))?;
        self.sealed.pop_front();
        // One at a time: a folder that lost a name in the middle would look damaged.
        self.files.sync_dir().map_err(|error| self.poison("syncing the folder of", &error))
    }
}

impl Log for FileLog {
    fn append(&mut self, group: &[Record]) -> Result<Seq, LogError> {
        self.check_sound()?;
        let frame_bytes = frame::check_group(group)?;
        if self.active.at.offset + frame_bytes > self.active.head.bytes {
            self.rotate(frame_bytes)?;
        }
        let at = self.active.at;
        self.buffer.clear();
        let header = frame::encode(&mut self.buffer, self.active.head.key(), at.next, at.chain, group);
        assert_eq!(self.buffer.len() as u64, frame_bytes, "a frame has the size that room was made for");
        if let Err(error) = self.active.file.write_at(&self.buffer, at.offset) {
            return Err(self.poison("writing", &error));
        }
        if let Err(error) = self.active.file.sync_data() {
            return Err(self.poison("syncing", &error));
        }
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        self.active.at = at.behind(&header);
        self.active.first = self.active.first.or(Some(header.first));
        self.bytes_written += frame_bytes;
        self.prepare_ahead();
        Ok(header.last())
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn read(&self, from: Seq) -> Records<'_> {
        let (from, first) = (from.max(Seq(1)), self.first());
        if from < first {
            return Box::new(std::iter::once(Err(LogError::Trimmed { first })));
        }
        let active = self.active.first.map(|first| Sealed {
            ordinal: self.active.head.ordinal,
            first,
            bytes: self.active.head.bytes,
        });
        let mut segments: VecDeque<Sealed> = self.sealed.iter().copied().chain(active).collect();
        let start = segments.partition_point(|segment| segment.first <= from).saturating_sub(1);
        segments.drain(..start);
        Box::new(Replay::new(Arc::clone(&self.files), segments, from, self.last()))
    }

    fn first(&self) -> Seq {
        self.sealed.front().map(|segment| segment.first).or(self.active.first).unwrap_or(self.active.at.next)
    }

    fn last(&self) -> Seq {
        Seq(self.active.at.next.0 - 1)
    }

    fn trim(&mut self, before: Seq) -> Result<(), LogError> {
        self.check_sound()?;
        while let Some(oldest) = self.sealed.front().copied() {
            let after = self.sealed.get(1).map(|segment| segment.first).or(self.active.first);
            if after.is_none_or(|after| after > before) {
                break;
            }
            self.forget_oldest(oldest)?;
        }
        // A rare moment that costs syncs anyway: from here on the loss of the last frame can be proven.
        self.active.set_mark().map_err(|error| self.poison("syncing", &error))
    }

    fn bytes_written(&self) -> u64 {
        self.bytes_written
    }
}

impl Drop for FileLog {
    fn drop(&mut self) {
        if let Next::Making(thread) = std::mem::replace(&mut self.next, Next::Unmade) {
            drop(thread.join());
        }
        if self.poisoned.is_none() {
            // A mark is a help for the next opening, not a promise: without it the log is as safe as after a kill.
            drop(self.active.set_mark());
        }
    }
}

/// 128 bits from the system's source of randomness, by way of the standard library's hash keys.
fn unguessable() -> [u8; 16] {
    let mut id = [0; 16];
    for half in id.chunks_exact_mut(8) {
        half.copy_from_slice(&RandomState::new().hash_one(std::process::id()).to_le_bytes());
    }
    id
}
