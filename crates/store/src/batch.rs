//! One atomic change of a store.
//!
//! For: what the engine writes after it applied a group. Not for: ordering batches (their one writer does).
//! Invariant: a batch says which record of the log it brings the store to.

use consort_types::Seq;

use crate::{StoreError, store::check_key};

/// Changes that become visible together. Deletes come first, then puts: a key that is in both is put.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Rows to set.
    pub puts: Vec<(Vec<u8>, Vec<u8>)>,
    /// Keys to remove; one that is not there is no error.
    pub deletes: Vec<Vec<u8>>,
    /// The last record of the log that is reflected once the batch is written. It never goes back.
    pub applied: Seq,
}

impl Batch {
    /// A batch that brings the store to this record.
    pub fn new(applied: Seq) -> Self {
        Self { puts: Vec::new(), deletes: Vec::new(), applied }
    }

    /// Sets a row.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.puts.push((key.into(), value.into()));
    }

    /// Refuses keys over the limit, before anything of the batch is written.
    pub fn check(&self) -> Result<(), StoreError> {
        self.puts.iter().map(|(key, _)| key).chain(&self.deletes).try_for_each(|key| check_key(key))
    }

    /// Removes a row.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) {
        self.deletes.push(key.into());
    }
}
