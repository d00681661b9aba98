//! One process at a time works on a folder, and the others can find it.
//!
//! For: refusing a second writer, and publishing the holder's process and address to other commands. Not for: leases or
//! fencing between machines (the lock is the local system's).
//! Invariant: the lock ends with its process, however that ends; the file itself is never removed, as that would let
//! two processes lock two files of one name.

use std::{
    fmt,
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::Folder;

/// The name of the lock file.
const NAME: &str = "lock";
/// How often a lock without an id in it is tried.
const ATTEMPTS: u32 = 20;
/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(2);

/// The process that holds a lock, as far as it has written its id and text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// Its process id; none in the instant between locking and writing.
    pub pid: Option<u32>,
    /// What it published with [`LockFile::set_text`], such as its address; empty before that.
    pub text: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process `{pid}`")?,
            None => f.write_str("a process that has not said its id yet")?,
        }
        if self.text.is_empty() { Ok(()) } else { write!(f, " at `{}`", self.text) }
    }
}

/// Why a lock was not had.
#[derive(Debug)]
pub enum LockError {
    /// Another process has it.
    Held(Holder),
    /// The lock file could not be made or locked.
    Io(io::Error),
}

impl From<io::Error> for LockError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A lock that is held; it ends with this object or with the process.
#[derive(Debug)]
pub struct LockFile {
    file: File,
    path: PathBuf,
}

impl LockFile {
    /// Locks a folder (made where there is none) without waiting for a holder, and writes this process's id down.
    pub fn acquire(folder: &Path) -> Result<Self, LockError> {
        Folder::open(folder)?;
        let path = folder.join(NAME);
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        for attempt in 1.. {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(error.into()),
                Err(TryLockError::WouldBlock) => {}
            }
            let holder = read(&mut file)?;
            if holder.pid.is_some() || attempt == ATTEMPTS {
                return Err(LockError::Held(holder));
            }
            // The holder is about to write its id, or it is a reader of the lock ([`LockFile::holder`]) that ends in a
            // moment.
            std::thread::sleep(PAUSE);
        }
        let mut lock = Self { file, path };
        lock.set_text("")?;
        Ok(lock)
    }

    /// Publishes a line for other processes, such as the address to talk to.
    pub fn set_text(&mut self, text: &str) -> io::Result<()> {
        let line = format!("{}\n{}\n", std::process::id(), text.replace(['\n', '\r'], " "));
        self.file.rewind()?;
        self.file.write_all(line.as_bytes())?;
        self.file.set_len(line.len() as u64)
    }

    /// The process that holds the lock of a folder now; `None` where it is not locked.
    pub fn holder(folder: &Path) -> io::Result<Option<Holder>> {
        let mut file = match OpenOptions::new().read(true).open(folder.join(NAME)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => read(&mut file).map(Some),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Where the lock file is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // Best effort: a text that is left is never read, since the lock is not held any more.
        drop(self.file.set_len(0));
    }
}

fn read(file: &mut File) -> io::Result<Holder> {
    let mut text = String::new();
    file.rewind()?;
    file.take(4096).read_to_string(&mut text)?;
    let mut lines = text.lines();
    let pid = lines.next().and_then(|line| line.parse().ok());
    Ok(Holder { pid, text: lines.next().unwrap_or_default().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(LockFile::holder(folder.path()).unwrap(), None);
        let mut lock = LockFile::acquire(folder.path()).unwrap();
        let pid = Some(std::process::id());
        assert_eq!(LockFile::holder(folder.path()).unwrap(), Some(Holder { pid, text: String::new() }));
        lock.set_text("http://127.0.0.1:7070").unwrap();
        lock.set_text("127.0.0.1:1").unwrap();
        let Err(LockError::Held(holder)) = LockFile::acquire(folder.path()) else { panic!("locked twice") };
        assert_eq!(holder, Holder { pid, text: "127.0.0.1:1".to_owned() });
        assert!(holder.to_string().ends_with("at `127.0.0.1:1`"));
        drop(lock);
        assert_eq!(LockFile::holder(folder.path()).unwrap(), None);
        LockFile::acquire(folder.path()).unwrap();
    }
}
