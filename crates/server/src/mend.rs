//! Mending a data folder whose marker was lost.
//!
//! For: `consort doctor --mend-marker`. Not for: damage of the log or the store, which nothing mends.
//! Invariant: the marker is written only where no process has the folder open, and log and store are there and sound.

use consort_store::Store as _;
use consort_store_fjall::FjallStore;
use consort_types::{Code, Error, Result, Seq};

use crate::{Settings, doctor, local::DataFolder};

/// Restores the missing or empty marker of the settings' data folder. Returns the last record of its log.
///
/// # Errors
/// [`Code::Locked`] where a process has the folder open, [`Code::BadFormat`] where the log or the store is missing or
/// the marker names another layout, and whatever is wrong with the log or the store.
pub async fn mend_marker(settings: &Settings) -> Result<Seq> {
    let folder = DataFolder::at(settings.data_dir());
    let mended = tokio::task::spawn_blocking(move || mend(&folder)).await;
    mended.map_err(|error| Error::new(Code::Internal, format!("the mending has not ended: {error}")))?
}

fn mend(folder: &DataFolder) -> Result<Seq> {
    let _lock = folder.lock_as_it_is()?;
    if let Some(part) = [folder.log(), folder.store()].into_iter().find(|part| !part.is_dir()) {
        let message = format!("`{}` is missing, so a marker would not make it a data folder", part.display());
        return Err(Error::new(Code::BadFormat, message).hint("restore the folder from a backup"));
    }
    let (_, last, _) = doctor::scan(&folder.log())?;
    FjallStore::open(&folder.store())?.applied()?;
    folder.write_marker_anew()?;
    Ok(last)
}
