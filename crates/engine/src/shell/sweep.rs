//! Blobs that may go.
//!
//! For: deleting blobs that no row uses any more, and those that a crash left behind. Not for: counting references.
//! Invariant: a blob is deleted only once the store has synced a state that does not use it, so no replay needs it.

use std::collections::BTreeSet;

use consort_core::Machine;
use consort_types::{BlobHash, Result, Seq};

use crate::BlobGc;

/// Blobs that are looked at in one go.
const LOOKED_AT_MAX: usize = 256;

/// Blobs that may go once the store is synced up to a record.
#[derive(Default)]
pub(super) struct Sweep {
    candidates: BTreeSet<(Seq, BlobHash)>,
    synced: Seq,
}

impl Sweep {
    /// No row uses the blob since that record.
    pub(super) fn add(&mut self, since: Seq, hash: BlobHash) {
        self.candidates.insert((since, hash));
    }

    /// The store is synced up to a record.
    pub(super) fn synced(&mut self, synced: Seq) {
        self.synced = synced;
    }

    /// Whether there is something to look at now.
    pub(super) fn is_due(&self) -> bool {
        self.candidates.first().is_some_and(|(since, _)| *since <= self.synced)
    }

    /// Looks at some blobs; returns those that are marked for deletion.
    pub(super) fn marked(&mut self, machine: &Machine, blob_gc: &BlobGc) -> Result<Vec<BlobHash>> {
        let mut marked = Vec::new();
        for _ in 0..LOOKED_AT_MAX {
            if !self.is_due() {
                break;
            }
            let Some((_, hash)) = self.candidates.pop_first() else { break };
            if !machine.blob_used(&hash)? && blob_gc.mark_for_deletion(hash) {
                marked.push(hash);
            }
        }
        Ok(marked)
    }
}
