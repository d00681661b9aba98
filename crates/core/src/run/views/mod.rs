//! Views of runs, for people and programs.
//!
//! For: reading runs, their steps and their history. Not for: changing anything.
//! Invariant: every listing is a bounded page with a cursor, so that a reader never holds the loop for long.

pub(crate) mod admission;
pub(crate) mod beside;
pub(crate) mod compare;
pub(crate) mod filter;
pub(crate) mod history;
pub(crate) mod listing;
pub(crate) mod replay;
pub(crate) mod search;
pub(crate) mod signals;
pub(crate) mod steps;
pub(crate) mod tree;
