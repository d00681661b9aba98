//! Making the rows of a store again.
//!
//! For: a store whose rows are missing or damaged, and a new store that begins with rows of a backup. Not for: where the
//! rows come from, nor for blobs: they stay where they are.
//! Invariant: nothing is deleted but what an unfinished rebuilding left; what was there before is moved aside within the
//! folder, and at every moment a crash leaves a store that is refused or whole.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use consort_store::{Row, StoreError};
use consort_types::Seq;
use fjall::PersistMode;

use crate::{
    FjallStore, error,
    format::{self, MAKING_FILE, SYNCED_FILE},
    store::{APPLIED_KEY, ROWS, open_rows, row_key},
};

/// The rows while they are made.
const WORK: &str = "rows.rebuilt";

impl FjallStore {
    /// Makes the rows of the store in a folder again: `batches` gives them, and `applied` is the record that they reflect.
    /// Returns where the parts that were there before are now. Blobs are not touched.
    ///
    /// # Errors
    /// [`StoreError::Locked`] where a process has the store open, [`StoreError::BadFormat`] where a newer version wrote
    /// it, and what `batches` or the disk refuses; the store is as it was then, but for what the last of these left.
    pub fn rebuild<E: From<StoreError>>(
        folder: &Path,
        applied: Seq,
        batches: impl Iterator<Item = Result<Vec<Row>, E>>,
    ) -> Result<Vec<PathBuf>, E> {
        let mut aside = format::renew(folder)?;
        let _lock = format::lock(folder)?;
        let work = folder.join(WORK);
        remove_unfinished(&work).map_err(|error| error::io(&work, &error))?;
        fill(&work, applied, batches)?;
        let moved = (|| {
            format::sync_folder(folder)?;
            // Rows without the note of their last sync would be believed, whatever they are: the note goes last.
            for part in [ROWS, SYNCED_FILE] {
                aside.extend(format::move_aside(folder, part)?);
            }
            match fs::remove_file(folder.join(MAKING_FILE)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            fs::rename(&work, folder.join(ROWS))?;
            format::sync_folder(folder)
        })();
        moved.map_err(|error: io::Error| error::io(folder, &error))?;
        Ok(aside)
    }
}

fn remove_unfinished(work: &Path) -> io::Result<()> {
    match fs::remove_dir_all(work) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn fill<E: From<StoreError>>(
    work: &Path,
    applied: Seq,
    batches: impl Iterator<Item = Result<Vec<Row>, E>>,
) -> Result<(), E> {
    let refused = |error: fjall::Error| error::rows(work, &error);
    let (database, rows) = open_rows(work).map_err(refused)?;
    for batch in batches {
        let mut changes = database.batch();
        for (key, value) in batch? {
            changes.insert(&rows, row_key(&key), value);
        }
        changes.commit().map_err(refused)?;
    }
    let mut last = database.batch();
    last.insert(&rows, APPLIED_KEY, applied.0.to_be_bytes());
    last.commit().map_err(refused)?;
    database.persist(PersistMode::SyncAll).map_err(refused)?;
    Ok(())
}
