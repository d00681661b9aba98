//! Pages of listings.
//!
//! For: what every listing has in common. Not for: what is listed.
//! Invariant: a listing is a bounded page with a cursor, so that a reader never holds the loop for long.

use consort_types::limits;

/// A page of a listing.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page begins; `None` at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The page size for a requested one.
pub(crate) fn bounded(limit: usize) -> usize {
    limit.clamp(1, limits::PAGE_ITEMS_MAX)
}

pub(crate) fn bad_cursor(cursor: &str) -> consort_types::Error {
    consort_types::Error::new(consort_types::Code::BadCursor, format!("`{cursor}` is not a cursor of this listing"))
        .hint("start again without a cursor")
}
