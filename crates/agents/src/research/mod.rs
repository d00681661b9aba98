//! The research assistant: answers from documents, with citations that can be checked.
//!
//! For: the pure inside of the `research.*` capabilities; it extracts and ranks, and needs no model.
//! Not for: durability, retries or fan-out (the engine does those) or for inventing a sentence.
//! Invariant: the same question and files give the same bytes, and every claim is a quote with its place.

mod extract;
pub mod model;
mod text;
