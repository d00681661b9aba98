//! Concurrency keys: how many tasks that share a key are with instances at once.
//!
//! For: counting, and keeping the tasks that wait for a key. Not for: the queues themselves.
//! Invariant: a key is known exactly while a task is counted on it or waits for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use consort_types::TaskId;

use super::queue::{QueueId, Rank};

/// A key and its namespace.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyName {
    namespace: String,
    key: String,
}

#[derive(Debug, Default)]
struct Key {
    taken: u32,
    waiting: BTreeMap<QueueId, BTreeSet<(Rank, TaskId)>>,
}

/// All keys.
#[derive(Debug, Default)]
pub(super) struct Keys {
    keys: BTreeMap<Arc<KeyName>, Key>,
}

impl Keys {
    pub(super) fn name(&self, namespace: &str, key: &str) -> Arc<KeyName> {
        let name = KeyName { namespace: namespace.to_owned(), key: key.to_owned() };
        self.keys.get_key_value(&name).map_or_else(|| Arc::new(name), |(known, _)| Arc::clone(known))
    }

    pub(super) fn is_full(&self, name: &Arc<KeyName>, limit: u32) -> bool {
        self.keys.get(name).is_some_and(|key| key.taken >= limit)
    }

    /// One task of the key is with an instance.
    pub(super) fn take(&mut self, name: &Arc<KeyName>) {
        self.keys.entry(Arc::clone(name)).or_default().taken += 1;
    }

    /// One task of the key has come back.
    pub(super) fn free(&mut self, name: &Arc<KeyName>) {
        let Some(key) = self.keys.get_mut(name) else { return };
        assert!(key.taken > 0, "a key is given back as often as it was taken");
        key.taken -= 1;
        self.forget_idle(name);
    }

    /// A task waits for the key.
    pub(super) fn wait(&mut self, name: &Arc<KeyName>, queue: QueueId, rank: Rank, task: TaskId) {
        let key = self.keys.entry(Arc::clone(name)).or_default();
        key.waiting.entry(queue).or_default().insert((rank, task));
    }

    /// A task waits no more.
    pub(super) fn remove_waiting(&mut self, name: &Arc<KeyName>, queue: QueueId, rank: Rank, task: TaskId) {
        let Some(key) = self.keys.get_mut(name) else { return };
        if let Some(waiting) = key.waiting.get_mut(&queue) {
            waiting.remove(&(rank, task));
            if waiting.is_empty() {
                key.waiting.remove(&queue);
            }
        }
        self.forget_idle(name);
    }

    /// Takes out the first task of each queue that waits for the key.
    pub(super) fn candidates(&mut self, name: &Arc<KeyName>) -> Vec<TaskId> {
        let Some(key) = self.keys.get_mut(name) else { return Vec::new() };
        let first = key.waiting.values_mut().filter_map(BTreeSet::pop_first).map(|(_, task)| task).collect();
        key.waiting.retain(|_, waiting| !waiting.is_empty());
        self.forget_idle(name);
        first
    }

    fn forget_idle(&mut self, name: &Arc<KeyName>) {
        if self.keys.get(name).is_some_and(|key| key.taken == 0 && key.waiting.is_empty()) {
            self.keys.remove(name);
        }
    }
}
