//! Backups of the running engine.
//!
//! For: writing an archive with everything that a data folder needs into a folder elsewhere. Not for: bringing it back
//! (see `restore`).
//! Invariant: a folder that has something else is never written to, and one process at a time writes to a backup.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_engine::{Backup, Frozen};
use consort_log_file::{LockError, LockFile};
use consort_store::Blobs;
use consort_types::{Code, Error, Result};

use super::archive::Archive;
use crate::local::disk;

/// Backups of a data folder.
pub(crate) struct Backups {
    /// The data folder.
    pub(crate) data: PathBuf,
    pub(crate) blobs: Arc<dyn Blobs>,
}

impl consort_engine::Archive for Backups {
    fn backup(&self, frozen: Frozen, folder: &Path) -> Result<Backup> {
        self.check_outside(folder)?;
        // A folder with something else gets no lock file either.
        Archive::open(folder)?;
        let _lock = LockFile::acquire(folder).map_err(|error| match error {
            LockError::Held(holder) => {
                Error::new(Code::Locked, format!("`{}` is in use by {holder}", folder.display()))
                    .hint("wait until the backup that is being made has ended")
            }
            LockError::Io(error) => disk(folder, &error),
        })?;
        let archive = Archive::open(folder)?;
        let written = archive.write(frozen.snapshot(), Some(&*self.blobs))?;
        // The rows are written down, and so are the blobs: from here on the engine may forget what is behind them.
        drop(frozen);
        archive.keep_newest(1)?;
        let (manifest, partition) = (&written.manifest, written.manifest.partition());
        let missing = manifest.missing.len() as u64;
        if missing > 0 {
            tracing::warn!(
                "{missing} blobs are missing or damaged, and so are not in the backup: {:?}",
                manifest.missing
            );
        }
        tracing::info!("made a backup up to record {} in {}", partition.record, folder.display());
        Ok(Backup {
            record: partition.record,
            time: partition.time,
            rows: partition.rows,
            blobs: manifest.blobs.len() as u64,
            missing_blobs: missing,
            bytes: manifest.objects().map(|object| object.bytes).sum(),
            files_written: written.files,
            bytes_written: written.bytes,
        })
    }
}

impl Backups {
    /// A backup inside the data folder would be lost with it, and a data folder inside a backup is not one.
    fn check_outside(&self, folder: &Path) -> Result<()> {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let (data, folder) = (real(&self.data), real(folder));
        if folder.starts_with(&data) || data.starts_with(&folder) {
            let message = format!("`{}` and the data folder `{}` are in each other", folder.display(), data.display());
            return Err(Error::new(Code::BadRequest, message).hint("name a folder elsewhere, best on another disk"));
        }
        Ok(())
    }
}
