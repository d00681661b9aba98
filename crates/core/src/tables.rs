//! Typed tables over ordered byte rows: buffered writes, cached reads.
//!
//! For: giving the machine `get`, `put`, `delete` and `range` on typed rows. Not for: durability (the log
//! has it) or knowing what a row means.
//! Invariant: a read sees every write before it; what [`Table::take`] returns is written to the backing before it may
//! be evicted, so overlay and backing together are always the whole state. No key in a table is longer than
//! [`limits::KEY_ENCODED_BYTES_MAX`].

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::Arc,
};

use consort_types::{BlobHash, Code, Error, Result, limits};
use minicbor::{Decode, Encode};

/// Where rows rest: a store, read at a point no older than the last rows written to it.
pub trait Backing: Send + Sync {
    /// The row at `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>>;
    /// At most `limit` rows from `from` (inclusive) to `to` (exclusive), in key order.
    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>>;
    /// The bytes of a blob, verified against its hash.
    fn blob(&self, hash: &BlobHash) -> Result<Option<Vec<u8>>>;
}

/// A key whose bytes sort as the key does.
pub trait Key: Ord + Clone {
    /// Appends the bytes.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads them back; `None` where the bytes are not such a key.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

/// A row that can be encoded, with an estimate of its memory.
pub trait Row: Clone + Send + Sync + 'static + Encode<()> + for<'b> Decode<'b, ()> {
    /// Rough size in memory, in bytes, for the bounded cache.
    fn weight(&self) -> usize {
        192
    }
}

#[derive(Debug)]
struct Slot<R> {
    row: Option<Arc<R>>,
    /// Whether the backing may hold a row at this key.
    stored: bool,
    /// The generation of changes that carries this row, where it is not written yet.
    dirty: Option<u64>,
}

/// Changed rows on their way to the backing, in no particular order; no key is in it twice. Rows are shared, not yet
/// encoded, so that the writer can do that work outside of the machine's thread.
#[derive(Default)]
pub struct Changes {
    puts: Vec<(Vec<u8>, Arc<dyn Encodable>)>,
    deletes: Vec<Vec<u8>>,
}

/// Changed rows as bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodedChanges {
    /// Rows to put.
    pub puts: Vec<(Vec<u8>, Vec<u8>)>,
    /// Keys to delete.
    pub deletes: Vec<Vec<u8>>,
}

impl Changes {
    /// Encodes the rows.
    pub fn encode(self) -> EncodedChanges {
        let puts = self.puts.into_iter().map(|(key, row)| (key, row.bytes())).collect();
        EncodedChanges { puts, deletes: self.deletes }
    }
}

impl std::fmt::Debug for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Changes").field("puts", &self.puts.len()).field("deletes", &self.deletes.len()).finish()
    }
}

/// A row whose type is forgotten.
trait Encodable: Send + Sync {
    fn bytes(&self) -> Vec<u8>;
}

impl<R: Row> Encodable for R {
    fn bytes(&self) -> Vec<u8> {
        encode_row(self)
    }
}

/// One typed table: an overlay of changed and recently read rows over the backing.
pub struct Table<K, R> {
    prefix: u8,
    backing: Arc<dyn Backing>,
    overlay: BTreeMap<K, Slot<R>>,
    /// Keys changed since the last [`Table::take`].
    changed: Vec<K>,
    /// Keys returned and not confirmed, by generation.
    in_flight: VecDeque<(u64, Vec<K>)>,
    generation: u64,
    clean: VecDeque<K>,
    clean_max: usize,
    /// Room for the bytes of a key.
    scratch: Vec<u8>,
    /// Changes made since the table was opened.
    writes: u64,
}

impl<K: Key, R: Row> Table<K, R> {
    /// A table under its own key prefix, which keeps at most `clean_max` unchanged rows in memory.
    pub fn new(prefix: u8, backing: Arc<dyn Backing>, clean_max: usize) -> Self {
        Self {
            prefix,
            backing,
            overlay: BTreeMap::new(),
            changed: Vec::new(),
            in_flight: VecDeque::new(),
            generation: 1,
            clean: VecDeque::new(),
            clean_max,
            scratch: Vec::new(),
            writes: 0,
        }
    }

    fn bytes_of(&self, key: &K) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(40);
        self.put_bytes(key, &mut bytes);
        bytes
    }

    fn put_bytes(&self, key: &K, bytes: &mut Vec<u8>) {
        bytes.push(self.prefix);
        key.encode(bytes);
    }

    /// The bytes of a key that may be read; `None` where no row can have it.
    fn bytes_if_short(&self, key: &K) -> Option<Vec<u8>> {
        Some(self.bytes_of(key)).filter(|bytes| bytes.len() <= limits::KEY_ENCODED_BYTES_MAX)
    }

    /// The bytes of an end of a range. One that is too long is cut: the bytes sort between the same two possible keys,
    /// since those are no longer than what is left.
    fn bytes_of_end(&self, key: &K) -> Vec<u8> {
        let mut bytes = self.bytes_of(key);
        if bytes.len() > limits::KEY_ENCODED_BYTES_MAX {
            bytes.truncate(limits::KEY_ENCODED_BYTES_MAX);
            bytes.push(0);
        }
        bytes
    }

    /// Commands and requests are checked before they are applied, so no text of them makes a key too long.
    fn assert_short(&mut self, key: &K) {
        // A key without a text is as short as its type: looking at its bytes at each write would cost more than the
        // rest of the write.
        if !mem::needs_drop::<K>() {
            return;
        }
        let mut bytes = mem::take(&mut self.scratch);
        bytes.clear();
        self.put_bytes(key, &mut bytes);
        let (length, max) = (bytes.len(), limits::KEY_ENCODED_BYTES_MAX);
        assert!(length <= max, "a key of table `{}` has {length} bytes, the limit is {max}", self.prefix as char);
        self.scratch = bytes;
    }

    fn decode_row(&self, key: &[u8], bytes: &[u8]) -> Result<R> {
        minicbor::decode(bytes).map_err(|_| {
            Error::new(Code::Damaged, format!("a row of table `{}` cannot be read", self.prefix as char))
                .hint(format!("its key is {key:02x?}; restore the store from a backup, or fold the log again"))
        })
    }

    /// The row at `key`, to be changed.
    pub fn get(&mut self, key: &K) -> Result<Option<R>> {
        Ok(self.get_shared(key)?.map(Arc::unwrap_or_clone))
    }

    /// The row at `key`, shared: for reading only.
    pub fn get_shared(&mut self, key: &K) -> Result<Option<Arc<R>>> {
        if let Some(slot) = self.overlay.get(key) {
            return Ok(slot.row.clone());
        }
        let Some(bytes) = self.bytes_if_short(key) else { return Ok(None) };
        let Some(found) = self.backing.get(&bytes)? else { return Ok(None) };
        let row = Arc::new(self.decode_row(&bytes, &found)?);
        self.overlay.insert(key.clone(), Slot { row: Some(Arc::clone(&row)), stored: true, dirty: None });
        self.keep_clean(key.clone());
        Ok(Some(row))
    }

    /// The row at `key` without keeping it in the cache, for readers that do not own the table.
    pub fn read_uncached(&self, key: &K) -> Result<Option<R>> {
        if let Some(slot) = self.overlay.get(key) {
            return Ok(slot.row.as_deref().cloned());
        }
        let Some(bytes) = self.bytes_if_short(key) else { return Ok(None) };
        self.backing.get(&bytes)?.map(|found| self.decode_row(&bytes, &found)).transpose()
    }

    /// Sets the row at `key`.
    ///
    /// # Panics
    /// Where the key has more than [`limits::KEY_ENCODED_BYTES_MAX`] bytes: commands that would make one are refused.
    pub fn put(&mut self, key: K, row: R) {
        self.set(key, Some(row), true);
    }

    /// Sets a row at a key that has never had one, which spares the backing a deletion if it goes soon.
    ///
    /// # Panics
    /// As [`Table::put`].
    pub fn insert_new(&mut self, key: K, row: R) {
        self.set(key, Some(row), false);
    }

    /// Removes the row at `key`.
    pub fn delete(&mut self, key: &K) {
        self.writes += 1;
        if let Some(slot) = self.overlay.get(key)
            && !slot.stored
        {
            // It never reached the backing. A stale entry in `changed` is skipped by `take`.
            self.overlay.remove(key);
            return;
        }
        if self.bytes_if_short(key).is_none() {
            return;
        }
        self.set(key.clone(), None, true);
    }

    fn set(&mut self, key: K, row: Option<R>, stored: bool) {
        self.assert_short(&key);
        self.writes += 1;
        let row = row.map(Arc::new);
        let generation = self.generation;
        if let Some(slot) = self.overlay.get_mut(&key) {
            slot.row = row;
            if slot.dirty != Some(generation) {
                slot.dirty = Some(generation);
                self.changed.push(key);
            }
        } else {
            self.overlay.insert(key.clone(), Slot { row, stored, dirty: Some(generation) });
            self.changed.push(key);
        }
    }

    /// At most `limit` rows from `from` (inclusive) to `to` (exclusive), in key order. What it costs follows `limit`
    /// and the rows in between that were deleted and are still in the backing, not the width of the range.
    pub fn range(&self, from: &K, to: &K, limit: usize) -> Result<Vec<(K, R)>> {
        if from >= to || limit == 0 {
            return Ok(Vec::new());
        }
        let mut rows = BTreeMap::new();
        let mut hidden = 0;
        // Behind the last row that is known to be there, the backing has nothing that would still fit.
        let mut last = to;
        for (key, slot) in self.overlay.range(from.clone()..to.clone()) {
            let Some(row) = &slot.row else {
                hidden += 1;
                continue;
            };
            rows.insert(key.clone(), R::clone(row));
            if rows.len() == limit {
                last = key;
                break;
            }
        }
        for (bytes, row) in self.backing.scan(&self.bytes_of_end(from), &self.bytes_of_end(last), limit + hidden)? {
            let Some(key) = K::decode(&bytes[1..]) else {
                return Err(Error::new(
                    Code::Damaged,
                    format!("a key of table `{}` cannot be read", self.prefix as char),
                ));
            };
            if !self.overlay.contains_key(&key) {
                let row = self.decode_row(&bytes, &row)?;
                rows.insert(key, row);
            }
        }
        Ok(rows.into_iter().take(limit).collect())
    }

    /// How many rows there are from `from` (inclusive) to `to` (exclusive), counted up to `limit`.
    pub fn count(&self, from: &K, to: &K, limit: usize) -> Result<usize> {
        if from >= to {
            return Ok(0);
        }
        let known = self.overlay.range(from.clone()..to.clone());
        let known: BTreeMap<Vec<u8>, bool> =
            known.map(|(key, slot)| (self.bytes_of(key), slot.row.is_some())).collect();
        let present = known.values().filter(|there| **there).count();
        if present >= limit {
            return Ok(limit);
        }
        let stored = self.backing.scan(&self.bytes_of_end(from), &self.bytes_of_end(to), limit + known.len())?;
        let only_stored = stored.iter().filter(|(bytes, _)| !known.contains_key(bytes)).count();
        Ok((present + only_stored).min(limit))
    }

    /// Returns every change since the last call.
    pub fn take(&mut self, changes: &mut Changes) -> u64 {
        let generation = self.generation;
        self.generation += 1;
        let keys = mem::take(&mut self.changed);
        let mut handed = Vec::with_capacity(keys.len());
        for key in keys {
            let bytes = self.bytes_of(&key);
            let Some(slot) = self.overlay.get_mut(&key).filter(|slot| slot.dirty == Some(generation)) else {
                continue;
            };
            match &slot.row {
                Some(row) => changes.puts.push((bytes, Arc::clone(row) as Arc<dyn Encodable>)),
                None => changes.deletes.push(bytes),
            }
            slot.stored = true;
            handed.push(key);
        }
        self.in_flight.push_back((generation, handed));
        generation
    }

    /// Notes that changes up to `generation` are in the backing.
    pub fn written(&mut self, generation: u64) {
        while self.in_flight.front().is_some_and(|(taken, _)| *taken <= generation) {
            let Some((taken, keys)) = self.in_flight.pop_front() else { break };
            for key in keys {
                let Some(slot) = self.overlay.get_mut(&key) else { continue };
                if slot.dirty != Some(taken) {
                    continue;
                }
                slot.dirty = None;
                if slot.row.is_none() {
                    self.overlay.remove(&key);
                } else {
                    self.keep_clean(key);
                }
            }
        }
    }

    fn keep_clean(&mut self, key: K) {
        self.clean.push_back(key);
        while self.clean.len() > self.clean_max {
            let Some(oldest) = self.clean.pop_front() else { break };
            if self.overlay.get(&oldest).is_some_and(|slot| slot.dirty.is_none()) {
                self.overlay.remove(&oldest);
            }
        }
    }

    /// Forgets unchanged rows: they are read again from the backing when they are needed.
    pub fn forget_clean(&mut self) {
        for key in std::mem::take(&mut self.clean) {
            if self.overlay.get(&key).is_some_and(|slot| slot.dirty.is_none()) {
                self.overlay.remove(&key);
            }
        }
    }

    /// How many changes were made since the table was opened; a change that is taken back counts too.
    pub fn writes(&self) -> u64 {
        self.writes
    }

    /// How many changed rows wait for [`Table::take`].
    pub fn changed(&self) -> usize {
        self.changed.len()
    }
}

fn encode_row<R: Row>(row: &R) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    // Writing to a vector cannot fail, and the derived encoders have no error of their own.
    let written = minicbor::encode(row, &mut bytes);
    assert!(written.is_ok(), "a row encodes");
    bytes
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Memory(Mutex<BTreeMap<Vec<u8>, Vec<u8>>>);

    impl Memory {
        fn write(&self, changes: Changes) {
            let changes = changes.encode();
            let mut rows = self.0.lock().unwrap();
            rows.extend(changes.puts);
            for key in changes.deletes {
                assert!(rows.remove(&key).is_some(), "only stored rows are deleted");
            }
        }
    }

    impl Backing for Memory {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
            Ok(self.0.lock().unwrap().get(key).cloned())
        }

        fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
            let rows = self.0.lock().unwrap();
            Ok(rows.range(from.to_vec()..to.to_vec()).take(limit).map(|(k, v)| (k.clone(), v.clone())).collect())
        }

        fn blob(&self, _: &BlobHash) -> Result<Option<Vec<u8>>> {
            Ok(None)
        }
    }

    impl Key for u32 {
        fn encode(&self, out: &mut Vec<u8>) {
            out.extend(self.to_be_bytes());
        }

        fn decode(bytes: &[u8]) -> Option<Self> {
            Some(Self::from_be_bytes(bytes.try_into().ok()?))
        }
    }

    impl Row for u64 {}

    fn flush(table: &mut Table<u32, u64>, memory: &Memory) {
        let mut changes = Changes::default();
        let generation = table.take(&mut changes);
        memory.write(changes);
        table.written(generation);
    }

    #[test]
    fn overlay_and_backing_are_one_table() {
        let memory = Arc::new(Memory::default());
        let mut table: Table<u32, u64> = Table::new(b'x', memory.clone(), 2);
        (0..6).for_each(|key| table.put(key, u64::from(key) * 10));
        flush(&mut table, &memory);
        table.put(2, 21);
        table.delete(&3);
        table.insert_new(9, 90);
        table.delete(&9);
        assert_eq!(table.range(&1, &5, 10).unwrap(), vec![(1, 10), (2, 21), (4, 40)]);
        assert_eq!(table.range(&1, &9, 2).unwrap(), vec![(1, 10), (2, 21)]);
        assert_eq!((table.count(&1, &9, 9).unwrap(), table.count(&1, &9, 2).unwrap()), (4, 2));
        assert_eq!((table.count(&1, &3, 9).unwrap(), table.count(&5, &5, 9).unwrap()), (2, 0));
        assert_eq!(table.get(&3).unwrap(), None);
        assert_eq!(table.get(&5).unwrap(), Some(50));
        flush(&mut table, &memory);
        assert_eq!(memory.0.lock().unwrap().len(), 5);
    }

    #[test]
    fn forgetting_keeps_what_is_not_written() {
        let memory = Arc::new(Memory::default());
        let mut table: Table<u32, u64> = Table::new(b'x', memory.clone(), 9);
        (0..6).for_each(|key| table.put(key, u64::from(key) * 10));
        flush(&mut table, &memory);
        assert_eq!(table.overlay.len(), 6, "written rows are kept as they are");
        table.put(2, 21);
        table.delete(&3);
        table.forget_clean();
        assert_eq!(table.overlay.len(), 2, "only changed rows are left");
        assert_eq!(table.range(&1, &5, 10).unwrap(), vec![(1, 10), (2, 21), (4, 40)]);
        flush(&mut table, &memory);
        table.forget_clean();
        assert_eq!((table.get(&2).unwrap(), table.get(&3).unwrap()), (Some(21), None));
    }

    impl Key for String {
        fn encode(&self, out: &mut Vec<u8>) {
            out.extend(self.as_bytes());
        }

        fn decode(bytes: &[u8]) -> Option<Self> {
            String::from_utf8(bytes.to_vec()).ok()
        }
    }

    #[test]
    fn a_key_that_is_too_long_is_not_there_and_cannot_be_put() {
        let memory = Arc::new(Memory::default());
        let mut table: Table<String, u64> = Table::new(b'x', memory.clone(), 0);
        let longest = "m".repeat(limits::KEY_ENCODED_BYTES_MAX - 1);
        let keys = ["l".to_owned(), longest.clone(), "n".to_owned()];
        for key in &keys {
            table.put(key.clone(), 1);
        }
        let mut changes = Changes::default();
        let generation = table.take(&mut changes);
        memory.write(changes);
        table.written(generation);
        for bytes in [1, 2, 70_000] {
            let long = format!("{longest}{}", "m".repeat(bytes));
            assert_eq!((table.get(&long).unwrap(), table.read_uncached(&long).unwrap()), (None, None));
            table.delete(&long);
            let found = |from: &String, to: &String| table.range(from, to, 9).unwrap().len();
            assert_eq!((found(&keys[0], &long), found(&long, &"z".to_owned())), (2, 1), "{bytes}");
            assert_eq!(table.count(&keys[0], &long, 9).unwrap(), 2);
            let mut fresh: Table<String, u64> = Table::new(b'x', memory.clone(), 0);
            let put = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| fresh.put(long, 1)));
            assert!(put.unwrap_err().downcast_ref::<String>().unwrap().contains("the limit is 1024"));
        }
        assert_eq!(table.get(&longest).unwrap(), Some(1));
    }

    #[test]
    fn a_row_changed_while_it_is_being_written_is_written_again() {
        let memory = Arc::new(Memory::default());
        let mut table: Table<u32, u64> = Table::new(b'x', memory.clone(), 0);
        table.insert_new(1, 1);
        let mut first = Changes::default();
        let generation = table.take(&mut first);
        table.put(1, 2);
        table.written(generation);
        memory.write(first);
        assert_eq!(table.get(&1).unwrap(), Some(2));
        flush(&mut table, &memory);
        assert_eq!(table.get(&1).unwrap(), Some(2));
        table.delete(&1);
        flush(&mut table, &memory);
        assert!(memory.0.lock().unwrap().is_empty());
    }
}
