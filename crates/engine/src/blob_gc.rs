//! Blobs between being put and being referred to, and between being unused and being deleted.
//!
//! For: making sure that a blob which a waiting command names is not swept away. Not for: counting references (the
//! core does).
//! Invariant: a blob is deleted only while no pin was taken since it was found unused.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use consort_store::Blobs;
use consort_types::{BlobHash, Payload, Result};

#[derive(Default)]
struct Marks {
    pinned: BTreeMap<BlobHash, usize>,
    marked: BTreeSet<BlobHash>,
}

/// The garbage collection of a partition's blobs: which are pinned, and which are marked for deletion. Clones share it.
#[derive(Clone)]
pub struct BlobGc {
    blobs: Arc<dyn Blobs>,
    marks: Arc<Mutex<Marks>>,
}

/// Keeps a blob from being swept for as long as it lives.
pub(crate) struct Pin {
    blob_gc: BlobGc,
    hash: BlobHash,
}

impl BlobGc {
    /// The garbage collection of these blobs.
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
        marks.marked.remove(&hash);
        Pin { blob_gc: self.clone(), hash }
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

    /// Marks a blob that no row uses for deletion, unless it is pinned.
    pub fn mark_for_deletion(&self, hash: BlobHash) -> bool {
        let mut marks = self.marks();
        let free = !marks.pinned.contains_key(&hash);
        if free {
            marks.marked.insert(hash);
        }
        free
    }

    /// Deletes a blob that is still marked; returns whether it did.
    pub fn delete_marked(&self, hash: BlobHash) -> Result<bool> {
        // The lock is held during the deletion: a concurrent pin of the blob waits, and then stores the blob again.
        let mut marks = self.marks();
        if !marks.marked.remove(&hash) {
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
        let mut marks = self.blob_gc.marks();
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
        let blob_gc = BlobGc::new(Arc::new(store.clone()));
        let (payload, pin) = blob_gc.place(large()).unwrap();
        let Payload::Blob { hash, len } = payload else { panic!("a large payload becomes a blob") };
        assert_eq!(len, 40_002);
        assert!(!blob_gc.mark_for_deletion(hash));
        drop(pin);
        assert!(blob_gc.mark_for_deletion(hash));
        let again = blob_gc.place(large()).unwrap();
        assert!(!blob_gc.delete_marked(hash).unwrap(), "it was pinned again after it was marked");
        drop(again);
        assert!(blob_gc.mark_for_deletion(hash) && blob_gc.delete_marked(hash).unwrap());
        assert_eq!(blob_gc.get(hash).unwrap(), None);
    }

    #[test]
    fn small_payloads_stand_inline() {
        let blob_gc = BlobGc::new(Arc::new(MemoryStore::new()));
        let (payload, pin) = blob_gc.place(Payload::null()).unwrap();
        assert!(payload == Payload::null() && pin.is_none());
    }
}
