//! Rows in one fjall keyspace, with the applied sequence number as one of them.
//!
//! For: the `Store` and `Blobs` of the embedded engine. Not for: more than one process at a time.
//! Invariant: rows and applied sequence number are in one batch of one keyspace. One keyspace, because fjall keeps
//! a journal as long as any keyspace has rows in it that were not flushed: a second, idle one would keep them all.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
};

use consort_store::{Batch, Blobs, Row, Snapshot, Store, StoreError, check_key};
use consort_types::{BlobHash, Seq};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};

use crate::{
    blobs::BlobFolder,
    error,
    format::{self, Synced},
};

/// Cached blocks of all tables. The core has a cache of its own rows above.
const CACHE_BYTES: u64 = 8 << 20;
/// Rows in memory before they become a table.
const MEMTABLE_BYTES: u64 = 8 << 20;
/// The least that fjall allows; a start reads them all.
const JOURNALS_BYTES: u64 = 64 << 20;
/// One flushes while the other compacts: with a single one, a long compaction halts the writes.
const WORKERS: usize = 2;
/// The key of the applied sequence number. Keys of rows begin with [`ROW`], so they never meet it.
pub(crate) const APPLIED_KEY: &[u8] = b"a";
const ROW: u8 = b'r';
/// The folder of the rows.
pub(crate) const ROWS: &str = "rows";
/// Rows that are read at once to see whether they can be.
const PAGE_ROWS: usize = 1_024;

/// A store in a local folder.
pub struct FjallStore {
    database: Database,
    rows: Keyspace,
    place: PathBuf,
    writer: Mutex<Writer>,
    blobs: BlobFolder,
    /// Held for as long as the store is open; the last field, so that it is released last.
    _lock: File,
}

#[derive(Debug)]
struct Writer {
    applied: Seq,
    synced: Synced,
}

impl FjallStore {
    /// Whether a folder has the rows of a store, in whatever state they are.
    pub fn exists(folder: &Path) -> bool {
        folder.join(ROWS).exists()
    }

    /// Opens the store in a folder; makes a new one where the folder is missing or empty.
    ///
    /// Damaged rows are refused where that is noticed at once, else when they are read. Rows that are older than the
    /// last sync are damage.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        format::check(folder)?;
        let lock = format::lock(folder)?;
        let place = folder.join(ROWS);
        let refused = |error: fjall::Error| error::rows(&place, &error);
        let making = format::Making::begin(folder, &place)?;
        make_lock(&place).map_err(|error| error::io(&place, &error))?;
        let (database, rows) = open_rows(&place).map_err(refused)?;
        if let Some(making) = making {
            database.persist(PersistMode::SyncAll).map_err(refused)?;
            making.end()?;
        }
        let applied = decode_applied(&place, rows.get(APPLIED_KEY).map_err(refused)?.as_deref())?;
        let synced = Synced::open(folder)?;
        if applied < synced.seq() {
            let what = format!("its rows reflect record `{applied}`, but record `{}` was synced", synced.seq());
            return Err(StoreError::Damaged { place: place.display().to_string(), what });
        }
        let blobs = BlobFolder::open(folder.join("blobs"))?;
        Ok(Self { database, rows, place, writer: Mutex::new(Writer { applied, synced }), blobs, _lock: lock })
    }

    /// Reads every row, so that damage anywhere in them is found; returns how many there are.
    ///
    /// # Errors
    /// The first damage.
    pub fn read_all(&self) -> Result<u64, StoreError> {
        let (mut count, mut from) = (0, vec![ROW]);
        loop {
            let page = collect(&self.place, self.rows.range(from..vec![ROW + 1]), PAGE_ROWS)?;
            count += page.len() as u64;
            match page.last().filter(|_| page.len() == PAGE_ROWS) {
                Some((last, _)) => from = [row_key(last).as_slice(), &[0]].concat(),
                None => return Ok(count),
            }
        }
    }

    fn refused(&self, error: &fjall::Error) -> StoreError {
        error::rows(&self.place, error)
    }

    fn writer(&self) -> Result<MutexGuard<'_, Writer>, StoreError> {
        self.writer.lock().map_err(|_| StoreError::Poisoned { why: "a writer panicked".to_owned() })
    }
}

impl Store for FjallStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        check_key(key)?;
        let value = self.rows.get(row_key(key)).map_err(|error| self.refused(&error))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        check_key(from)?;
        check_key(to)?;
        if from >= to {
            return Ok(Vec::new());
        }
        collect(&self.place, self.rows.range(row_key(from)..row_key(to)), limit)
    }

    fn write(&self, batch: Batch) -> Result<(), StoreError> {
        batch.check()?;
        let mut writer = self.writer()?;
        let (before, applied) = (writer.applied, batch.applied);
        assert!(applied >= before, "a store never goes back: {applied} after {before}");
        let mut changes = self.database.batch();
        // Within a batch fjall gives no order between two changes of one key, so each key is changed once.
        let puts: std::collections::BTreeMap<Vec<u8>, Vec<u8>> = batch.puts.into_iter().collect();
        for key in batch.deletes.iter().filter(|key| !puts.contains_key(*key)) {
            changes.remove(&self.rows, row_key(key));
        }
        for (key, value) in puts {
            changes.insert(&self.rows, row_key(&key), value);
        }
        changes.insert(&self.rows, APPLIED_KEY, applied.0.to_be_bytes());
        changes.commit().map_err(|error| self.refused(&error))?;
        writer.applied = applied;
        Ok(())
    }

    fn applied(&self) -> Result<Seq, StoreError> {
        Ok(self.writer()?.applied)
    }

    fn sync(&self) -> Result<Seq, StoreError> {
        // Batches that come while this syncs may or may not be in; what was applied before is.
        let applied = self.writer()?.applied;
        self.database.persist(PersistMode::SyncAll).map_err(|error| self.refused(&error))?;
        let mut writer = self.writer()?;
        if applied > writer.synced.seq() {
            writer.synced.set(applied)?;
        }
        Ok(applied)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        // Under the lock no batch comes between the two.
        let writer = self.writer()?;
        let snapshot = self.database.snapshot();
        let (rows, place) = (self.rows.clone(), self.place.clone());
        Ok(Box::new(FjallSnapshot { snapshot, rows, place, applied: writer.applied }))
    }
}

impl Blobs for FjallStore {
    fn put_blob(&self, hash: BlobHash, bytes: &[u8]) -> Result<(), StoreError> {
        self.blobs.put_blob(hash, bytes)
    }

    fn get_blob(&self, hash: BlobHash) -> Result<Option<Vec<u8>>, StoreError> {
        self.blobs.get_blob(hash)
    }

    fn delete_blob(&self, hash: BlobHash) -> Result<bool, StoreError> {
        self.blobs.delete_blob(hash)
    }

    fn list_blobs(&self) -> Result<Vec<BlobHash>, StoreError> {
        self.blobs.list_blobs()
    }
}

/// fjall's lock file has no content, and a copy of the folder may lack it; fjall cannot open rows without it.
fn make_lock(place: &Path) -> std::io::Result<()> {
    let lock = place.join("lock");
    if place.exists() && !lock.exists() { File::create(lock).map(drop) } else { Ok(()) }
}

pub(crate) fn open_rows(place: &Path) -> fjall::Result<(Database, Keyspace)> {
    let database = Database::builder(place)
        .cache_size(CACHE_BYTES)
        .max_journaling_size(JOURNALS_BYTES)
        .worker_threads(WORKERS)
        .open()?;
    let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
    let rows = database.keyspace("rows", options)?;
    Ok((database, rows))
}

struct FjallSnapshot {
    snapshot: fjall::Snapshot,
    rows: Keyspace,
    place: PathBuf,
    applied: Seq,
}

impl Snapshot for FjallSnapshot {
    fn applied(&self) -> Seq {
        self.applied
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        check_key(key)?;
        let value = self.snapshot.get(&self.rows, row_key(key)).map_err(|error| error::rows(&self.place, &error))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        check_key(from)?;
        check_key(to)?;
        if from >= to {
            return Ok(Vec::new());
        }
        collect(&self.place, self.snapshot.range(&self.rows, row_key(from)..row_key(to)), limit)
    }
}

pub(crate) fn row_key(key: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(key.len() + 1);
    row.push(ROW);
    row.extend_from_slice(key);
    row
}

fn collect(place: &Path, found: fjall::Iter, limit: usize) -> Result<Vec<Row>, StoreError> {
    let mut rows = Vec::new();
    for row in found.take(limit) {
        let (key, value) = row.into_inner().map_err(|error| error::rows(place, &error))?;
        rows.push((key[1..].to_vec(), value.to_vec()));
    }
    Ok(rows)
}

fn decode_applied(place: &Path, bytes: Option<&[u8]>) -> Result<Seq, StoreError> {
    let Some(bytes) = bytes else { return Ok(Seq::ZERO) };
    let number = bytes.try_into().map(u64::from_be_bytes).map_err(|_| StoreError::Damaged {
        place: place.display().to_string(),
        what: format!("the applied sequence number has {} bytes", bytes.len()),
    });
    number.map(Seq)
}
