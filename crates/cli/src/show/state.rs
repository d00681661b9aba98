//! Values of shared state, and their writers, in a line.
//!
//! For: what the commands about keys and about spaces both show. Not for: tables.
//! Invariant: a value is shown as it is kept.

use consort_api::{Document, state::StateWriter};
use consort_types::Payload;

use super::style::cut;

/// Columns of a value in a listing.
const VALUE_WIDTH: usize = 60;

/// A document on one line, cut for a listing.
pub(crate) fn short(document: &Document) -> String {
    cut(&line(document), VALUE_WIDTH)
}

/// A document on one line, as it is kept.
pub(crate) fn line(document: &Document) -> String {
    let payload = Payload::from(document.clone());
    String::from_utf8_lossy(payload.bytes().unwrap_or_default()).replace(['\r', '\n'], " ")
}

/// Who wrote a value, in a few words.
pub(crate) fn writer(writer: &StateWriter) -> String {
    match (&writer.by, writer.run, &writer.step) {
        (Some(by), Some(run), Some(step)) => format!("{by} ({run} {step})"),
        (Some(by), ..) => by.clone(),
        (None, Some(run), _) => run.to_string(),
        (None, None, _) => String::new(),
    }
}
