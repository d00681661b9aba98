//! The trace: a running hash of everything that happens.
//!
//! For: telling whether two simulations were the same, and for reading along. Not for: deciding anything.
//! Invariant: every event and every record goes in, in order.

use std::fmt;

/// A running hash, printed along where that is asked for.
pub(crate) struct Trace {
    hasher: blake3::Hasher,
    verbose: bool,
}

impl Trace {
    pub(crate) fn new(verbose: bool) -> Self {
        Self { hasher: blake3::Hasher::new(), verbose }
    }

    /// Notes an event at a time.
    pub(crate) fn note(&mut self, at: u64, event: fmt::Arguments<'_>) {
        let line = format!("{at:>14} {event}\n");
        self.hasher.update(line.as_bytes());
        if self.verbose {
            print!("{line}");
        }
    }

    /// Notes bytes that nobody wants to read.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    pub(crate) fn hash(&self) -> [u8; 32] {
        *self.hasher.finalize().as_bytes()
    }
}
