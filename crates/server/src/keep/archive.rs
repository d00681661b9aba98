//! An archive: rows in chunks and blobs, each a file named by its hash, and a manifest for each moment that is kept.
//!
//! For: the one form of backups and of snapshots. Not for: when they are made.
//! Invariant: a manifest has its name only when every file that it lists is durable, and a file is removed only when no
//! manifest lists it.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use consort_engine::{blob_used_by, time_of};
use consort_log::Files as _;
use consort_log_file::Folder;
use consort_store::{
    Blobs, Row, Snapshot, StoreError,
    dump::{Chunks, rows_of},
};
use consort_store_fjall::BlobFolder;
use consort_types::{BlobHash, Code, Error, Result, Seq, text::panic_message};

use super::manifest::{Manifest, Object, Partition};
use crate::local::{disk, write_whole};

/// What marks an archive.
const MARKER: &str = "FORMAT";
const MARKER_TEXT: &str = "consort-archive 1\n";
/// The folder of the files that are named by their hashes.
const OBJECTS: &str = "objects";
/// A file before it is whole.
const UNFINISHED: &str = "unfinished.new";
/// The ending of a manifest's name, which begins with its record.
const ENDING: &str = ".manifest";
/// What may be in a folder that becomes an archive: what an interrupted start has left.
const LEFT: [&str; 2] = ["lock", UNFINISHED];

/// An archive in a folder.
pub(crate) struct Archive {
    folder: PathBuf,
    objects: BlobFolder,
}

/// What was written.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) manifest: Manifest,
    /// Files that were not there before, and their bytes.
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

impl Archive {
    /// Opens an archive for writing, and makes it in a folder that is missing or empty.
    ///
    /// # Errors
    /// [`Code::FileExists`] where the folder has something else.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let refused = |error: std::io::Error| disk(folder, &error);
        let files = Folder::open(folder).map_err(refused)?;
        if !folder.join(MARKER).exists() {
            if let Some(name) = files.list().map_err(refused)?.iter().find(|name| !LEFT.contains(&name.as_str())) {
                let message = format!("`{}` holds `{name}`, and is no backup", folder.display());
                return Err(Error::new(Code::FileExists, message).hint("name a new or empty folder"));
            }
            write_whole(&files, MARKER, UNFINISHED, MARKER_TEXT).map_err(refused)?;
        }
        check_marker(folder)?;
        Ok(Self { folder: folder.to_owned(), objects: BlobFolder::open(folder.join(OBJECTS))? })
    }

    /// The archive that is in a folder, for reading.
    ///
    /// # Errors
    /// [`Code::BadFormat`] where there is none.
    pub(crate) fn at(folder: &Path) -> Result<Self> {
        check_marker(folder)?;
        Ok(Self { folder: folder.to_owned(), objects: BlobFolder::at(folder.join(OBJECTS)) })
    }

    pub(crate) fn objects(&self) -> &BlobFolder {
        &self.objects
    }

    /// Where the manifest of a record is.
    pub(crate) fn manifest_path(&self, record: Seq) -> PathBuf {
        self.folder.join(manifest_name(record))
    }

    /// The records of which it has manifests, the newest first.
    pub(crate) fn records(&self) -> Result<Vec<Seq>> {
        let names = Folder::open(&self.folder).and_then(|files| files.list());
        let names = names.map_err(|error| disk(&self.folder, &error))?;
        let record = |name: &String| name.strip_suffix(ENDING).and_then(|digits| digits.parse().ok()).map(Seq);
        let mut records: Vec<Seq> = names.iter().filter_map(record).collect();
        records.sort_unstable_by(|a, b| b.cmp(a));
        Ok(records)
    }

    /// The manifest of a record.
    ///
    /// # Errors
    /// [`Code::Damaged`] with its path where it cannot be read.
    pub(crate) fn manifest(&self, record: Seq) -> Result<Manifest> {
        let path = self.manifest_path(record);
        let bytes = std::fs::read(&path).map_err(|error| disk(&path, &error))?;
        let manifest = Manifest::decode(&bytes);
        let named = |manifest: &Manifest| manifest.partition().record == record;
        match manifest {
            Ok(manifest) if named(&manifest) => Ok(manifest),
            Ok(_) => Err(damaged(&path, "it is of another record than its name says")),
            Err(what) => Err(damaged(&path, &what)),
        }
    }

    /// The bytes of a file, where they are as the manifest says.
    ///
    /// # Errors
    /// [`Code::Damaged`] with its path where they are not, or it is missing.
    pub(crate) fn read(&self, object: &Object) -> Result<Vec<u8>> {
        let path = self.objects.path(object.hash);
        match self.objects.get_blob(object.hash)? {
            Some(bytes) if bytes.len() as u64 == object.bytes => Ok(bytes),
            Some(bytes) => {
                Err(damaged(&path, &format!("it has {} bytes, its manifest says {}", bytes.len(), object.bytes)))
            }
            None => Err(damaged(&path, "it is missing")),
        }
    }

    /// The rows of a manifest, a chunk at a time.
    pub(crate) fn rows<'a>(&'a self, manifest: &'a Manifest) -> impl Iterator<Item = Result<Vec<Row>>> + 'a {
        manifest.partition().chunks.iter().map(|chunk| {
            let bytes = self.read(chunk)?;
            let rows = rows_of(&bytes).map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())));
            let rows: Option<Vec<Row>> = rows.collect();
            rows.ok_or_else(|| damaged(&self.objects.path(chunk.hash), "it is no chunk of rows"))
        })
    }

    /// Writes down the rows of a snapshot, and the blobs that they refer to where `blobs` has them; only files that are
    /// not there yet are written.
    pub(crate) fn write(&self, snapshot: &dyn Snapshot, blobs: Option<&dyn Blobs>) -> Result<Written> {
        let mut writing = Writing { archive: self, files: 0, bytes: 0 };
        let (mut chunks, mut rows, mut used) = (Vec::new(), 0, BTreeSet::new());
        for chunk in Chunks::of(snapshot) {
            let chunk = chunk?;
            for (key, _) in rows_of(&chunk).flatten() {
                rows += 1;
                used.extend(blob_used_by(key));
            }
            chunks.push(writing.put(BlobHash::of(&chunk), &chunk)?);
        }
        let partition = Partition { record: snapshot.applied(), time: time_of(snapshot)?, rows, chunks };
        let mut manifest = Manifest {
            consort: env!("CARGO_PKG_VERSION").to_owned(),
            partitions: vec![partition],
            blobs: Vec::new(),
            missing: Vec::new(),
        };
        for hash in used.into_iter().filter(|_| blobs.is_some()) {
            match writing.copy(hash, blobs)? {
                Some(object) => manifest.blobs.push(object),
                None => manifest.missing.push(hash),
            }
        }
        let Writing { files, bytes, .. } = writing;
        self.put_manifest(&manifest)?;
        Ok(Written { manifest, files, bytes })
    }

    fn put_manifest(&self, manifest: &Manifest) -> Result<()> {
        let record = manifest.partition().record;
        let files = Folder::open(&self.folder).map_err(|error| disk(&self.folder, &error))?;
        let written = write_whole(&files, &manifest_name(record), UNFINISHED, &manifest.encode()?);
        written.map_err(|error| disk(&self.manifest_path(record), &error))
    }

    /// Keeps the newest `count` manifests, and the files that they list. Where one cannot be read, nothing is removed.
    pub(crate) fn keep_newest(&self, count: usize) -> Result<()> {
        let records = self.records()?;
        let (kept, old) = records.split_at(count.min(records.len()));
        let mut needed = BTreeSet::new();
        for record in kept {
            needed.extend(self.manifest(*record)?.objects().map(|object| object.hash));
        }
        for record in old {
            let path = self.manifest_path(*record);
            std::fs::remove_file(&path).map_err(|error| disk(&path, &error))?;
        }
        if !old.is_empty() {
            let synced = Folder::open(&self.folder).and_then(|files| files.sync_dir());
            synced.map_err(|error| disk(&self.folder, &error))?;
        }
        for hash in self.objects.list_blobs()? {
            if !needed.contains(&hash) {
                self.objects.delete_blob(hash)?;
            }
        }
        Ok(())
    }
}

/// The files of one moment, as they are written.
struct Writing<'a> {
    archive: &'a Archive,
    files: u64,
    bytes: u64,
}

impl Writing<'_> {
    fn put(&mut self, hash: BlobHash, bytes: &[u8]) -> Result<Object> {
        let len = bytes.len() as u64;
        if self.archive.objects.len_of(hash)?.is_none() {
            (self.files, self.bytes) = (self.files + 1, self.bytes + len);
        }
        // One that is there with other bytes is written again.
        self.archive.objects.put_blob(hash, bytes)?;
        Ok(Object { hash, bytes: len })
    }

    /// Copies a blob; `None` where it is missing or damaged. One that is there already is not read.
    fn copy(&mut self, hash: BlobHash, blobs: Option<&dyn Blobs>) -> Result<Option<Object>> {
        if let Some(bytes) = self.archive.objects.len_of(hash)? {
            return Ok(Some(Object { hash, bytes }));
        }
        match blobs.map(|blobs| blobs.get_blob(hash)).transpose() {
            Ok(found) => found.flatten().map(|bytes| self.put(hash, &bytes)).transpose(),
            Err(StoreError::Damaged { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn manifest_name(record: Seq) -> String {
    format!("{:020}{ENDING}", record.0)
}

fn check_marker(folder: &Path) -> Result<()> {
    let path = folder.join(MARKER);
    let bad = |what: &str| {
        Error::new(Code::BadFormat, format!("`{}` {what}", path.display()))
            .hint("name a folder that `consort backup` of this version, or an older one, has written")
    };
    match std::fs::read(&path) {
        Ok(bytes) if bytes == MARKER_TEXT.as_bytes() => Ok(()),
        Ok(_) => Err(bad("is not the marker of a backup that this version reads")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(bad("is missing: this is no backup")),
        Err(error) => Err(disk(&path, &error)),
    }
}

/// Damage of a file of an archive.
pub(crate) fn damaged(path: &Path, what: &str) -> Error {
    Error::new(Code::Damaged, format!("`{}` is damaged: {what}", path.display()))
        .hint("use another backup, or remove the file and make the backup again while the data folder is sound")
}

/// The outcome of work on a thread of its own.
pub(crate) async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        let why = error
            .try_into_panic()
            .map_or_else(|_| "it was stopped".to_owned(), |panic| panic_message(&*panic).to_owned());
        Err(Error::new(Code::Internal, format!("a thread that works on the folder has ended: {why}")))
    })
}
