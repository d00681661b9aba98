//! What processes beside a server share that talk to another system.
//!
//! For: one process at a time under a name, trying again after a loss, what is told once, which way things go,
//! addresses with a user. Not for: what is carried (see
//! `consort-mirror` and `consort-bridge`).
//! Invariant: nothing here knows which system the other side is.

mod address;
mod direction;
mod lease;
mod retry;
mod told;

pub use address::{Authority, authority, without_user};
pub use direction::Direction;
pub use lease::Lease;
pub use retry::{Lost, Retry, Side};
pub use told::Told;
