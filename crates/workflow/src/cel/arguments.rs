//! What functions take from their arguments.
//!
//! For: values of the right kind, or a fault that names the function. Not for: how many there are (see `catalog`).
//! Invariant: positions lie within the value that they are positions of.

use std::borrow::Cow;

use serde_json::Value;

use super::value::{Fault, Outcome, kind_name};

/// The elements of a list; `name` is the function that wants them.
pub(super) fn list<'v>(value: &'v Value, name: &str) -> Outcome<&'v Vec<Value>> {
    value.as_array().ok_or_else(|| Fault::new(format!("`{name}` needs a list, found {}", kind_name(value))))
}

pub(super) fn whole(value: &Value, name: &str) -> Outcome<i64> {
    value.as_i64().ok_or_else(|| Fault::new(format!("`{name}` needs a whole number, found {}", kind_name(value))))
}

/// Reads `[start]` or `[start, end]`, which must lie within `length`.
pub(super) fn bounds(arguments: &[Cow<'_, Value>], length: usize, name: &str) -> Outcome<(usize, usize)> {
    let start = whole(&arguments[0], name)?;
    let end = arguments.get(1).map_or(Ok(i64::try_from(length).unwrap_or(i64::MAX)), |end| whole(end, name))?;
    if let (Ok(start), Ok(end)) = (usize::try_from(start), usize::try_from(end))
        && start <= end
        && end <= length
    {
        return Ok((start, end));
    }
    Err(Fault::new(format!("`{name}` from {start} to {end} is outside of 0 to {length}")))
}
