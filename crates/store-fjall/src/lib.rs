//! The store on a local folder: rows kept by fjall, blobs as files.
//!
//! For: a cache of the log's fold that opens fast and stays small in memory. Not for: the log (a batch is not synced).
//! Invariant: what [`FjallStore`] finds on opening is never older than what its last sync returned; if it is, the
//! folder is damaged and refused.

mod blobs;
mod error;
mod format;
mod rebuild;
mod store;

pub use blobs::BlobFolder;
pub use store::FjallStore;
