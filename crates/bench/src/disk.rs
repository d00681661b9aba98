//! The reference: what the disk itself takes for the same bytes.
//!
//! For: an fdatasync of bytes written over a file that is zeroed and allocated, as a log does at best. Not for:
//! the log's own code.
//! Invariant: it is measured in the same folder and the same session as what it is compared with.

use std::{
    fs::File,
    io::{Seek, SeekFrom, Write},
    path::Path,
    time::Instant,
};

/// Bytes of the reference file.
const FILE_BYTES: u64 = 16 * 1024 * 1024;

/// A file to write over.
pub(crate) struct Disk {
    file: File,
    at: u64,
}

impl Disk {
    /// Makes the file in a folder.
    pub(crate) fn new(folder: &Path) -> std::io::Result<Self> {
        let mut file = File::create(folder.join("reference"))?;
        let zeros = vec![0; 1024 * 1024];
        for _ in 0..FILE_BYTES / zeros.len() as u64 {
            file.write_all(&zeros)?;
        }
        file.sync_all()?;
        Ok(Self { file, at: 0 })
    }

    /// Microseconds that each of `count` writes of `bytes` bytes with its fdatasync takes.
    pub(crate) fn samples(&mut self, bytes: usize, count: usize) -> std::io::Result<Vec<f64>> {
        let data = vec![0x5a; bytes.max(1)];
        let mut samples = Vec::with_capacity(count);
        for _ in 0..count {
            if self.at + data.len() as u64 > FILE_BYTES {
                self.at = 0;
            }
            let start = Instant::now();
            self.file.seek(SeekFrom::Start(self.at))?;
            self.file.write_all(&data)?;
            self.file.sync_data()?;
            samples.push(start.elapsed().as_secs_f64() * 1e6);
            self.at += data.len() as u64;
        }
        Ok(samples)
    }
}
