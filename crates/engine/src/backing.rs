//! The machine's rows in a store.
//!
//! For: joining `consort_core::Backing` to the traits of `consort_store`. Not for: caching (the tables do).
//! Invariant: blobs are written before the rows that name them.

use std::sync::Arc;

use consort_core::{Backing, Taken};
use consort_store::{Batch, Blobs, Store};
use consort_types::{BlobHash, Result};

/// A store and its blobs, as the machine reads them.
pub struct StoreBacking {
    store: Arc<dyn Store>,
    blobs: Arc<dyn Blobs>,
}

impl StoreBacking {
    /// Reads rows from `store` and payloads from `blobs`.
    pub fn new(store: Arc<dyn Store>, blobs: Arc<dyn Blobs>) -> Self {
        Self { store, blobs }
    }
}

impl Backing for StoreBacking {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.store.get(key)?)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        Ok(self.store.scan(from, to, limit)?)
    }

    fn blob(&self, hash: &BlobHash) -> Result<Option<Vec<u8>>> {
        Ok(self.blobs.get_blob(*hash)?)
    }
}

/// Writes what the machine handed out: blobs first, then the rows as one batch. Returns the bytes written.
pub fn write_rows(store: &dyn Store, blobs: &dyn Blobs, taken: Taken) -> Result<u64> {
    let mut bytes = 0;
    for (hash, content) in &taken.blobs {
        blobs.put_blob(*hash, content)?;
        bytes += content.len() as u64;
    }
    let changes = taken.changes.encode();
    bytes += changes.puts.iter().map(|(key, row)| (key.len() + row.len()) as u64).sum::<u64>();
    bytes += changes.deletes.iter().map(|key| key.len() as u64).sum::<u64>();
    store.write(Batch { puts: changes.puts, deletes: changes.deletes, applied: taken.applied })?;
    Ok(bytes)
}
