//! The research assistant: answers from documents, with citations that can be checked.
//!
//! For: the pure inside of the `research.*` capabilities; it extracts and ranks, and needs no model.
//! Not for: durability, retries or fan-out (the engine does those) or for inventing a sentence.
//! Invariant: the same question and files give the same bytes, and every claim is a quote with its place.

mod agents;
mod analyze;
mod config;
mod corpus;
pub mod evaluation;
mod extract;
mod index;
pub mod model;
mod pipeline;
mod plan;
mod review;
mod score;
mod search;
mod semantic;
mod text;
mod validate;
mod write;

pub use agents::agent;
pub use analyze::analyze;
pub use config::{Observer, ResearchConfig, Silent};
pub use extract::pdf_child_main;
pub use index::Library;
pub use pipeline::{Outcome, run};
pub use plan::plan;
pub use review::review;
pub use search::search;
pub use validate::validate;
pub use write::write;
