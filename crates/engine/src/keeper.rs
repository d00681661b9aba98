//! Blobs between being put and being referred to, and between being unused and being deleted.
//!
//! For: making sure that a blob which a waiting command names is not swept away. Not for: counting references (the
//! core does).
//! Invariant: a blob is deleted only while nobody has pinned it since it was found unused.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use consort_store::Blobs;
use consort_types::{BlobHash, Payload, Result};

#[derive(Default)]
struct Marks {
    pinned: BTreeMap<BlobHash, usize>,
    doomed: BTreeSet<BlobHash>,
}

/// The blobs of a partition, with who needs them right now. Clones are the same keeper.
#[derive(Clone)]
pub struct BlobKeeper {
    blobs: Arc<dyn Blobs>,
    marks: Arc<Mutex<Marks>>,
}

/// Keeps a blob from being swept for as long as it lives.
pub(crate) struct Pin {
    keeper: BlobKeeper,
    hash: BlobHash,
}

impl BlobKeeper {
    /// A keeper of these blobs.
    pub fn new(blobs: Arc<dyn Blobs>) -> Self {
        Self { blobs, marks: Arc::default() }
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        // A panic elsewhere leaves the marks whole: each change is one insertion or removal.
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pin(&self, hash: BlobHash) -> Pin {
        let mut marks = self.marks();
        *marks.pinned.entry(hash).or_default() += 1;
        marks.doomed.remove(&hash);
        Pin { keeper: self.clone(), hash }
    }

    /// Puts a large inline payload where it belongs; it is durable when this returns. The pin, where there is one,
    /// must live until the command that names the blob was applied.
    pub(crate) fn place(&self, payload: Payload) -> Result<(Payload, Option<Pin>)> {
        let Payload::Inline(bytes) = &payload else { return Ok((payload, None)) };
        if !payload.is_large() {
            return Ok((payload, None));
        }
        let (hash, len) = (BlobHash::of(bytes), bytes.len() as u64);
        let pin = self.pin(hash);
        self.blobs.put_blob(hash, bytes)?;
        Ok((Payload::Blob { hash, len }, Some(pin)))
    }

    /// The bytes of a blob.
    pub fn get(&self, hash: BlobHash) -> Result<Option<Vec<u8>>> {
        Ok(self.blobs.get_blob(hash)?)
    }

    /// Marks a blob that no row uses for deletion, unless somebody has pinned it.
    pub fn doom(&self, hash: BlobHash) -> bool {
        let mut marks = self.marks();
        let free = !marks.pinned.contains_key(&hash);
        if free {
            marks.doomed.insert(hash);
        }
        free
    }

    /// Deletes a blob that is still marked; returns whether it did.
    pub fn delete_doomed(&self, hash: BlobHash) -> Result<bool> {
        // The lock is held over the deletion: who pins the blob meanwhile waits, and then puts it anew.
        let mut marks = self.marks();
        if !marks.doomed.remove(&hash) {
            return Ok(false);
        }
        Ok(self.blobs.delete_blob(hash)?)
    }

    pub(crate) fn blobs(&self) -> &dyn Blobs {
        &*self.blobs
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut marks = self.keeper.marks();
        if let Some(count) = marks.pinned.get_mut(&self.hash) {
            *count -= 1;
            if *count == 0 {
                marks.pinned.remove(&self.hash);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use consort_store::MemoryStore;

    use super::*;

    fn large() -> Payload {
        Payload::inline(format!("\"{}\"", "x".repeat(40_000)).into_bytes())
    }

    #[test]
    fn a_pinned_blob_stays() {
        let store = MemoryStore::new();
        let keeper = BlobKeeper::new(Arc::new(store.clone()));
        let (payload, pin) = keeper.place(large()).unwrap();
        let Payload::Blob { hash, len } = payload else { panic!("a large payload becomes a blob") };
        assert_eq!(len, 40_002);
        assert!(!keeper.doom(hash));
        drop(pin);
        assert!(keeper.doom(hash));
        let again = keeper.place(large()).unwrap();
        assert!(!keeper.delete_doomed(hash).unwrap(), "it was pinned again after it was doomed");
        drop(again);
        assert!(keeper.doom(hash) && keeper.delete_doomed(hash).unwrap());
        assert_eq!(keeper.get(hash).unwrap(), None);
    }

    #[test]
    fn small_payloads_stand_inline() {
        let keeper = BlobKeeper::new(Arc::new(MemoryStore::new()));
        let (payload, pin) = keeper.place(Payload::null()).unwrap();
        assert!(payload == Payload::null() && pin.is_none());
    }
}
