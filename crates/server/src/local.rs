//! The data folder: its parts, and who has it open.
//!
//! For: laying out `.consort/`, locking it, and finding the process that holds it. Not for: the files of the log or
//! the store (their adapters own those).
//! Invariant: whoever has the folder open holds its lock, and writes its address into it once it listens.

use std::path::{Path, PathBuf};

use consort_log_file::{Holder, LockError, LockFile};
use consort_types::{Code, Error, Result};

/// The folder's marker: what it is, and of which layout.
const MARKER: &str = "FORMAT";
/// The layout that this build reads and writes.
const FORMAT: &str = "consort 1\n";

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

    /// What can be made again: it may be deleted at any time.
    pub fn cache(&self) -> PathBuf {
        self.path.join("cache")
    }

    /// Whether it is there.
    pub fn exists(&self) -> bool {
        self.path.join(MARKER).is_file()
    }

    /// Whether this build reads it.
    pub fn check_format(&self) -> Result<()> {
        let marker = self.path.join(MARKER);
        let found = std::fs::read_to_string(&marker).map_err(|error| disk(&marker, &error))?;
        if found == FORMAT {
            return Ok(());
        }
        let message = format!("`{}` says `{}`, this build reads `{}`", marker.display(), found.trim(), FORMAT.trim());
        Err(Error::new(Code::BadFormat, message).hint("use the version of Consort that wrote the folder"))
    }

    /// Makes the folder where there is none, and locks it.
    pub(crate) fn lock(&self) -> Result<LockFile> {
        let lock = LockFile::acquire(&self.path).map_err(|error| match error {
            LockError::Held(holder) => self.held(&holder),
            LockError::Io(error) => disk(&self.path, &error),
        })?;
        if !self.exists() {
            self.make()?;
        }
        self.check_format()?;
        Ok(lock)
    }

    fn make(&self) -> Result<()> {
        let strange = [self.log(), self.store()].into_iter().find(|part| part.exists());
        if let Some(part) = strange {
            let message = format!("`{}` is there, but `{MARKER}` is missing beside it", part.display());
            return Err(Error::new(Code::BadFormat, message).hint("restore the folder from a backup"));
        }
        // Nobody wants runs in version control.
        let ignore = self.path.join(".gitignore");
        std::fs::write(&ignore, "*\n").map_err(|error| disk(&ignore, &error))?;
        let marker = self.path.join(MARKER);
        std::fs::write(&marker, FORMAT).map_err(|error| disk(&marker, &error))
    }

    fn held(&self, holder: &Holder) -> Error {
        Error::new(Code::Locked, format!("`{}` is in use by {holder}", self.path.display()))
            .hint("commands in this folder talk to that process by themselves; stop it to open the folder again")
    }
}

/// Who has a data folder open now; `None` where nobody has, or where there is no such folder.
pub fn holder(folder: &Path) -> Result<Option<Holder>> {
    LockFile::holder(folder).map_err(|error| disk(folder, &error))
}

pub(crate) fn disk(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Code::Disk, format!("`{}`: {error}", path.display())).hint("check free space and permissions")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_once_and_recognised() {
        let temp = consort_testkit::temp_dir();
        let folder = DataFolder::at(&temp.path().join("data"));
        assert!(!folder.exists());
        let lock = folder.lock().unwrap();
        assert!(folder.exists());
        let error = folder.lock().unwrap_err();
        assert_eq!(error.code, Code::Locked);
        assert!(holder(folder.path()).unwrap().is_some());
        drop(lock);
        assert!(holder(folder.path()).unwrap().is_none());
        folder.lock().unwrap();
    }

    #[test]
    fn a_folder_of_another_version_or_of_nobody_is_refused() {
        let temp = consort_testkit::temp_dir();
        let folder = DataFolder::at(&temp.path().join("data"));
        drop(folder.lock().unwrap());
        std::fs::write(folder.path().join(MARKER), "consort 9\n").unwrap();
        assert_eq!(folder.lock().unwrap_err().code, Code::BadFormat);
        std::fs::remove_file(folder.path().join(MARKER)).unwrap();
        std::fs::create_dir(folder.log()).unwrap();
        assert_eq!(folder.lock().unwrap_err().code, Code::BadFormat);
    }
}
