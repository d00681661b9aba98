//! The record: one command with its log time.
//!
//! For: what travels through the log. Not for: what the body says (the core encodes and decodes it).
//! Invariant: a record that was appended is read back byte for byte.

use std::sync::Arc;

use consort_types::Time;

/// One entry of the log: when it was decided, and what was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Log time, in microseconds since 1970; the writer sees to it that it never goes back.
    pub time: Time,
    /// The encoded command, at most [`consort_types::limits::RECORD_BYTES_MAX`] bytes. The log never looks inside.
    pub body: Arc<[u8]>,
}

impl Record {
    /// A record of these bytes at this log time.
    pub fn new(time: Time, body: impl Into<Arc<[u8]>>) -> Self {
        Self { time, body: body.into() }
    }
}
