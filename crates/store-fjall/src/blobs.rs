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

use consort_store::StoreError;
use consort_types::BlobHash;

use crate::{error, format};

/// What the names of unfinished files begin with.
const UNFINISHED: &str = "new-";

/// The folder of blobs.
#[derive(Debug)]
pub(crate) struct BlobFolder {
    folder: PathBuf,
    unfinished: AtomicU64,
}

impl BlobFolder {
    /// Opens the folder, made where there is none, and removes what was never finished.
    pub(crate) fn open(folder: PathBuf) -> Result<Self, StoreError> {
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

    fn path(&self, hash: BlobHash) -> PathBuf {
        let name = hash.to_string();
        self.folder.join(&name[..2]).join(name)
    }

    pub(crate) fn put(&self, hash: BlobHash, bytes: &[u8]) -> Result<(), StoreError> {
        assert!(BlobHash::of(bytes) == hash, "a blob is named by the hash of its bytes");
        let path = self.path(hash);
        self.write(&path, bytes).map_err(|error| error::io(&path, &error))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let folder = path.parent().expect("a blob is in a folder");
        // The same bytes may be there already, but their name may not be durable yet.
        if fs::read(path).is_ok_and(|there| there == bytes) {
            return format::sync_folder(folder);
        }
        format::make_folder(folder)?;
        let number = self.unfinished.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.folder.join(format!("{UNFINISHED}{number}"));
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        format::sync_folder(folder)
    }

    pub(crate) fn get(&self, hash: BlobHash) -> Result<Option<Vec<u8>>, StoreError> {
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

    pub(crate) fn delete(&self, hash: BlobHash) -> Result<bool, StoreError> {
        let path = self.path(hash);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error::io(&path, &error)),
        }
    }

    pub(crate) fn list(&self) -> Result<Vec<BlobHash>, StoreError> {
        let list = || {
            let mut hashes = Vec::new();
            for folder in fs::read_dir(&self.folder)? {
                let folder = folder?;
                if folder.file_type()?.is_dir() {
                    for file in fs::read_dir(folder.path())? {
                        hashes.extend(parse(&file?.file_name().to_string_lossy()));
                    }
                }
            }
            hashes.sort_unstable();
            Ok(hashes)
        };
        list().map_err(|error: io::Error| error::io(&self.folder, &error))
    }
}

/// The hash that a file name shows; other files are none of ours.
fn parse(name: &str) -> Option<BlobHash> {
    let digits = name.as_bytes();
    let mut hash = [0; 32];
    if digits.len() != 64 || digits.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(BlobHash(hash))
}
