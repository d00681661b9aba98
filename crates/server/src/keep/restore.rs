//! A data folder from a backup.
//!
//! For: `consort restore`. Not for: a folder that has something already, or for parts of a backup.
//! Invariant: the backup is read whole before anything is made of it, and the folder is marked as a data folder last,
//! once what is in it was read back and found equal to the backup.
//!
//! What was acknowledged after the backup is lost, and workers, clients and the outside world may still know of it. The
//! restored log therefore begins far behind the last record of the backup: no record, and so no fencing token, of the lost
//! time is ever given out again.

use std::path::Path;

use consort_engine::{first_record, time_of};
use consort_log_file::FileLog;
use consort_store::{Blobs as _, Store as _, dump::Chunks};
use consort_store_fjall::{BlobFolder, FjallStore};
use consort_types::{BlobHash, Code, Error, Result, Seq};

use super::{
    archive::{Archive, damaged},
    manifest::Manifest,
    verify::{Verified, verify},
};
use crate::{doctor, local::DataFolder};

/// How many records lie between a backup and the log of a folder that was restored from it, at least.
const RECORDS_APART: u64 = 1_000_000_000_000;
/// Where blobs are in the folder of the store.
pub(crate) const BLOBS: &str = "blobs";

/// A data folder that was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What the backup has.
    pub backup: Verified,
    /// The record with which the log of the folder begins.
    pub log_first: Seq,
}

/// Makes a data folder of a backup.
///
/// # Errors
/// [`Code::FileExists`] where the folder has something already, [`Code::Damaged`] where the backup is damaged, and what
/// the disk refuses; the folder is then not marked as a data folder.
pub fn restore(backup: &Path, into: &Path) -> Result<Restored> {
    if std::fs::read_dir(into).is_ok_and(|mut entries| entries.next().is_some()) {
        let message = format!("`{}` is not empty", into.display());
        return Err(Error::new(Code::FileExists, message).hint("name a new or empty folder"));
    }
    let archive = Archive::at(backup)?;
    let record = archive.records()?.first().copied();
    let manifest = record.map(|record| archive.manifest(record)).transpose()?.ok_or_else(|| {
        Error::new(Code::BadFormat, format!("`{}` has no backup that was made to its end", backup.display()))
            .hint("use another backup")
    })?;
    let verified = verify(&archive, &manifest);
    if let [first, others @ ..] = verified.faults.as_slice() {
        let message = format!("{first} (and {} more faults)", others.len());
        return Err(Error::new(Code::Damaged, message)
            .hint("`consort backup verify` lists every fault; restore from another backup"));
    }
    let data = DataFolder::at(into);
    let _lock = data.lock_as_it_is()?;
    let log_first = fill(&data, &archive, &manifest)?;
    check(&data, &manifest)?;
    data.make()?;
    Ok(Restored { backup: verified, log_first })
}

fn fill(data: &DataFolder, archive: &Archive, manifest: &Manifest) -> Result<Seq> {
    let partition = manifest.partition();
    let applied = Seq((partition.record.0 + RECORDS_APART).next_multiple_of(RECORDS_APART));
    FjallStore::rebuild(&data.store(), applied, archive.rows(manifest))?;
    let blobs = BlobFolder::open(data.store().join(BLOBS))?;
    for blob in &manifest.blobs {
        blobs.put_blob(blob.hash, &archive.read(blob)?)?;
    }
    let log_first = applied.next();
    let time = time_of(&*FjallStore::open(&data.store())?.snapshot()?)?;
    FileLog::begin(&data.log(), log_first, first_record(time))?;
    Ok(log_first)
}

/// Reads back what was made. The same rows give the same chunks.
fn check(data: &DataFolder, manifest: &Manifest) -> Result<()> {
    let store = FjallStore::open(&data.store())?;
    let snapshot = store.snapshot()?;
    let mut expected = manifest.partition().chunks.iter().map(|chunk| chunk.hash);
    for chunk in Chunks::of(&*snapshot) {
        if expected.next() != Some(BlobHash::of(&chunk?)) {
            return Err(damaged(&data.store(), "its rows are not those of the backup"));
        }
    }
    if expected.next().is_some() {
        return Err(damaged(&data.store(), "rows of the backup are missing in it"));
    }
    for blob in &manifest.blobs {
        if store.get_blob(blob.hash)?.is_none() {
            return Err(damaged(&data.store().join(BLOBS), &format!("blob `{}` is missing", blob.hash)));
        }
    }
    doctor::scan(&data.log()).map(drop)
}
