//! What is printed: styles, tables, trees, the live view.
//!
//! For: turning documents into text. Not for: asking for them.
//! Invariant: everything here is a function of its arguments, but for the live view, which owns the terminal's end.

pub(crate) mod agent_name;
pub(crate) mod agents;
pub(crate) mod ballots;
pub(crate) mod history;
pub(crate) mod live;
pub(crate) mod locks;
pub(crate) mod markdown;
pub(crate) mod progress;
pub(crate) mod queues;
pub(crate) mod state;
pub(crate) mod step;
pub(crate) mod style;
pub(crate) mod table;
pub(crate) mod tree;
pub(crate) mod when;
