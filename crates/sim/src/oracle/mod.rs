//! The oracles: what must hold whatever goes wrong.
//!
//! For: judging the product by what it records and writes. Not for: making things go wrong.
//! Invariant: an oracle looks at records, rows and messages, never at what the product says of itself.

mod auctions;
mod ballots;
mod bus;
mod flow;
mod fold;
mod injected_bugs;
mod locks;
mod reference;
mod rows;
mod schedules;
mod space;

pub(crate) use fold::Fold;
pub(crate) use reference::{Reference, signal_payload};
