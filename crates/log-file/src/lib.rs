//! The log on local files: group commit over zeroed, recycled segments.
//!
//! For: keeping the acknowledged groups of one partition through any crash, at the speed of the disk's own
//! fdatasync. Not for: deciding when to commit a group (the engine), or knowing what a record means (the core).
//! Invariant: recovery cuts only what was never acknowledged; every other damage is refused with its place, and no
//! byte is deleted for it. `docs/log.md` has the format and the rules of recovery.

mod folder;
mod fuzz;
mod lock;
mod log;
mod prepare;
mod read;
mod recover;
mod segment;

pub use folder::Folder;
#[doc(hidden)]
pub use fuzz::fuzz_read;
pub use lock::{Holder, LockError, LockFile};
pub use log::FileLog;
pub use segment::Options;
