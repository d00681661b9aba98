//! Text as the research assistant sees it: terms, sentences, dates and rendering.
//!
//! For: pure functions over strings. Not for: files, ranking or what a question means.
//! Invariant: the same string gives the same answer everywhere; nothing here depends on locale, clock or hash order.

pub(crate) mod dates;
pub(crate) mod fold;
pub(crate) mod markup;
pub(crate) mod sentence;
pub(crate) mod words;
