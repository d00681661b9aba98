//! The trace: a running hash of everything that happens.
//!
//! For: telling whether two simulations were the same, and for reading along. Not for: deciding anything.
//! Invariant: every event and every record goes in, in order.

use std::fmt::{self, Write as _};

/// A running hash, printed along where that is requested.
pub(crate) struct Trace {
    hasher: blake3::Hasher,
    line: String,
    verbose: bool,
}

impl Trace {
    pub(crate) fn new(verbose: bool) -> Self {
        Self { hasher: blake3::Hasher::new(), line: String::new(), verbose }
    }

    /// Notes an event at a time.
    pub(crate) fn note(&mut self, at: u64, event: fmt::Arguments<'_>) {
        self.hash_line(at, event);
        if self.verbose {
            print!("{}", self.line);
        }
    }

    /// Notes an event by its brief form, which costs less than the whole; a reader gets the whole.
    pub(crate) fn note_brief(&mut self, at: u64, brief: fmt::Arguments<'_>, whole: fmt::Arguments<'_>) {
        self.hash_line(at, brief);
        if self.verbose {
            println!("{at:>14} {whole}");
        }
    }

    fn hash_line(&mut self, at: u64, event: fmt::Arguments<'_>) {
        self.line.clear();
        // Writing into a string cannot fail.
        let _ = writeln!(self.line, "{at:>14} {event}");
        self.hasher.update(self.line.as_bytes());
    }

    /// Notes bytes that are no text.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    pub(crate) fn hash(&self) -> [u8; 32] {
        *self.hasher.finalize().as_bytes()
    }
}
