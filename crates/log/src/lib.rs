//! Records of the log, their encoding, the log trait, its conformance suite and its model in memory.
//!
//! For: everything that two implementations of the log must share: what a record is, what a log promises,
//! how a group of records becomes checked bytes, and the small file system that those bytes rest on.
//! Not for: what a command means (a record's body is opaque here), nor for any real I/O.
//! Invariant: an encoding that was ever released stays readable, and damaged bytes never decode to a record.

pub mod conformance;
mod disk;
mod error;
mod files;
pub mod frame;
mod log;
mod memory;
mod overlapped;
mod record;

pub use disk::{MemoryDisk, Unsynced};
pub use error::LogError;
pub use files::{Files, SegmentFile};
pub use log::{Log, LogWaker, Records};
pub use memory::{MemoryLog, MemoryLogDisk};
pub use overlapped::Overlapped;
pub use record::Record;
