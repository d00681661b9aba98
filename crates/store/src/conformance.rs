//! The behaviour that every store must show.
//!
//! For: one suite that each implementation runs from its own tests. Not for: faults of one kind of storage.
//! Invariant: an implementation that passes can be the store of the engine.

use consort_types::{BlobHash, Seq};

use crate::{Batch, Blobs, KEY_BYTES_MAX, Store, StoreError};

/// Runs the whole suite. `fresh` makes a new storage and returns what opens it; a store is dropped before it is
/// opened again. A failed promise panics.
pub fn run<S: Store + Blobs, O: FnMut() -> S>(mut fresh: impl FnMut() -> O) {
    new_store_is_empty(&mut fresh());
    batches_are_visible_at_once(&mut fresh());
    deletes_come_before_puts(&mut fresh());
    scans_are_ordered_and_bounded(&mut fresh());
    snapshots_stand_still(&mut fresh());
    reopening_keeps_what_was_synced(&mut fresh());
    large_values_and_keys_fit(&mut fresh());
    keys_over_the_limit_are_refused(&mut fresh());
    blobs_are_kept_by_hash(&mut fresh());
}

fn batch(applied: u64, puts: &[(&[u8], &[u8])], deletes: &[&[u8]]) -> Batch {
    let mut batch = Batch::new(Seq(applied));
    for (key, value) in puts {
        batch.put(*key, *value);
    }
    for key in deletes {
        batch.delete(*key);
    }
    batch
}

fn keys(store: &impl Store, from: &[u8], to: &[u8], limit: usize) -> Vec<Vec<u8>> {
    store.scan(from, to, limit).expect("the scan works").into_iter().map(|(key, _)| key).collect()
}

fn new_store_is_empty<S: Store + Blobs>(open: &mut impl FnMut() -> S) {
    let store = open();
    assert_eq!(store.applied(), Ok(Seq::ZERO));
    assert_eq!(store.get(b"a"), Ok(None));
    assert_eq!(store.scan(b"", b"\xff", 10), Ok(Vec::new()));
    assert_eq!(store.sync(), Ok(Seq::ZERO));
    assert_eq!(store.list_blobs(), Ok(Vec::new()));
}

fn batches_are_visible_at_once<S: Store + Blobs>(open: &mut impl FnMut() -> S) {
    let store = open();
    store.write(batch(3, &[(b"a", b"1"), (b"b", b"")], &[])).expect("the batch is written");
    assert_eq!(store.applied(), Ok(Seq(3)));
    assert_eq!(store.get(b"a"), Ok(Some(b"1".to_vec())));
    assert_eq!(store.get(b"b"), Ok(Some(Vec::new())), "an empty value is a value");
    store.write(batch(4, &[(b"b", b"2")], &[b"a", b"never there"])).expect("the batch is written");
    assert_eq!(store.get(b"a"), Ok(None));
    assert_eq!(store.get(b"b"), Ok(Some(b"2".to_vec())));
    store.write(Batch::new(Seq(9))).expect("a batch without rows is written");
    assert_eq!(store.applied(), Ok(Seq(9)));
}

fn deletes_come_before_puts<S: Store + Blobs>(open: &mut impl FnMut() -> S) {
    let store = open();
    store.write(batch(1, &[(b"k", b"old")], &[])).expect("the batch is written");
    store.write(batch(2, &[(b"k", b"new"), (b"k", b"newest")], &[b"k"])).expect("the batch is written");
    assert_eq!(store.get(b"k"), Ok(Some(b"newest".to_vec())));
}

fn scans_are_ordered_and_bounded<S: Store + Blobs>(open: &mut impl FnMut() -> S) {
    let store = open();
    let names: [&[u8]; 6] = [b"b", b"a\xff", b"a", b"c", b"a\x00", b"\xff\xff"];
    let puts: Vec<(&[u8], &[u8])> = names.iter().map(|name| (*name, *name)).collect();
    store.write(batch(1, &puts, &[])).expect("the batch is written");
    assert_eq!(keys(&store, b"a", b"b", 10), [&b"a"[..], b"a\x00", b"a\xff"]);
    assert_eq!(keys(&store, b"a", b"c", 2), [&b"a"[..], b"a\x00"], "the limit cuts at the end");
    assert_eq!(keys(&store, b"a\x00", b"\xff\xff", 10), [&b"a\x00"[..], b"a\xff", b"b", b"c"]);
    assert_eq!(keys(&store, b"", b"\xff\xff\xff", 10).len(), 6, "the store's own rows are not among them");
    assert!(keys(&store, b"b", b"b", 10).is_empty() && keys(&store, b"c", b"a", 10).is_empty());
    assert!(keys(&store, b"a", b"z", 0).is_empty());
}

fn snapshots_stand_still<S: Store + Blobs>(open: &mut impl FnMut() -> S) {
    let store = open();
    store.write(batch(5, &[(b"a", b"1"), (b"b", b"1")], &[])).expect("the batch is written");
    let snapshot = store.snapshot().expect("a snapshot is taken");
    store.write(batch(6, &[(b"b", b"2"), (b"c", b"2")], &[b"a"])).expect("the batch is written");
    assert_eq!(snapshot.applied(), Seq(5));
    assert_eq!(snapshot.get(b"a"), Ok(Some(b"1".to_vec())));
    assert_eq!(snapshot.get(b"c"), Ok(None));
    let rows = snapshot.scan(b"a", b"z", 10).expect("the scan works");
    assert_eq!(rows, [(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"1".to_vec())]);
    assert_eq!(keys(&store, b"a", b"z", 10), [b"b", b"c"]);
}

fn reopening_keeps_what_was_synced<S: Store + Blobs>(open: &mut impl FnMut() -> S) {
    for round in 1..=5_u64 {
        let store = open();
        assert_eq!(store.applied(), Ok(Seq((round - 1) * 10)));
        let key = round.to_be_bytes();
        store.write(batch(round * 10, &[(&key, b"x")], &[&(round - 1).to_be_bytes()])).expect("the batch is written");
        assert_eq!(store.sync(), Ok(Seq(round * 10)));
        drop(store);
        assert_eq!(keys(&open(), b"", b"\xff", 10), [key]);
    }
}

fn large_values_and_keys_fit<S: Store + Blobs>(open: &mut impl FnMut() -> S) {
    let store = open();
    let (key, value) = (vec![7; KEY_BYTES_MAX], vec![9; 4 << 20]);
    store.write(batch(1, &[(&key, b"k"), (b"v", &value)], &[])).expect("the batch is written");
    store.sync().expect("the store is synced");
    drop(store);
    let store = open();
    assert_eq!(store.get(&key), Ok(Some(b"k".to_vec())));
    assert!(store.get(b"v").expect("the row is readable").is_some_and(|read| read == value));
}

fn keys_over_the_limit_are_refused<S: Store + Blobs>(open: &mut impl FnMut() -> S) {
    let store = open();
    store.write(batch(1, &[(b"a", b"1")], &[])).expect("the batch is written");
    for bytes in [KEY_BYTES_MAX + 1, 65_536, 70_000, 1 << 20] {
        let long = vec![7; bytes];
        let refused = Err(StoreError::KeyTooLong { bytes, limit: KEY_BYTES_MAX });
        assert_eq!(store.write(batch(2, &[(b"b", b"2"), (&long, b"2")], &[])), refused);
        assert_eq!(store.write(batch(2, &[(b"b", b"2")], &[&long])), refused);
        let refused = refused.map(|()| None);
        assert_eq!(store.get(&long), refused);
        let snapshot = store.snapshot().expect("a snapshot is taken");
        assert_eq!(snapshot.get(&long), refused);
        for (from, to) in [(&long[..], &b"z"[..]), (b"", &long)] {
            let refused = refused.clone().map(|_| Vec::new());
            assert_eq!(store.scan(from, to, 10), refused);
            assert_eq!(snapshot.scan(from, to, 10), refused);
        }
    }
    assert_eq!(
        (store.applied(), keys(&store, b"a", b"z", 10)),
        (Ok(Seq(1)), vec![b"a".to_vec()]),
        "nothing was written"
    );
    store.write(batch(2, &[(b"b", b"2")], &[])).expect("the store takes further batches");
    assert_eq!(store.applied(), Ok(Seq(2)));
}

fn blobs_are_kept_by_hash<S: Store + Blobs>(open: &mut impl FnMut() -> S) {
    let large = vec![5; 100_000];
    let texts: [&[u8]; 3] = [b"", b"one", &large];
    let mut hashes = texts.map(BlobHash::of);
    let store = open();
    for text in texts {
        let hash = BlobHash::of(text);
        assert_eq!(store.get_blob(hash), Ok(None));
        store.put_blob(hash, text).expect("the blob is kept");
        store.put_blob(hash, text).expect("the same blob is kept once");
    }
    drop(store);
    let store = open();
    for text in texts {
        assert_eq!(store.get_blob(BlobHash::of(text)), Ok(Some(text.to_vec())));
    }
    hashes.sort_unstable();
    assert_eq!(store.list_blobs(), Ok(hashes.to_vec()));
    assert_eq!(store.delete_blob(hashes[1]), Ok(true));
    assert_eq!(store.delete_blob(hashes[1]), Ok(false));
    assert_eq!(store.get_blob(hashes[1]), Ok(None));
    assert_eq!(store.list_blobs(), Ok(vec![hashes[0], hashes[2]]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;

    #[test]
    fn the_model_passes() {
        run(|| {
            let store = MemoryStore::new();
            move || store.clone()
        });
    }

    #[test]
    fn a_crash_goes_back_to_a_write_point_behind_the_last_sync() {
        let store = MemoryStore::new();
        store.write(batch(1, &[(b"a", b"1")], &[])).unwrap();
        store.sync().unwrap();
        store.write(batch(2, &[(b"a", b"2"), (b"b", b"2")], &[])).unwrap();
        store.write(batch(3, &[(b"c", b"3")], &[b"a"])).unwrap();
        assert_eq!(store.unsynced(), 2);
        store.crash(1);
        assert_eq!((store.applied(), keys(&store, b"a", b"z", 9).len()), (Ok(Seq(2)), 2));
        assert_eq!(store.get(b"a"), Ok(Some(b"2".to_vec())));
        store.write(batch(3, &[], &[b"a"])).unwrap();
        store.crash(0);
        assert_eq!((store.applied(), store.get(b"a")), (Ok(Seq(2)), Ok(Some(b"2".to_vec()))));
    }

    #[test]
    fn planned_faults_are_told() {
        let store = MemoryStore::new();
        let hash = BlobHash::of(b"blob");
        store.put_blob(hash, b"blob").unwrap();
        assert!(store.damage_blob(hash));
        assert!(matches!(store.get_blob(hash), Err(StoreError::Damaged { .. })));
        store.fail(Some("planned"));
        assert!(matches!(store.write(batch(1, &[], &[])), Err(StoreError::Io { .. })));
        store.crash(0);
        assert_eq!(store.applied(), Ok(Seq::ZERO));
    }
}
