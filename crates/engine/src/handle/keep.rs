//! Writing down what the partition has.
//!
//! For: backups and snapshots of a running engine. Not for: their form (an [`Archive`] has it).
//! Invariant: what is written down has every command that was acknowledged before the call.

use std::{path::PathBuf, sync::Arc};

use consort_types::{Code, Error, Result, Seq};
use tokio::sync::oneshot;

use super::Handle;
use crate::{
    Archive, Backup, Frozen,
    shell::{self, Message},
};

impl Handle {
    /// The same handle, with a place for backups.
    #[must_use]
    pub fn with_archive(mut self, archive: Arc<dyn Archive>) -> Self {
        self.archive = Some(archive);
        self
    }

    /// Writes a backup into a folder of this machine, named by an absolute path; work continues meanwhile. It is made to
    /// its end also where the caller is dropped.
    ///
    /// # Errors
    /// [`Code::BadRequest`] for a relative path, and what [`Archive::backup`] refuses.
    pub async fn backup(&self, folder: PathBuf) -> Result<Backup> {
        if !folder.is_absolute() {
            let message = format!("`{}` is not an absolute path", folder.display());
            return Err(Error::new(Code::BadRequest, message).hint("name the folder from the root on"));
        }
        let Some(archive) = self.archive.clone() else {
            return Err(Error::new(Code::BadRequest, "this engine keeps nothing in files that could be backed up"));
        };
        let frozen = self.freeze().await?;
        let written = tokio::task::spawn_blocking(move || archive.backup(frozen, &folder)).await;
        written.map_err(|error| Error::new(Code::Internal, format!("the thread of the backup has ended: {error}")))?
    }

    /// The rows as they are now.
    ///
    /// # Errors
    /// Where the partition has halted or is stopping.
    pub async fn freeze(&self) -> Result<Frozen> {
        let (reply, frozen) = oneshot::channel();
        self.partition.send(Message::Freeze(reply))?;
        frozen.await.map_err(|_| shell::stopping())?
    }

    /// Keeps log and blobs behind a record from now on, whatever the store has (see
    /// [`Config::keep_from`](crate::Config::keep_from)).
    ///
    /// # Errors
    /// Where the partition is stopping.
    pub fn keep_from(&self, record: Seq) -> Result<()> {
        self.partition.send(Message::KeepFrom(record))
    }
}
