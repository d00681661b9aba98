//! Bounded caches of derived values.
//!
//! For: not parsing the same definition or document again. Not for: state: whatever is here can be made again
//! from the tables, and nothing depends on whether it is here.
//! Invariant: the bytes held stay under the bound; the oldest goes first.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use consort_types::{BlobHash, RunId, TaskId};

/// What a cached document was read from; none of these ever changes its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Document {
    /// A blob.
    Blob(BlobHash),
    /// The output of a step instance.
    Output(TaskId),
    /// The items of a scope.
    Items(RunId, u32),
    /// The input of a run.
    Input(RunId),
}

/// A first-in first-out cache bounded by weight.
pub(crate) struct Cache<K, V> {
    entries: BTreeMap<K, (V, usize)>,
    order: VecDeque<K>,
    weight: usize,
    weight_max: usize,
}

impl<K: Ord + Copy, V: Clone> Cache<K, V> {
    pub(crate) fn new(weight_max: usize) -> Self {
        Self { entries: BTreeMap::new(), order: VecDeque::new(), weight: 0, weight_max }
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.entries.get(key).map(|(value, _)| value.clone())
    }

    /// Takes a value out; its place in the order is left behind and skipped later.
    pub(crate) fn take(&mut self, key: &K) -> Option<V> {
        let (value, weight) = self.entries.remove(key)?;
        self.weight -= weight;
        Some(value)
    }

    pub(crate) fn put(&mut self, key: K, value: V, weight: usize) {
        if weight > self.weight_max {
            return;
        }
        match self.entries.insert(key, (value, weight)) {
            Some((_, old)) => self.weight -= old,
            None => self.order.push_back(key),
        }
        self.weight += weight;
        // Places left behind by `take` count too, or the order would grow without bound.
        while self.weight > self.weight_max || self.order.len() > 2 * self.entries.len() + 64 {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some((_, weight)) = self.entries.remove(&oldest) {
                self.weight -= weight;
            }
        }
    }
}

/// Documents by what they were read from.
pub(crate) type Documents = Cache<Document, Arc<serde_json::Value>>;

#[cfg(test)]
mod tests {
    use super::Cache;

    #[test]
    fn the_oldest_goes_first_and_the_bound_holds() {
        let mut cache = Cache::new(10);
        cache.put(1, "a", 4);
        cache.put(2, "b", 4);
        cache.put(3, "c", 4);
        assert_eq!((cache.get(&1), cache.get(&2), cache.take(&3)), (None, Some("b"), Some("c")));
        cache.put(4, "d", 11);
        assert_eq!(cache.get(&4), None);
        (0..1000).for_each(|key| {
            cache.put(key, "x", 1);
            cache.take(&key);
        });
        assert!(cache.order.len() <= 2 * cache.entries.len() + 66);
    }
}
