//! Bounded caches of derived values.
//!
//! For: not parsing the same definition or document again. Not for: state: whatever is here can be made again
//! from the tables, and nothing depends on whether it is here.
//! Invariant: the bytes held stay under the bound; the oldest goes first.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use consort_types::{BlobHash, RunId, StepInstanceId};

/// What a cached document was read from; none of these ever changes its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Document {
    /// A blob.
    Blob(BlobHash),
    /// The output of a step instance.
    Output(StepInstanceId),
    /// The items of a scope.
    Items(RunId, u32),
    /// The input of a run.
    Input(RunId),
    /// What a step instance has read.
    Reads(StepInstanceId),
}

impl Document {
    /// The run that reads it, where that follows from what it is.
    pub(crate) fn run(&self) -> Option<RunId> {
        match self {
            Self::Blob(_) => None,
            Self::Output(task) | Self::Reads(task) => Some(task.run),
            Self::Items(run, _) | Self::Input(run) => Some(*run),
        }
    }
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

    /// Removes a value; its place in the order remains and is skipped later.
    pub(crate) fn take(&mut self, key: &K) -> Option<V> {
        let (value, weight) = self.entries.remove(key)?;
        self.weight -= weight;
        Some(value)
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.weight_max);
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

/// Parsed documents by what they were read from: many that are small, and the last few that are too large for that.
///
/// A large document stays while the run that read it last is active, because the next step of the run will need it
/// again, and reading it from the store takes longer than all else that a step does.
pub(crate) struct Documents {
    small: Cache<Document, Arc<serde_json::Value>>,
    /// The newest is the last.
    large: VecDeque<Large>,
    large_max: usize,
}

struct Large {
    document: Document,
    value: Arc<serde_json::Value>,
    weight: usize,
    reader: Option<RunId>,
}

impl Documents {
    /// Keeps small documents of `small_max` bytes, and large ones of `large_max` bytes, but always the last one.
    pub(crate) fn new(small_max: usize, large_max: usize) -> Self {
        Self { small: Cache::new(small_max), large: VecDeque::new(), large_max }
    }

    /// The document, where it is kept; `reader` is the run that needs it.
    pub(crate) fn get(&mut self, document: &Document, reader: Option<RunId>) -> Option<Arc<serde_json::Value>> {
        if let Some(value) = self.small.get(document) {
            return Some(value);
        }
        let at = self.large.iter().position(|large| large.document == *document)?;
        let mut large = self.large.remove(at)?;
        large.reader = reader;
        let value = Arc::clone(&large.value);
        self.large.push_back(large);
        Some(value)
    }

    pub(crate) fn put(
        &mut self,
        document: Document,
        value: &Arc<serde_json::Value>,
        bytes: usize,
        reader: Option<RunId>,
    ) {
        // A parsed document takes several times the room of its text.
        let estimate = bytes * 4;
        if estimate <= self.small.weight_max {
            return self.small.put(document, Arc::clone(value), estimate);
        }
        self.take(&document);
        let weight = weight_of(value);
        while self.large.iter().map(|large| large.weight).sum::<usize>() + weight > self.large_max {
            if self.large.pop_front().is_none() {
                break;
            }
        }
        self.large.push_back(Large { document, value: Arc::clone(value), weight, reader });
    }

    /// Removes a document, because another one will replace it.
    pub(crate) fn take(&mut self, document: &Document) {
        self.small.take(document);
        self.large.retain(|large| large.document != *document);
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.small.clear();
        self.large = VecDeque::new();
    }

    /// Forgets the large documents of a run that has ended.
    pub(crate) fn run_ended(&mut self, run: RunId) {
        self.large.retain(|large| large.reader != Some(run));
    }
}

/// Bytes of memory that a value takes, roughly.
fn weight_of(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    const NODE_BYTES: usize = size_of::<Value>();
    match value {
        Value::String(text) => NODE_BYTES + text.len(),
        Value::Array(items) => NODE_BYTES + items.iter().map(weight_of).sum::<usize>(),
        Value::Object(map) => {
            let entry = |(key, value): (&String, &Value)| 2 * NODE_BYTES + key.len() + weight_of(value);
            NODE_BYTES + map.iter().map(entry).sum::<usize>()
        }
        _ => NODE_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use consort_types::RunId;
    use serde_json::json;

    use super::{Cache, Document, Documents};

    #[test]
    fn a_large_document_stays_while_its_run_goes_on() {
        let run = |n| RunId([n; 16]);
        let text = Arc::new(json!("x".repeat(300)));
        let mut documents = Documents::new(100, 700);
        let holds = |documents: &mut Documents, n: u8| documents.get(&Document::Input(run(n)), Some(run(n))).is_some();
        documents.put(Document::Input(run(9)), &text, 25, Some(run(9)));
        (1..=3).for_each(|n| documents.put(Document::Input(run(n)), &text, 300, Some(run(n))));
        assert_eq!([1, 2, 3, 9].map(|n| holds(&mut documents, n)), [false, true, true, true]);
        assert!(holds(&mut documents, 2));
        documents.put(Document::Input(run(4)), &text, 300, Some(run(4)));
        assert_eq!([2, 3, 4].map(|n| holds(&mut documents, n)), [true, false, true], "what was not read longest goes");
        documents.run_ended(run(2));
        assert_eq!([2, 4, 9].map(|n| holds(&mut documents, n)), [false, true, true]);
        documents.put(Document::Input(run(5)), &Arc::new(json!("x".repeat(5_000))), 5_000, Some(run(5)));
        assert_eq!([4, 5].map(|n| holds(&mut documents, n)), [false, true], "the last one stays, whatever its weight");
        documents.take(&Document::Input(run(5)));
        assert!(!holds(&mut documents, 5));
    }

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
