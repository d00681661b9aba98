//! What the engine can be told, and what it is made of.
//!
//! For: the waits and amounts that an operator may change. Not for: limits (those are `consort_types::limits`).
//! Invariant: no setting weakens a law; they only trade waiting against work.

use std::sync::Arc;

use consort_log::Log;
use consort_store::{Blobs, Store};
use consort_types::{Seq, Span};

use crate::clock::SkippedTime;

/// What a partition is built from.
pub struct Parts {
    /// The durable order of commands.
    pub log: Box<dyn Log>,
    /// Where rows rest.
    pub store: Arc<dyn Store>,
    /// Where large payloads rest.
    pub blobs: Arc<dyn Blobs>,
}

/// The waits and amounts of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long the tasks of a disconnected instance are kept for it to reconnect, before they go to other instances.
    pub grace: Span,
    /// How long a remote instance that holds tasks may be silent before it counts as gone.
    pub heartbeat_timeout: Span,
    /// How long a task with a journal waits for the version of the agent that wrote it, while no instance of that version
    /// is connected, before it may go to another version.
    pub pinned_wait: Span,
    /// How long a lazy record may wait for a group to ride on before it makes one of its own.
    pub lazy_delay: Span,
    /// How long a lazy record waits at least for its completion, with which it then merges.
    pub lazy_merge: Span,
    /// How long an append that the disk refused waits before it is tried again.
    pub append_retry: Span,
    /// How many changed rows are handed to the store at the latest.
    pub flush_rows: usize,
    /// How long changed rows stay in memory at most before they are handed to the store.
    pub flush_interval: Span,
    /// How long rows stay unsynced in the store at most; the log is trimmed behind a sync.
    pub sync_interval: Span,
    /// After how long without a record the memory of caches is given back.
    pub forget_after: Span,
    /// How many records are kept in the log before the synced position.
    pub trim_margin: u64,
    /// The record behind which log and blobs are kept although the store has them, because a store can be made again from
    /// there; `None` for no such record. [`Handle::keep_from`](crate::Handle::keep_from) changes it.
    pub keep_from: Option<Seq>,
    /// How much time was skipped, in a rehearsal.
    pub skipped: SkippedTime,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            grace: Span::from_secs(10),
            heartbeat_timeout: Span::from_secs(30),
            pinned_wait: Span::from_secs(60),
            lazy_delay: Span::from_millis(50),
            lazy_merge: Span::from_millis(40),
            append_retry: Span::from_secs(1),
            flush_rows: 8_192,
            flush_interval: Span::from_millis(250),
            sync_interval: Span::from_secs(5),
            forget_after: Span::from_secs(15),
            trim_margin: 1_024,
            keep_from: None,
            skipped: SkippedTime::default(),
        }
    }
}
