//! What rows say without a machine.
//!
//! For: backups and snapshots, which keep rows and must know which blobs belong to them, and their log time.
//! Not for: anything that a machine can be asked.
//! Invariant: it reads the same rows as the machine, by the same keys.

use consort_types::{BlobHash, Code, Error, Result, Time};

use crate::{
    state::{TABLES, rows::Meta},
    tables::Key as _,
};

/// The blob that the row at a key says is used; `None` for rows that say so of no blob.
pub fn blob_used_by(key: &[u8]) -> Option<BlobHash> {
    TABLES.blobs.has(key).then(|| BlobHash::decode(&key[1..])).flatten()
}

/// The key of the row that [`time_in`] reads.
pub fn time_key() -> Vec<u8> {
    vec![TABLES.meta.prefix]
}

/// Log time: that of the last record that the rows reflect. `row` is the row at [`time_key`], where there is one.
///
/// # Errors
/// [`Code::Damaged`] where the row cannot be read.
pub fn time_in(row: Option<&[u8]>) -> Result<Time> {
    let Some(row) = row else { return Ok(Time(0)) };
    let meta: Meta = minicbor::decode(row)
        .map_err(|error| Error::new(Code::Damaged, format!("the row of the state cannot be read: {error}")))?;
    Ok(meta.now)
}
