//! Having a record of the log passed over.
//!
//! For: an operator whose server cannot start because a record cannot be applied. Not for: judging whether it should be
//! (the operator does), nor for a folder that a server has open.
//! Invariant: nothing is deleted: the record stays in the log, and a further one records that it is passed over, the
//! reason, and the operator.

use consort_engine::RefuseRecord;
use consort_log_file::FileLog;
use consort_store_fjall::FjallStore;
use consort_types::{Code, Error, Result, Seq};

use crate::{Settings, local::DataFolder};

/// Has a record passed over from the next start on; returns the number of the record of the refusal.
///
/// # Errors
/// [`Code::Locked`] where a process has the folder open, [`Code::FolderNotFound`] where there is none,
/// [`Code::RecordNotFound`] and [`Code::RecordSettled`] where the record cannot be refused.
pub async fn refuse_record(settings: &Settings, refusal: RefuseRecord) -> Result<Seq> {
    let folder = DataFolder::at(settings.data_dir());
    if !folder.exists() {
        let message = format!("there is no data folder at `{}`", folder.path().display());
        return Err(Error::new(Code::FolderNotFound, message).hint("name it with `--data-dir`"));
    }
    let waits_for_the_disk = move || {
        let _lock = folder.lock()?;
        let store = FjallStore::open(&folder.store())?;
        let mut log = FileLog::open(&folder.log())?;
        consort_engine::refuse_record(&mut log, &store, refusal)
    };
    let refused = tokio::task::spawn_blocking(waits_for_the_disk).await;
    refused
        .map_err(|error| Error::new(Code::Internal, format!("the thread that reads the folder has ended: {error}")))?
}
