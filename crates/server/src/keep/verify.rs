//! Finding damage, all of it, with the names of the files.
//!
//! For: `consort backup verify`, `consort doctor`, and the use of an archive. Not for: mending anything.
//! Invariant: nothing is written; what is reported sound was read and has the hash that it must have.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
};

use consort_engine::blob_used_by;
use consort_store::{Blobs as _, Snapshot, StoreError, dump::Chunks, dump::rows_of};
use consort_store_fjall::BlobFolder;
use consort_types::{BlobHash, Code, Error, Result, Seq, Time};

use super::{archive::Archive, manifest::Manifest};

/// Something that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display().to_string();
        // The words of an adapter name the place themselves.
        if self.what.contains(&path) { f.write_str(&self.what) } else { write!(f, "`{path}`: {}", self.what) }
    }
}

/// What was read and found sound, but for the faults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// The last record that it reflects.
    pub record: Seq,
    /// Log time at that record.
    pub time: Time,
    /// Rows.
    pub rows: u64,
    /// Blobs.
    pub blobs: u64,
    /// Bytes of its files, without its list of them.
    pub bytes: u64,
    /// Blobs that were missing when it was made.
    pub missing: Vec<BlobHash>,
    /// Everything that is wrong.
    pub faults: Vec<Fault>,
}

/// Reads a backup whole.
///
/// # Errors
/// [`Code::BadFormat`] where the folder is no backup, or has none that is whole.
pub fn verify_backup(folder: &Path) -> Result<Verified> {
    let archive = Archive::at(folder)?;
    let Some(record) = archive.records()?.first().copied() else {
        let message = format!("`{}` has no backup that was made to its end", folder.display());
        return Err(Error::new(Code::BadFormat, message).hint("make the backup again"));
    };
    match archive.manifest(record) {
        Ok(manifest) => Ok(verify(&archive, &manifest)),
        Err(error) => {
            let fault = Fault { path: archive.manifest_path(record), what: error.message };
            Ok(Verified { faults: vec![fault], record, ..Verified::default() })
        }
    }
}

/// Reads every archive of a folder of snapshots; how many there are, and what is wrong with them.
pub(crate) fn verify_folder(folder: &Path) -> Result<(usize, Vec<Fault>)> {
    let archive = Archive::at(folder)?;
    let (records, mut faults) = (archive.records()?, Vec::new());
    for record in &records {
        match archive.manifest(*record) {
            Ok(manifest) => faults.extend(verify(&archive, &manifest).faults),
            Err(error) => faults.push(Fault { path: archive.manifest_path(*record), what: error.message }),
        }
    }
    // Two snapshots share most of their files.
    faults.sort_by(|a, b| (&a.path, &a.what).cmp(&(&b.path, &b.what)));
    faults.dedup();
    Ok((records.len(), faults))
}

/// Reads everything that a manifest lists.
pub(crate) fn verify(archive: &Archive, manifest: &Manifest) -> Verified {
    let partition = manifest.partition();
    let mut found = Verified {
        record: partition.record,
        time: partition.time,
        blobs: manifest.blobs.len() as u64,
        bytes: manifest.objects().map(|object| object.bytes).sum(),
        missing: manifest.missing.clone(),
        ..Verified::default()
    };
    let listed: BTreeSet<BlobHash> =
        manifest.blobs.iter().map(|blob| blob.hash).chain(manifest.missing.iter().copied()).collect();
    let with_blobs = !listed.is_empty();
    let mut fault = |path: PathBuf, what: String| found.faults.push(Fault { path, what });
    for (chunk, rows) in partition.chunks.iter().zip(archive.rows(manifest)) {
        let path = archive.objects().path(chunk.hash);
        let rows = match rows {
            Ok(rows) => rows,
            Err(error) => {
                fault(path, error.message);
                continue;
            }
        };
        found.rows += rows.len() as u64;
        let unlisted = rows.iter().filter_map(|(key, _)| blob_used_by(key)).filter(|hash| !listed.contains(hash));
        for hash in unlisted.filter(|_| with_blobs) {
            fault(path.clone(), format!("its rows refer to blob `{hash}`, which the manifest does not list"));
        }
    }
    for blob in &manifest.blobs {
        if let Err(error) = archive.read(blob) {
            fault(archive.objects().path(blob.hash), error.message);
        }
    }
    found
}

/// Looks for every blob that the rows of a store refer to; how many there are, and what is wrong with them.
pub(crate) fn check_blobs(snapshot: &dyn Snapshot, blobs: &BlobFolder) -> Result<(u64, Vec<Fault>)> {
    let (mut count, mut faults) = (0, Vec::new());
    for chunk in Chunks::of(snapshot) {
        for hash in rows_of(&chunk?).flatten().filter_map(|(key, _)| blob_used_by(key)) {
            count += 1;
            let what = match blobs.get_blob(hash) {
                Ok(Some(_)) => continue,
                Ok(None) => "it is missing, and rows refer to it".to_owned(),
                Err(StoreError::Damaged { what, .. } | StoreError::Io { what, .. }) => what,
                Err(error) => error.to_string(),
            };
            faults.push(Fault { path: blobs.path(hash), what });
        }
    }
    Ok((count, faults))
}

/// The free bytes of the disk under a folder.
pub(crate) fn free_bytes(folder: &Path) -> std::io::Result<u64> {
    let stat = rustix::fs::statvfs(folder)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
