//! Errors that halt the partition, as opposed to those that refuse a command or fail a step.
//!
//! For: the one list of fatal codes. Not for: what the engine does about them.
//! Invariant: whether an error is fatal follows from its code alone.

use consort_types::{Code, Error, Result};

/// Whether an error means that the state can no longer be trusted, rather than that a command is refused or a step has
/// failed.
pub(crate) fn is_fatal(error: &Error) -> bool {
    matches!(error.code, Code::Damaged | Code::Disk | Code::BadFormat | Code::Internal | Code::Halted)
}

/// Separates errors that halt the partition (the outer ones) from those that fail a step.
pub(crate) fn split_fatal<T>(result: Result<T>) -> Result<Result<T, Error>> {
    match result {
        Err(error) if is_fatal(&error) => Err(error),
        other => Ok(other),
    }
}
