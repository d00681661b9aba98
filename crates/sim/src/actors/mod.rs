//! Actors: everything that acts in a world, one a file.
//!
//! For: the list of them. Not for: what they share (see `context`) or when they act (see `world`).
//! Invariant: no actor knows another one; each owns its own state, and one without state is a set of functions.

pub(crate) mod approver;
pub(crate) mod bus;
pub(crate) mod candidate;
pub(crate) mod chaos;
pub(crate) mod door;
pub(crate) mod fleet;
pub(crate) mod judge;
pub(crate) mod liar;
pub(crate) mod operator;
pub(crate) mod process;
pub(crate) mod registers;
pub(crate) mod registrar;
pub(crate) mod scheduler;
pub(crate) mod sharer;
pub(crate) mod starter;
pub(crate) mod voters;
pub(crate) mod worker;
