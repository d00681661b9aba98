//! The two small files that say what the folder is: its format, and how far it was synced.
//!
//! For: refusing folders of newer versions, and noticing rows that went back behind a sync.
//! Not for: the rows. Invariant: the format file is durable before anything else is written beside it.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

use consort_store::StoreError;
use consort_types::Seq;

use crate::error;

const FORMAT_FILE: &str = "format";
/// The format file before it is whole.
const UNFINISHED: &str = "format.new";
const FORMAT_NAME: &str = "consort-store";
const VERSION: u32 = 1;
pub(crate) const SYNCED_FILE: &str = "synced";
/// There while the rows' folder is being made.
pub(crate) const MAKING_FILE: &str = "rows.making";
/// What only a store has in its folder.
const PARTS: [&str; 3] = ["rows", SYNCED_FILE, "blobs"];
/// How often a lock is tried, and the pause between two tries.
const LOCK_ATTEMPTS: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(5);
/// The two slots keep apart by the largest unit that disks write, so that a torn write leaves the other one.
const SLOT_BYTES: u64 = 4096;

/// Makes what was created, renamed or removed in a folder survive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes a folder, durably, where there is none.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    let missing: Vec<&Path> =
        folder.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    fs::create_dir_all(folder)?;
    for parent in missing.iter().filter_map(|path| path.parent()) {
        sync_folder(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?;
    }
    Ok(())
}

/// Checks that a folder is a store that this version reads; makes an empty folder one.
pub(crate) fn check(folder: &Path) -> Result<(), StoreError> {
    let path = folder.join(FORMAT_FILE);
    let refused = |error: io::Error| error::io(&path, &error);
    make_folder(folder).map_err(refused)?;
    let damaged = |what: String| Err(StoreError::Damaged { place: path.display().to_string(), what });
    match Format::read(&path).map_err(refused)? {
        Format::Version(version) => check_version(&path, version),
        Format::Foreign => damaged(format!("it does not say `{FORMAT_NAME} {VERSION}`")),
        Format::Missing => {
            let foreign = |entry: io::Result<fs::DirEntry>| entry.map_or(true, |entry| entry.file_name() != UNFINISHED);
            if PARTS.iter().any(|part| folder.join(part).exists()) {
                return damaged("it is missing, but parts of a store are there".to_owned());
            }
            if fs::read_dir(folder).map_err(refused)?.any(foreign) {
                let what = "the folder is not empty and has no format file".to_owned();
                return Err(StoreError::BadFormat { place: path.display().to_string(), what });
            }
            create(folder, &path).map_err(refused)
        }
    }
}

/// What the format file says.
enum Format {
    Missing,
    Version(u32),
    Foreign,
}

impl Format {
    fn read(path: &Path) -> io::Result<Self> {
        match fs::read(path) {
            Ok(bytes) => {
                let text = str::from_utf8(&bytes).ok().and_then(|text| text.trim_end().strip_prefix(FORMAT_NAME));
                Ok(text.and_then(|rest| rest.trim().parse().ok()).map_or(Self::Foreign, Self::Version))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::Missing),
            Err(error) => Err(error),
        }
    }
}

fn check_version(path: &Path, version: u32) -> Result<(), StoreError> {
    if version <= VERSION {
        return Ok(());
    }
    let what = format!("it has format `{version}`, this version of Consort reads up to `{VERSION}`");
    Err(StoreError::BadFormat { place: path.display().to_string(), what })
}

/// Makes a folder a store that this version reads, whatever it holds, unless a newer version wrote it: a format file that
/// says nothing is moved aside. Returns where it is now.
pub(crate) fn renew(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let path = folder.join(FORMAT_FILE);
    let refused = |error: io::Error| error::io(&path, &error);
    make_folder(folder).map_err(refused)?;
    let format = Format::read(&path).map_err(refused)?;
    if let Format::Version(version) = format {
        return check_version(&path, version).map(|()| Vec::new());
    }
    let moved = move_aside(folder, FORMAT_FILE).map_err(refused)?;
    create(folder, &path).map_err(refused)?;
    Ok(moved.into_iter().collect())
}

/// Gives a part of the folder, where it is there, a name that says that it is damaged; returns where it is now.
pub(crate) fn move_aside(folder: &Path, part: &str) -> io::Result<Option<PathBuf>> {
    let path = folder.join(part);
    if !path.exists() {
        return Ok(None);
    }
    let free = (1..u32::MAX).map(|number| folder.join(format!("{part}.damaged-{number}"))).find(|path| !path.exists());
    let Some(free) = free else { return Ok(None) };
    fs::rename(&path, &free)?;
    sync_folder(folder)?;
    Ok(Some(free))
}

/// Locks the folder (which passed [`check`]) for as long as the returned file is open.
pub(crate) fn lock(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join(FORMAT_FILE);
    let file = File::open(&path).map_err(|error| error::io(&path, &error))?;
    for _ in 0..LOCK_ATTEMPTS {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error::io(&path, &error)),
            // A child that this process is just starting shares the lock for the moment until it runs its program.
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
        }
    }
    Err(StoreError::Locked { place: folder.display().to_string() })
}

/// The file gets its name when it is whole, so that a crash in between leaves a folder that still counts as empty.
fn create(folder: &Path, path: &Path) -> io::Result<()> {
    let unfinished = folder.join(UNFINISHED);
    let mut file = File::create(&unfinished)?;
    writeln!(file, "{FORMAT_NAME} {VERSION}")?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    sync_folder(folder)
}

/// The creation of the rows' folder. A note in a file of its own exists until the creation is complete, because fjall
/// cannot open a folder that was half made when the process was killed. No row is written before the note is removed.
#[derive(Debug)]
pub(crate) struct Making {
    folder: PathBuf,
    note: PathBuf,
}

impl Making {
    /// Begins, where `rows` is not there or was left half made; the latter is removed first.
    pub(crate) fn begin(folder: &Path, rows: &Path) -> Result<Option<Self>, StoreError> {
        let note = folder.join(MAKING_FILE);
        let prepare = || {
            if !note.exists() {
                if rows.exists() {
                    return Ok(false);
                }
                File::create(&note)?;
                sync_folder(folder)?;
            } else if rows.exists() {
                fs::remove_dir_all(rows)?;
            }
            Ok(true)
        };
        let begun = prepare().map_err(|error: io::Error| error::io(&note, &error))?;
        Ok(begun.then(|| Self { folder: folder.to_owned(), note }))
    }

    /// Ends: the rows are whole and durable.
    pub(crate) fn end(self) -> Result<(), StoreError> {
        let ended = sync_folder(&self.folder).and_then(|()| fs::remove_file(&self.note));
        ended.and_then(|()| sync_folder(&self.folder)).map_err(|error| error::io(&self.note, &error))
    }
}

/// How far the rows were synced.
#[derive(Debug)]
pub(crate) struct Synced {
    file: File,
    path: PathBuf,
    /// Writes so far: the next one goes to the other slot.
    count: u64,
    seq: Seq,
}

impl Synced {
    pub(crate) fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(SYNCED_FILE);
        Self::read(&path).map_err(|error| error::io(&path, &error))
    }

    fn read(path: &Path) -> io::Result<Self> {
        let new = !path.exists();
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        if new {
            file.write_all_at(&[0; 2 * SLOT_BYTES as usize], 0)?;
        }
        let slots = [0, SLOT_BYTES].map(|offset| {
            let mut slot = [0; 20];
            file.read_exact_at(&mut slot, offset).ok()?;
            decode(&slot)
        });
        let (count, seq) = slots.into_iter().flatten().max_by_key(|(count, _)| *count).unwrap_or((0, Seq::ZERO));
        Ok(Self { file, path: path.to_owned(), count, seq })
    }

    /// The last record that is known to have been synced.
    pub(crate) fn seq(&self) -> Seq {
        self.seq
    }

    /// Notes durably that the rows are synced up to this record.
    pub(crate) fn set(&mut self, seq: Seq) -> Result<(), StoreError> {
        if seq == self.seq {
            return Ok(());
        }
        let count = self.count + 1;
        let mut slot = [0; 20];
        slot[..8].copy_from_slice(&count.to_le_bytes());
        slot[8..16].copy_from_slice(&seq.0.to_le_bytes());
        let check = crc32c::crc32c(&slot[..16]);
        slot[16..].copy_from_slice(&check.to_le_bytes());
        let written = self.file.write_all_at(&slot, SLOT_BYTES * (count % 2)).and_then(|()| self.file.sync_data());
        written.map_err(|error| error::io(&self.path, &error))?;
        (self.count, self.seq) = (count, seq);
        Ok(())
    }
}

fn decode(slot: &[u8; 20]) -> Option<(u64, Seq)> {
    let number = |at: usize| slot[at..at + 8].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let good = crc32c::crc32c(&slot[..16]).to_le_bytes() == slot[16..] && number(0) > 0;
    good.then(|| (number(0), Seq(number(8))))
}
