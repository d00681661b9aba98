//! The rows of runs.
//!
//! For: what is remembered of runs, and how it is encoded (CBOR arrays with field numbers; new fields go at the end and
//! are optional, so old rows stay readable). Not for: the rules that change it.
//! Invariant: the size of a row does not grow with the length of its run.

pub(crate) mod beside;
pub(crate) mod history;
pub(crate) mod run;
pub(crate) mod signal;
pub(crate) mod step;
