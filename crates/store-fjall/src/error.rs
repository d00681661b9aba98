//! fjall's errors in the words of the store.
//!
//! For: telling damage from a refusal of the disk. Not for: hiding the cause (its text is kept).
//! Invariant: whatever fails a checksum, or does not parse, is damage.

use std::{io, path::Path};

use consort_store::StoreError;
use fjall::{Error, LsmError};

/// A refusal of the disk, or damage where a file ends too early.
pub(crate) fn io(place: &Path, error: &io::Error) -> StoreError {
    let (place, what) = (place.display().to_string(), error.to_string());
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => StoreError::Damaged { place, what },
        _ => StoreError::Io { place, what },
    }
}

/// What fjall said about the rows in `place`.
pub(crate) fn rows(place: &Path, error: &Error) -> StoreError {
    let text = || place.display().to_string();
    match error {
        Error::Io(inner) | Error::Storage(LsmError::Io(inner)) => match inner.kind() {
            // A file that is not there, one that would be made a second time because another is not there, or an offset that a damaged
            // file names and no file has.
            io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists | io::ErrorKind::InvalidInput => {
                StoreError::Damaged { place: text(), what: inner.to_string() }
            }
            _ => io(place, inner),
        },
        Error::InvalidVersion(version) => {
            let what = format!("its rows have fjall format `{version:?}`, this version of Consort reads 3");
            StoreError::BadFormat { place: text(), what }
        }
        Error::Poisoned => StoreError::Poisoned { why: format!("a write to `{}` failed", text()) },
        Error::Locked => StoreError::Locked { place: text() },
        other => StoreError::Damaged { place: text(), what: other.to_string() },
    }
}
