//! What processes beside a server share that talk to another system.
//!
//! For: one process at a time under a name, trying again after a loss, which way things go. Not for: what is carried (see
//! `consort-mirror` and `consort-bridge`).
//! Invariant: nothing here knows which system the other side is.

mod direction;
mod lease;
mod retry;

pub use direction::Direction;
pub use lease::Lease;
pub use retry::{Lost, Retry, Side};
