//! The lock of a replica: a file that names the process that has the replica open.
//!
//! For: one process at a time, whatever SDK it uses. Not for: several machines that share a disk (their locks are
//! respected, and never taken over).
//! Invariant: a lock has its content from its first moment on; one of a process that has ended is taken over by one.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use consort_types::{Code, Error, Result};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// The files that this process has open.
static OPEN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Who holds a lock.
#[derive(Serialize, Deserialize)]
struct Holder {
    process: u32,
    host: String,
}

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    of: PathBuf,
    path: PathBuf,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Where it cannot be removed, it is taken over later.
        drop(fs::remove_file(&self.path));
        OPEN.lock().remove(&self.of);
    }
}

impl Lock {
    /// Acquires the lock of a file.
    pub(crate) fn acquire(of: &Path) -> Result<Self> {
        let path = beside(of, ".lock");
        let mut open = OPEN.lock();
        if open.contains(of) {
            return Err(held(of, Some(std::process::id()), &path));
        }
        if !make(&path).map_err(|error| failed(of, &error))? {
            take_over(of, &path)?;
        }
        open.insert(of.to_owned());
        Ok(Self { of: of.to_owned(), path })
    }
}

/// What the disk refuses.
pub(crate) fn failed(path: &Path, error: &io::Error) -> Error {
    Error::new(Code::Disk, format!("the replica `{}` cannot be read or written: {error}", path.display()))
        .hint("is there space on the disk, and may this program write there?")
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Makes a lock; false where there is one.
fn make(path: &Path) -> io::Result<bool> {
    let draft = beside(path, &format!(".{:032x}", rand::random::<u128>()));
    fs::write(&draft, serde_json::to_vec(&Holder { process: std::process::id(), host: host() })?)?;
    let made = match fs::hard_link(&draft, path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    };
    fs::remove_file(&draft)?;
    made
}

/// Takes the lock of a process that has ended.
fn take_over(of: &Path, path: &Path) -> Result<()> {
    // Of two that find the same old lock, one may remove it.
    let guard = beside(path, ".old");
    if !make(&guard).map_err(|error| failed(of, &error))? {
        return Err(held(of, None, &guard));
    }
    let taken = (|| -> io::Result<Result<()>> {
        if let Some(holder) = holder(path)? {
            return Ok(Err(held(of, Some(holder), path)));
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(if make(path)? { Ok(()) } else { Err(held(of, None, path)) })
    })();
    let freed = fs::remove_file(&guard);
    taken.and_then(|taken| freed.map(|()| taken)).map_err(|error| failed(of, &error))?
}

/// The process that holds a lock; none where it has ended.
fn holder(path: &Path) -> io::Result<Option<u32>> {
    let data = match fs::read(path) {
        Ok(data) => data,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // Where it cannot be read, power was lost before it was on the disk.
    let Ok(Holder { process, host: its }) = serde_json::from_slice(&data) else { return Ok(None) };
    let is_gone = its == host() && (process == std::process::id() || !lives(process));
    Ok((!is_gone).then_some(process))
}

#[cfg(unix)]
fn lives(process: u32) -> bool {
    let process = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw);
    process.is_some_and(|process| rustix::process::test_kill_process(process) != Err(rustix::io::Errno::SRCH))
}

#[cfg(not(unix))]
fn lives(_: u32) -> bool {
    true
}

#[cfg(unix)]
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn host() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

fn held(of: &Path, holder: Option<u32>, file: &Path) -> Error {
    let who = holder.map_or_else(|| "another process".to_owned(), |holder| format!("process `{holder}`"));
    Error::new(Code::ReplicaTaken, format!("the replica `{}` is open in {who}", of.display()))
        .hint(format!("close it there; where that process is gone, remove `{}`", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_of_a_process_that_has_ended_is_taken_over_and_that_of_another_machine_is_respected() {
        let folder = tempfile::tempdir().unwrap();
        let of = folder.path().join("r");
        let lock = beside(&of, ".lock");
        // No process has so high a number.
        for left in [format!(r#"{{"process":{},"host":"{}"}}"#, i32::MAX, host()), String::new()] {
            fs::write(&lock, left).unwrap();
            drop(Lock::acquire(&of).unwrap());
        }
        for (process, its) in [(1, "elsewhere".to_owned()), (1, host())] {
            fs::write(&lock, format!(r#"{{"process":{process},"host":"{its}"}}"#)).unwrap();
            let error = Lock::acquire(&of).unwrap_err();
            assert_eq!(error.code, Code::ReplicaTaken);
            assert!(error.message.contains("process `1`"), "{error}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
