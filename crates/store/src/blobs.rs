//! What a blob store promises.
//!
//! For: payloads that are too large for a record. Not for: knowing who still needs a blob (the core does).
//! Invariant: bytes are only ever given out under the hash that they have.

use consort_types::BlobHash;

use crate::StoreError;

/// Bytes by their BLAKE3 hash.
pub trait Blobs: Send + Sync {
    /// Keeps bytes; they survive a power cut when this returns. Putting the same bytes again changes nothing.
    /// `hash` must be the hash of `bytes`: anything else is a bug of the caller.
    fn put_blob(&self, hash: BlobHash, bytes: &[u8]) -> Result<(), StoreError>;

    /// The bytes, or `None` where there is no such blob. Bytes that do not have the hash any more are
    /// [`StoreError::Damaged`].
    fn get_blob(&self, hash: BlobHash) -> Result<Option<Vec<u8>>, StoreError>;

    /// Forgets a blob; returns whether it was there.
    fn delete_blob(&self, hash: BlobHash) -> Result<bool, StoreError>;

    /// The hashes of all blobs, in ascending order.
    fn list_blobs(&self) -> Result<Vec<BlobHash>, StoreError>;
}
