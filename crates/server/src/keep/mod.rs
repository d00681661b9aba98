//! Keeping data: backups, snapshots of the store, and what is made from them.
//!
//! For: writing down what a partition has so that it can be checked and brought back. Not for: deciding what a record
//! means.
//! Invariant: an archive (a backup, or the snapshots of a data folder) is written so that a crash leaves what it had
//! before, and nothing is made from it whose bytes have another hash than its manifest says.

mod archive;
mod backup;
mod manifest;
mod rebuild;
mod restore;
mod room;
mod snapshots;
mod verify;

pub(crate) use archive::on_thread;
pub(crate) use backup::Backups;
pub(crate) use rebuild::{Mending, mend_damaged, open_store};
pub(crate) use restore::BLOBS;
pub(crate) use room::Roomy;
pub(crate) use snapshots::Snapshots;
pub(crate) use verify::{check_blobs, free_bytes, verify_folder};

pub use rebuild::rebuild_store;
pub use restore::{Restored, restore};
pub use verify::{Fault, Verified, verify_backup};
