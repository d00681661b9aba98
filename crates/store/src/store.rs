//! What a store promises.
//!
//! For: rows in the order of their keys. Not for: typed tables (the core lays them over this).
//! Invariant: after a crash a store is what it was after some write that is not older than the last sync.

use consort_types::Seq;

use crate::{Batch, StoreError};

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Bytes of a key at most. A longer one is refused wherever it is named: the libraries below have limits of their own,
/// and some do not refuse what is over them, but panic.
pub const KEY_BYTES_MAX: usize = 32_768;

/// Refuses a key over [`KEY_BYTES_MAX`].
pub fn check_key(key: &[u8]) -> Result<(), StoreError> {
    let bytes = key.len();
    if bytes <= KEY_BYTES_MAX { Ok(()) } else { Err(StoreError::KeyTooLong { bytes, limit: KEY_BYTES_MAX }) }
}

/// Ordered rows. One writer at a time; any number of readers.
///
/// Keys have 1 to [`KEY_BYTES_MAX`] bytes; a longer one is [`StoreError::KeyTooLong`], and nothing is read or written.
pub trait Store: Send + Sync {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The first `limit` rows from `from` (inclusive) to `to` (exclusive), in the order of their keys.
    /// Where `from` is not before `to` there are none.
    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError>;

    /// Applies a batch whole or not at all, together with its applied sequence number.
    ///
    /// Visible when this returns; it survives a power cut only after [`Store::sync`].
    fn write(&self, batch: Batch) -> Result<(), StoreError>;

    /// The applied sequence number of the last batch, 0 in a new store.
    fn applied(&self) -> Result<Seq, StoreError>;

    /// Makes all that was written so far survive a power cut; returns the applied sequence number of that state.
    /// The log may be trimmed up to and including it.
    fn sync(&self) -> Result<Seq, StoreError>;

    /// The rows as they are now, untouched by later writes.
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError>;
}

/// A store as it was at one applied sequence number.
pub trait Snapshot: Send {
    /// The applied sequence number that it reflects.
    fn applied(&self) -> Seq;

    /// As [`Store::get`].
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// As [`Store::scan`].
    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError>;
}
