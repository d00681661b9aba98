//! Blobs as files that are named by their hash: `blobs/ab/abcd…`.
//!
//! For: payloads over the inline limit. Not for: many small values (each costs a file and its syncs).
//! Invariant: a file has its final name only when its bytes are durable; what is read is checked against its name.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use consort_store::{Blobs, StoreError};
use consort_types::BlobHash;

use crate::{error, format};

/// What the names of unfinished files begin with.
const UNFINISHED: &str = "new-";

/// A folder of blobs. Any number of processes may read it; one at a time may write.
#[derive(Debug)]
pub struct BlobFolder {
    folder: PathBuf,
    unfinished: AtomicU64,
}

impl BlobFolder {
    /// Opens the folder, made where there is none, and removes what was never finished.
    ///
    /// # Errors
    /// [`StoreError::Io`] where the folder cannot be made or read.
    pub fn open(folder: PathBuf) -> Result<Self, StoreError> {
        let prepare = || {
            format::make_folder(&folder)?;
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                    fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        };
        prepare().map_err(|error: io::Error| error::io(&folder, &error))?;
        Ok(Self { folder, unfinished: AtomicU64::new(0) })
    }

    /// The folder as it is, for reading: nothing is made or removed.
    pub fn at(folder: PathBuf) -> Self {
        Self { folder, unfinished: AtomicU64::new(0) }
    }

    /// Where a blob is, or would be.
    pub fn path(&self, hash: BlobHash) -> PathBuf {
        let name = hash.to_string();
        self.folder.join(&name[..2]).join(name)
    }

    /// The length of a blob's file; `None` where there is none. The bytes are not read.
    ///
    /// # Errors
    /// [`StoreError::Io`] where the file system does not say.
    pub fn len_of(&self, hash: BlobHash) -> Result<Option<u64>, StoreError> {
        let path = self.path(hash);
        match fs::metadata(&path) {
            Ok(found) => Ok(Some(found.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error::io(&path, &error)),
        }
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let folder = path.parent().expect("a blob is in a folder");
        // The same bytes may be there already, but their name may not be durable yet.
        if fs::read(path).is_ok_and(|there| there == bytes) {
            return format::sync_folder(folder);
        }
        // Only this one: were the folders above made too, a data folder that was moved away would begin again as an
        // empty one, in which nothing fits.
        match fs::create_dir(folder) {
            Ok(()) => format::sync_folder(&self.folder)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let number = self.unfinished.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.folder.join(format!("{UNFINISHED}{number}"));
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        format::sync_folder(folder)
    }
}

impl Blobs for BlobFolder {
    fn put_blob(&self, hash: BlobHash, bytes: &[u8]) -> Result<(), StoreError> {
        assert!(BlobHash::of(bytes) == hash, "a blob is named by the hash of its bytes");
        let path = self.path(hash);
        self.write(&path, bytes).map_err(|error| error::io(&path, &error))
    }

    fn get_blob(&self, hash: BlobHash) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.path(hash);
        match fs::read(&path) {
            Ok(bytes) if BlobHash::of(&bytes) == hash => Ok(Some(bytes)),
            Ok(_) => {
                let what = "its bytes have another hash than its name".to_owned();
                Err(StoreError::Damaged { place: path.display().to_string(), what })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error::io(&path, &error)),
        }
    }

    fn delete_blob(&self, hash: BlobHash) -> Result<bool, StoreError> {
        let path = self.path(hash);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error::io(&path, &error)),
        }
    }

    fn list_blobs(&self) -> Result<Vec<BlobHash>, StoreError> {
        let list = || {
            let mut hashes = Vec::new();
            for folder in fs::read_dir(&self.folder)? {
                let folder = folder?;
                if folder.file_type()?.is_dir() {
                    for file in fs::read_dir(folder.path())? {
                        hashes.extend(BlobHash::parse(&file?.file_name().to_string_lossy()));
                    }
                }
            }
            hashes.sort_unstable();
            Ok(hashes)
        };
        list().map_err(|error: io::Error| error::io(&self.folder, &error))
    }
}
