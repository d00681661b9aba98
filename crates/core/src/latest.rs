//! The latest failures, kept with the row of what has failed.
//!
//! For: bounding how many are kept, and how long each is. Not for: counting them.
//! Invariant: the newest is last, and a row grows by no failure once its list is full.

use consort_types::{Error, text::truncate};

/// Bytes of the message of a failure that are kept.
const MESSAGE_BYTES: usize = 512;

/// Adds the newest; the oldest goes where there are `max`.
pub(crate) fn push<T>(list: &mut Vec<T>, item: T, max: usize) {
    if list.len() >= max {
        list.remove(0);
    }
    list.push(item);
}

/// The error as it is kept.
pub(crate) fn brief(mut error: Error) -> Error {
    truncate(&mut error.message, MESSAGE_BYTES);
    error
}
