//! The small file system that a log rests on.
//!
//! For: running the same log code over a real folder and over a faulty disk in memory ([`crate::MemoryDisk`]).
//! Not for: anything but the log's own flat folder.
//! Invariant: nothing here is durable before the `sync` that is documented to make it so.

use std::io;

/// One flat folder.
pub trait Files: Send + Sync {
    /// The names of the files in it, sorted.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes a new, empty file; fails where there is one of that name. The name lasts after [`Files::sync_dir`].
    fn create(&self, name: &str) -> io::Result<Box<dyn SegmentFile>>;
    /// Opens a file for reading and writing; fails where there is none.
    fn open(&self, name: &str) -> io::Result<Box<dyn SegmentFile>>;
    /// Gives a file another name, at once or not at all. The new name lasts after [`Files::sync_dir`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file. It may be back after a crash until [`Files::sync_dir`].
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes all names last: what was created, renamed and removed before survives a power cut.
    fn sync_dir(&self) -> io::Result<()>;
    /// Where a file is, for messages.
    fn place(&self, name: &str) -> String;
}

/// One open file.
pub trait SegmentFile: Send + Sync {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether it has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }
    /// Reads at an offset until the buffer is full or the file ends; returns the bytes read.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all bytes at an offset, growing the file where needed. They last after [`SegmentFile::sync_data`].
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes what was written last (and the length, where it grew): it survives a power cut when this returns `Ok`.
    /// After an error it is unknown what lasts, and a later success says nothing about the earlier writes.
    fn sync_data(&self) -> io::Result<()>;
}
