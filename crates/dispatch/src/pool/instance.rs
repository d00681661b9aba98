//! One worker instance.
//!
//! For: its capacity, what it holds, and its health. Not for: when its last message came (see `liveness`).
//! Invariant: it is free exactly while it holds less than its capacity, reads what it is sent, is not draining, and its
//! breaker admits a task.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use consort_types::{Locality, StepInstanceId, Time};

use super::{
    agents::WorkerClassId,
    breaker::Breaker,
    candidates::{CandidateSetId, Rank},
};
use crate::model::WorkerInstanceId;

#[derive(Debug)]
pub(crate) struct WorkerInstance {
    pub(crate) name: Arc<consort_types::WorkerInstance>,
    pub(crate) client: String,
    /// The worker process that it belongs to; empty where it is not known.
    pub(crate) worker: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) class: WorkerClassId,
    pub(crate) locality: Locality,
    /// How many tasks it holds at most.
    pub(crate) capacity: usize,
    /// Bytes of messages that wait for it.
    pub(crate) unread: usize,
    /// How many may wait before it is given nothing more.
    pub(super) unread_max: usize,
    /// Whether it gets nothing more, by its own wish.
    pub(crate) draining: bool,
    pub(crate) held: BTreeSet<StepInstanceId>,
    pub(crate) connected: Time,
    pub(crate) breaker: Breaker,
    /// Its rank in each of its sets, where it is free.
    pub(super) rank: Option<Rank>,
    pub(super) sets: Vec<CandidateSetId>,
}

impl WorkerInstance {
    /// Whether as much waits for it as may.
    pub(crate) fn reads_too_slowly(&self) -> bool {
        self.unread >= self.unread_max
    }

    /// Its rank among the free instances; `None` where it is not free.
    pub(super) fn wanted_rank(&self, id: WorkerInstanceId) -> Option<Rank> {
        let (held, capacity) = (self.held.len(), self.capacity);
        let free = !self.draining && held < capacity && !self.reads_too_slowly() && self.breaker.lets_through();
        free.then(|| (u32::try_from(held * 1_000 / capacity).unwrap_or(u32::MAX), self.breaker.speed(), id))
    }
}

/// What is kept of a disconnected worker instance.
pub(crate) struct Departed {
    pub(crate) name: Arc<consort_types::WorkerInstance>,
    pub(crate) class: WorkerClassId,
    pub(crate) held: BTreeSet<StepInstanceId>,
    /// Whether it was draining.
    pub(crate) was_leaving: bool,
}
