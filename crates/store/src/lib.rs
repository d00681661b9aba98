//! The store: ordered rows that carry the sequence number they reflect, and blobs by hash.
//!
//! For: what the tables of the machine are kept in. The log is the truth; a store is a cache of its fold, and may
//! be behind it. Not for: deciding anything, nor for any real I/O.
//! Invariant: rows and applied sequence number change together or not at all, so a store always is the fold of the
//! log up to some record.

mod batch;
mod blobs;
pub mod conformance;
pub mod dump;
mod error;
mod memory;
mod store;

pub use batch::Batch;
pub use blobs::Blobs;
pub use error::StoreError;
pub use memory::MemoryStore;
pub use store::{KEY_BYTES_MAX, Row, Snapshot, Store, check_key};
