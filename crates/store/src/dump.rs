//! The rows of a store as chunks of bytes, from which a store of any kind can be made again.
//!
//! For: backups and snapshots, which must not depend on the files of one implementation. Not for: keeping the chunks.
//! Invariant: the same rows give the same chunks, and a changed row changes the chunk that it is in and no other, so
//! that a second dump mostly consists of chunks that are there already.
//!
//! A chunk begins with [`MAGIC`]; then follow its rows in the order of their keys, each as the length of its key and of
//! its value (32 bits each, little endian), the key and the value. A chunk ends behind a row whose key says so by its
//! hash, or once it is large.

use std::collections::VecDeque;

use consort_types::BlobHash;

use crate::{KEY_BYTES_MAX, Row, Snapshot, StoreError};

/// What a chunk begins with; the digits are the version of its format.
pub const MAGIC: [u8; 8] = *b"CRows001";
/// Of so many rows one ends its chunk, on average.
const ROWS_PER_CHUNK: u64 = 512;
/// A chunk is not ended by a key before it has so many bytes.
const CHUNK_BYTES_MIN: usize = 16 * 1024;
/// A chunk ends, whatever its keys are, once it has so many bytes.
const CHUNK_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Rows that are read at once.
const PAGE_ROWS: usize = 1_024;
/// Behind every key of the tables.
const PAST: [u8; 16] = [0xff; 16];

/// The chunks of a snapshot, in the order of their rows. After an error it ends.
pub struct Chunks<'a> {
    snapshot: &'a dyn Snapshot,
    rows: VecDeque<Row>,
    /// Where the next page begins; `None` at the end.
    from: Option<Vec<u8>>,
}

impl<'a> Chunks<'a> {
    /// The chunks of a snapshot. None of its keys begins with 16 bytes `0xff`.
    pub fn of(snapshot: &'a dyn Snapshot) -> Self {
        Self { snapshot, rows: VecDeque::new(), from: Some(Vec::new()) }
    }

    fn next_row(&mut self) -> Result<Option<Row>, StoreError> {
        if self.rows.is_empty()
            && let Some(from) = self.from.take()
        {
            let page = self.snapshot.scan(&from, &PAST, PAGE_ROWS)?;
            if page.len() == PAGE_ROWS {
                self.from = page.last().map(|(key, _)| [key.as_slice(), &[0]].concat());
            }
            self.rows = page.into();
        }
        Ok(self.rows.pop_front())
    }

    fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        let mut chunk = Vec::new();
        while let Some((key, value)) = self.next_row()? {
            if chunk.is_empty() {
                chunk.extend(MAGIC);
            }
            put_row(&mut chunk, &key, &value);
            if chunk.len() >= CHUNK_BYTES_MAX || (chunk.len() >= CHUNK_BYTES_MIN && ends_chunk(&key)) {
                break;
            }
        }
        Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
    }
}

impl Iterator for Chunks<'_> {
    type Item = Result<Vec<u8>, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let chunk = self.next_chunk().transpose();
        if let Some(Err(_)) = &chunk {
            (self.from, self.rows) = (None, VecDeque::new());
        }
        chunk
    }
}

fn put_row(chunk: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    for part in [key, value] {
        let length = u32::try_from(part.len()).expect("a row is far smaller than 4 GiB");
        chunk.extend(length.to_le_bytes());
    }
    chunk.extend_from_slice(key);
    chunk.extend_from_slice(value);
}

/// Chosen by the key alone: a row that comes or goes moves no other boundary.
fn ends_chunk(key: &[u8]) -> bool {
    let hash = BlobHash::of(key).0;
    let number = hash[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    number.is_multiple_of(ROWS_PER_CHUNK)
}

/// The rows of a chunk, in order; an item is `None`, and the last, where the bytes are no chunk.
pub fn rows_of(chunk: &[u8]) -> impl Iterator<Item = Option<(&[u8], &[u8])>> {
    let mut rest = chunk.strip_prefix(&MAGIC);
    let mut begun = false;
    std::iter::from_fn(move || {
        let Some(bytes) = rest else {
            return (!std::mem::replace(&mut begun, true)).then_some(None);
        };
        begun = true;
        if bytes.is_empty() {
            return None;
        }
        let row = split_row(bytes);
        rest = row.map(|(_, _, rest)| rest);
        if row.is_none() {
            return Some(None);
        }
        row.map(|(key, value, _)| Some((key, value)))
    })
}

fn split_row(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (lengths, rest) = bytes.split_at_checked(8)?;
    let length = |at: usize| lengths[at..at + 4].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte));
    let (key_bytes, value_bytes) = (length(0), length(4));
    if key_bytes == 0 || key_bytes > KEY_BYTES_MAX {
        return None;
    }
    let (key, rest) = rest.split_at_checked(key_bytes)?;
    let (value, rest) = rest.split_at_checked(value_bytes)?;
    Some((key, value, rest))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use consort_types::Seq;

    use super::*;
    use crate::{Batch, MemoryStore, Store};

    fn store(rows: u32) -> MemoryStore {
        let store = MemoryStore::new();
        let mut batch = Batch::new(Seq(1));
        for number in 0..rows {
            batch.put(number.to_be_bytes(), vec![7; 100]);
        }
        store.write(batch).unwrap();
        store
    }

    fn chunks(store: &MemoryStore) -> Vec<Vec<u8>> {
        let snapshot = store.snapshot().unwrap();
        Chunks::of(&*snapshot).collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn a_dump_has_every_row_once_and_in_order() {
        for rows in [0, 1, 1_023, 1_024, 1_025, 20_000] {
            let chunks = chunks(&store(rows));
            let read: Vec<_> = chunks.iter().flat_map(|chunk| rows_of(chunk)).collect();
            let keys: Vec<Vec<u8>> = read.iter().map(|row| row.expect("a row").0.to_vec()).collect();
            assert_eq!(keys, (0..rows).map(|number| number.to_be_bytes().to_vec()).collect::<Vec<_>>());
            assert!(read.iter().all(|row| row.expect("a row").1 == [7; 100]));
        }
        assert!(chunks(&store(20_000)).len() > 10, "it is in pieces");
    }

    #[test]
    fn a_change_is_in_few_chunks() {
        let store = store(20_000);
        let before: BTreeSet<_> = chunks(&store).into_iter().collect();
        let mut batch = Batch::new(Seq(2));
        batch.put(5_000u32.to_be_bytes(), *b"changed");
        batch.put([5_001u32.to_be_bytes().as_slice(), b"new"].concat(), *b"new");
        batch.delete(15_000u32.to_be_bytes());
        store.write(batch).unwrap();
        let after: BTreeSet<_> = chunks(&store).into_iter().collect();
        let fresh = after.difference(&before).count();
        assert!((1..=6).contains(&fresh), "{fresh} of {} chunks", after.len());
    }

    #[test]
    fn what_is_no_chunk_is_told() {
        let whole = chunks(&store(100)).remove(0);
        let bad = |bytes: &[u8]| rows_of(bytes).last().is_none_or(|row| row.is_none());
        assert!(!bad(&whole));
        assert!(bad(b"") && bad(b"CRows002") && bad(&whole[..whole.len() - 1]) && bad(&whole[1..]));
        assert!(rows_of(&[MAGIC.as_slice(), &[0; 8]].concat()).all(|row| row.is_none()));
        assert!(rows_of(&[MAGIC.as_slice(), &[0xff; 16]].concat()).all(|row| row.is_none()));
    }
}
