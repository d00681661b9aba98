//! The store as a map in memory: the model that the others are compared with.
//!
//! For: tests and the simulator. Not for: keeping anything past the process.
//! Invariant: [`MemoryStore::crash`] never goes behind the last sync, and never stops within a batch.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use consort_types::{BlobHash, Seq};

use crate::{Batch, Blobs, Row, Snapshot, Store, StoreError, check_key};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// A store in memory. Clones are the same store, which thereby outlives a simulated crash of its user.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    rows: Arc<Rows>,
    applied: Seq,
    /// What undoes each batch since the last sync, oldest first.
    undo: Vec<Undo>,
    blobs: BTreeMap<BlobHash, Vec<u8>>,
    failing: Option<String>,
}

#[derive(Debug)]
struct Undo {
    rows: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    applied: Seq,
}

impl State {
    fn check(&self) -> Result<(), StoreError> {
        let io = |what: &String| StoreError::Io { place: "memory".to_owned(), what: what.clone() };
        self.failing.as_ref().map_or(Ok(()), |what| Err(io(what)))
    }

    fn set(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let rows = Arc::make_mut(&mut self.rows);
        match value {
            Some(value) => rows.insert(key, value),
            None => rows.remove(&key),
        }
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked elsewhere must not hide its message behind a second panic here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Batches written since the last sync: what a crash may take away.
    pub fn unsynced(&self) -> usize {
        self.state().undo.len()
    }

    /// Loses power: of the batches since the last sync only the first `survivors` are kept (all, where there are
    /// fewer). Blobs are durable when put, so they stay. Planned failures end.
    pub fn crash(&self, survivors: usize) {
        let mut state = self.state();
        state.failing = None;
        while state.undo.len() > survivors {
            let Some(undo) = state.undo.pop() else { break };
            for (key, value) in undo.rows.into_iter().rev() {
                state.set(key, value);
            }
            state.applied = undo.applied;
        }
        state.undo.clear();
    }

    /// Lets every operation fail with this reason until [`MemoryStore::crash`], or until `None` is set.
    pub fn fail(&self, reason: Option<&str>) {
        self.state().failing = reason.map(str::to_owned);
    }

    /// Flips a bit of a blob, where there is one with at least one byte; returns whether it did.
    pub fn damage_blob(&self, hash: BlobHash) -> bool {
        let mut state = self.state();
        let first = state.blobs.get_mut(&hash).and_then(|bytes| bytes.first_mut());
        first.map(|byte| *byte ^= 1).is_some()
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        check_key(key)?;
        let state = self.state();
        state.check()?;
        Ok(state.rows.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        let state = self.state();
        state.check()?;
        scan(&state.rows, from, to, limit)
    }

    fn write(&self, batch: Batch) -> Result<(), StoreError> {
        batch.check()?;
        let mut state = self.state();
        state.check()?;
        assert!(batch.applied >= state.applied, "a store never goes back: {} after {}", batch.applied, state.applied);
        let mut undo = Undo { rows: Vec::new(), applied: state.applied };
        let deletes = batch.deletes.into_iter().map(|key| (key, None));
        let puts = batch.puts.into_iter().map(|(key, value)| (key, Some(value)));
        for (key, value) in deletes.chain(puts) {
            let before = state.set(key.clone(), value);
            undo.rows.push((key, before));
        }
        state.applied = batch.applied;
        state.undo.push(undo);
        Ok(())
    }

    fn applied(&self) -> Result<Seq, StoreError> {
        let state = self.state();
        state.check()?;
        Ok(state.applied)
    }

    fn sync(&self) -> Result<Seq, StoreError> {
        let mut state = self.state();
        state.check()?;
        state.undo.clear();
        Ok(state.applied)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        let state = self.state();
        state.check()?;
        Ok(Box::new(MemorySnapshot { rows: Arc::clone(&state.rows), applied: state.applied }))
    }
}

impl Blobs for MemoryStore {
    fn put_blob(&self, hash: BlobHash, bytes: &[u8]) -> Result<(), StoreError> {
        assert!(BlobHash::of(bytes) == hash, "a blob is named by the hash of its bytes");
        let mut state = self.state();
        state.check()?;
        state.blobs.insert(hash, bytes.to_vec());
        Ok(())
    }

    fn get_blob(&self, hash: BlobHash) -> Result<Option<Vec<u8>>, StoreError> {
        let state = self.state();
        state.check()?;
        let damaged =
            || StoreError::Damaged { place: format!("blob {hash}"), what: "its bytes have another hash".to_owned() };
        match state.blobs.get(&hash) {
            Some(bytes) if BlobHash::of(bytes) != hash => Err(damaged()),
            found => Ok(found.cloned()),
        }
    }

    fn delete_blob(&self, hash: BlobHash) -> Result<bool, StoreError> {
        let mut state = self.state();
        state.check()?;
        Ok(state.blobs.remove(&hash).is_some())
    }

    fn list_blobs(&self) -> Result<Vec<BlobHash>, StoreError> {
        let state = self.state();
        state.check()?;
        Ok(state.blobs.keys().copied().collect())
    }
}

struct MemorySnapshot {
    rows: Arc<Rows>,
    applied: Seq,
}

impl Snapshot for MemorySnapshot {
    fn applied(&self) -> Seq {
        self.applied
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        check_key(key)?;
        Ok(self.rows.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        scan(&self.rows, from, to, limit)
    }
}

fn scan(rows: &Rows, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
    check_key(from)?;
    check_key(to)?;
    if from >= to {
        return Ok(Vec::new());
    }
    let range = rows.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
    Ok(range.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
}
