//! The data folder: its parts, and its lock.
//!
//! For: laying out `.consort/`, locking it, and finding the process that holds it. Not for: the files of the log or
//! the store (their adapters own those).
//! Invariant: the process that has the folder open holds its lock, and writes its address into it once it listens.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use consort_log::Files;
use consort_log_file::{Folder, Holder, LockError, LockFile};
use consort_types::{Code, Error, Result};

/// The folder's marker: what it is, and of which layout.
const MARKER: &str = "FORMAT";
/// The marker before it is whole.
const UNFINISHED: &str = "FORMAT.new";
/// Keeps runs out of version control.
const IGNORE: &str = ".gitignore";
/// The text of the marker before the number of the layout.
const PRODUCT: &str = "consort";
/// The layout that this build reads and writes.
const LAYOUT: u32 = 2;

/// The permissions of a folder that its user alone may read, write and enter.
const PRIVATE: u32 = 0o700;

/// The content of a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marker {
    /// There is none.
    Missing,
    /// It has no bytes, or only zeros: its content was lost in a power cut.
    Empty,
    /// This layout.
    Layout(u32),
    /// Something else.
    Foreign,
}

impl Marker {
    fn read(path: &Path) -> std::io::Result<Self> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(Self::parse(&bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::Missing),
            Err(error) => Err(error),
        }
    }

    fn parse(bytes: &[u8]) -> Self {
        if bytes.iter().all(|byte| *byte == 0 || byte.is_ascii_whitespace()) {
            return Self::Empty;
        }
        let text = str::from_utf8(bytes).ok().and_then(|text| text.trim().strip_prefix(PRODUCT));
        text.and_then(|number| number.trim().parse().ok()).map_or(Self::Foreign, Self::Layout)
    }

    fn text() -> String {
        format!("{PRODUCT} {LAYOUT}\n")
    }
}

/// The parts of a data folder.
#[derive(Clone, Debug)]
pub struct DataFolder {
    path: PathBuf,
}

impl DataFolder {
    /// The folder at this path, whether it is there or not.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The log's part.
    pub fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// The store's part.
    pub fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    /// The snapshots of the store's rows.
    pub fn snapshots(&self) -> PathBuf {
        self.path.join("snapshots")
    }

    /// What can be made again: it may be deleted at any time.
    pub fn cache(&self) -> PathBuf {
        self.path.join("cache")
    }

    /// Whether it is there: with a marker, or with a part that only a data folder has.
    pub fn exists(&self) -> bool {
        self.path.join(MARKER).is_file() || self.part().is_some()
    }

    /// Whether other users of the machine may read what is in it.
    pub(crate) fn is_open_to_others(&self) -> bool {
        let others = |about: std::fs::Metadata| about.permissions().mode() & !PRIVATE & 0o777 != 0;
        std::fs::metadata(&self.path).is_ok_and(others)
    }

    /// A part that is there.
    fn part(&self) -> Option<PathBuf> {
        [self.log(), self.store()].into_iter().find(|part| part.exists())
    }

    /// Whether this build reads it.
    ///
    /// # Errors
    /// [`Code::BadFormat`] where the marker is missing or empty, or names another layout.
    pub fn check_format(&self) -> Result<()> {
        let path = self.path.join(MARKER);
        let marker = Marker::read(&path).map_err(|error| disk(&path, &error))?;
        let shown = path.display();
        let bad = |message: String, hint: &str| Err(Error::new(Code::BadFormat, message).hint(hint));
        match marker {
            Marker::Layout(LAYOUT) => Ok(()),
            Marker::Layout(newer) if newer > LAYOUT => bad(
                format!("`{shown}` names layout `{newer}`, newer than layout `{LAYOUT}` of this build"),
                "start the newer version of Consort that wrote the folder, or set `data-dir` to another folder",
            ),
            Marker::Layout(older) => bad(
                format!("`{shown}` names layout `{older}`, older than layout `{LAYOUT}` of this build"),
                "start the version of Consort that wrote the folder, or set `data-dir` to another folder",
            ),
            Marker::Empty | Marker::Missing => {
                let how = if marker == Marker::Empty { "is empty" } else { "is missing" };
                bad(
                    format!("`{shown}` {how}, as a power cut or an incomplete copy may leave it"),
                    "run `consort doctor --mend-marker`: it restores the marker where log and store beside it are sound",
                )
            }
            Marker::Foreign => bad(
                format!("`{shown}` is not the marker of a data folder"),
                "set `data-dir` to another folder, or restore this one from a backup",
            ),
        }
    }

    /// Restores a missing or empty marker, durably. The caller has found log and store sound.
    ///
    /// # Errors As [`DataFolder::check_format`], where the marker has content.
    pub(crate) fn write_marker_anew(&self) -> Result<()> {
        let path = self.path.join(MARKER);
        match Marker::read(&path).map_err(|error| disk(&path, &error))? {
            Marker::Missing | Marker::Empty => self.write_marker(),
            Marker::Layout(_) | Marker::Foreign => self.check_format(),
        }
    }

    fn write_marker(&self) -> Result<()> {
        let failed = |error: std::io::Error| disk(&self.path.join(MARKER), &error);
        write_whole(&Folder::open(&self.path).map_err(failed)?, MARKER, UNFINISHED, &Marker::text()).map_err(failed)
    }

    /// Makes the folder where there is none, and locks it.
    pub(crate) fn lock(&self) -> Result<LockFile> {
        let lock = self.lock_as_it_is()?;
        if !self.exists() {
            self.make()?;
        }
        self.check_format()?;
        Ok(lock)
    }

    /// Locks the folder, whatever the content of its marker.
    pub(crate) fn lock_as_it_is(&self) -> Result<LockFile> {
        LockFile::acquire(&self.path).map_err(|error| match error {
            LockError::Held(holder) => self.held(&holder),
            LockError::Io(error) => disk(&self.path, &error),
        })
    }

    /// The marker is durable before log and store are made, and with it before anything can be acknowledged. Only
    /// the user of this process gets at what will be in it.
    pub(crate) fn make(&self) -> Result<()> {
        std::fs::set_permissions(&self.path, Permissions::from_mode(PRIVATE))
            .map_err(|error| disk(&self.path, &error))?;
        let ignore = self.path.join(IGNORE);
        std::fs::write(&ignore, "*\n").map_err(|error| disk(&ignore, &error))?;
        self.write_marker()
    }

    fn held(&self, holder: &Holder) -> Error {
        Error::new(Code::Locked, format!("`{}` is in use by {holder}", self.path.display()))
            .hint("commands in this folder talk to that process by themselves; stop it to open the folder again")
    }
}

/// Writes a file so that a power cut leaves all of it or none: under another name first, and durable before it gets its
/// own.
pub(crate) fn write_whole(files: &dyn Files, name: &str, unfinished: &str, text: &str) -> std::io::Result<()> {
    if files.list()?.iter().any(|known| known == unfinished) {
        files.remove(unfinished)?;
    }
    let file = files.create(unfinished)?;
    file.write_at(text.as_bytes(), 0)?;
    file.sync_data()?;
    files.rename(unfinished, name)?;
    files.sync_dir()
}

/// The process that has a data folder open; `None` where there is none, or no such folder.
pub fn holder(folder: &Path) -> Result<Option<Holder>> {
    LockFile::holder(folder).map_err(|error| disk(folder, &error))
}

pub(crate) fn disk(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Code::Disk, format!("`{}`: {error}", path.display())).hint("check free space and permissions")
}

#[cfg(test)]
mod tests {
    use consort_log::{MemoryDisk, Unsynced};

    use super::*;

    #[test]
    fn a_folder_is_made_once_and_recognised() {
        let temp = consort_testkit::temp_dir();
        let folder = DataFolder::at(&temp.path().join("data"));
        assert!(!folder.exists());
        let lock = folder.lock().unwrap();
        assert!(folder.exists() && !folder.is_open_to_others());
        let error = folder.lock().unwrap_err();
        assert_eq!(error.code, Code::Locked);
        assert!(holder(folder.path()).unwrap().is_some());
        drop(lock);
        assert!(holder(folder.path()).unwrap().is_none());
        folder.lock().unwrap();
    }

    #[test]
    fn a_folder_of_another_layout_is_refused_with_a_way_out() {
        let temp = consort_testkit::temp_dir();
        let folder = DataFolder::at(&temp.path().join("data"));
        drop(folder.lock().unwrap());
        for (text, said) in [
            ("consort 9\n", "newer than layout `2`"),
            ("consort 1\n", "older than layout `2`"),
            ("sqlite 3\n", "not the marker"),
        ] {
            std::fs::write(folder.path().join(MARKER), text).unwrap();
            let error = folder.lock().unwrap_err();
            assert_eq!(error.code, Code::BadFormat);
            assert!(error.message.contains(said) && error.hint.is_some(), "{error}");
            assert_eq!(folder.write_marker_anew().unwrap_err().code, Code::BadFormat, "it is not overwritten");
        }
    }

    /// The message about a marker, and how it is lost.
    type Loss = (&'static str, fn(&Path));

    #[test]
    fn a_marker_that_was_lost_is_named_and_written_anew_only_when_asked() {
        let temp = consort_testkit::temp_dir();
        let folder = DataFolder::at(&temp.path().join("data"));
        drop(folder.lock().unwrap());
        std::fs::create_dir(folder.log()).unwrap();
        let marker = folder.path().join(MARKER);
        let losses: [Loss; 3] = [
            ("is empty", |marker| std::fs::write(marker, "").unwrap()),
            ("is empty", |marker| std::fs::write(marker, [0; 10]).unwrap()),
            ("is missing", |marker| std::fs::remove_file(marker).unwrap()),
        ];
        for (said, lose) in losses {
            lose(&marker);
            let error = folder.lock().unwrap_err();
            assert_eq!(error.code, Code::BadFormat);
            assert!(error.message.contains(said), "{error}");
            assert!(error.hint.unwrap().contains("doctor --mend-marker"));
            folder.write_marker_anew().unwrap();
            drop(folder.lock().unwrap());
        }
    }

    #[test]
    fn a_power_cut_leaves_the_whole_marker_or_none_at_every_moment() {
        // The disk fails at the n-th sync, and then forgets whatever it may: all of it, or each kind alone.
        for at in 1..=3 {
            let fates: [fn(Unsynced<'_>) -> bool; 3] = [|_| false, |_| true, |lost| matches!(lost, Unsynced::Name(_))];
            for keeps in fates {
                let files = MemoryDisk::new();
                files.fail_sync(at);
                let written = write_whole(&files, MARKER, UNFINISHED, &Marker::text());
                files.crash(keeps);
                match files.contents(MARKER) {
                    Some(bytes) => assert_eq!(Marker::parse(&bytes), Marker::Layout(LAYOUT), "sync {at}"),
                    None => assert!(written.is_err(), "what was written is durable"),
                }
                write_whole(&files, MARKER, UNFINISHED, &Marker::text()).unwrap();
                files.crash(|_| false);
                assert_eq!(files.contents(MARKER).unwrap(), Marker::text().into_bytes(), "the next try succeeds");
            }
        }
    }
}
