//! Built-in agents, each on the worker SDK alone.
//!
//! For: useful work out of the box. Not for: reaching into the engine; these are agents like anyone's.
//! Invariant: an agent declares the schemas and the effect class of every capability that it offers.

pub mod research;
