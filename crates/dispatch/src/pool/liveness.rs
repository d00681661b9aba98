//! When the last messages of worker instances came.
//!
//! For: finding remote instances that are silent for too long. Not for: what follows from silence.
//! Invariant: an instance in this process is never silent.

use std::collections::{BTreeMap, BTreeSet};

use consort_types::{Locality, Time};

use crate::model::WorkerInstanceId;

#[derive(Debug)]
struct Heard {
    at: Time,
    /// Its entry in the order, where it has one: then, or earlier.
    listed: Option<Time>,
}

#[derive(Debug, Default)]
pub(crate) struct Liveness {
    heard: BTreeMap<WorkerInstanceId, Heard>,
    /// Remote instances by the time of their last message, or an earlier one: entries are moved when they are visited.
    order: BTreeSet<(Time, WorkerInstanceId)>,
}

impl Liveness {
    pub(crate) fn add(&mut self, id: WorkerInstanceId, locality: Locality, now: Time) {
        let listed = (locality == Locality::Remote).then_some(now);
        self.order.extend(listed.map(|at| (at, id)));
        self.heard.insert(id, Heard { at: now, listed });
    }

    /// Returns when the last message of the instance came.
    pub(crate) fn remove(&mut self, id: WorkerInstanceId) -> Option<Time> {
        let heard = self.heard.remove(&id)?;
        if let Some(listed) = heard.listed {
            self.order.remove(&(listed, id));
        }
        Some(heard.at)
    }

    pub(crate) fn heard(&mut self, id: WorkerInstanceId, now: Time) {
        if let Some(heard) = self.heard.get_mut(&id) {
            heard.at = heard.at.max(now);
        }
    }

    pub(crate) fn last_heard(&self, id: WorkerInstanceId) -> Option<Time> {
        self.heard.get(&id).map(|heard| heard.at)
    }

    /// Moves the entries that are out of date, as far as they are before a time.
    fn update_order(&mut self, before: Time) {
        while let Some((listed, id)) = self.order.first().copied().filter(|(listed, _)| *listed < before) {
            let Some(heard) = self.heard.get_mut(&id) else { return };
            if heard.at == listed {
                return;
            }
            self.order.remove(&(listed, id));
            heard.listed = Some(heard.at);
            self.order.insert((heard.at, id));
        }
    }

    /// Remote instances without a message since a time.
    pub(crate) fn silent(&mut self, heard_before: Time) -> Vec<WorkerInstanceId> {
        self.update_order(heard_before);
        let listed = self.order.range(..(heard_before, WorkerInstanceId(0)));
        let silent = listed.filter(|(at, id)| self.heard.get(id).is_some_and(|heard| heard.at == *at));
        silent.map(|(_, id)| *id).collect()
    }

    /// When the last message came from the remote instance that is silent for longest.
    pub(crate) fn longest_silence(&mut self) -> Option<Time> {
        self.update_order(Time(u64::MAX));
        self.order.first().map(|(at, _)| *at)
    }
}
