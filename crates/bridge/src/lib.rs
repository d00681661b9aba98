//! Bridges the event bus of a namespace to and from NATS JetStream, RabbitMQ and Redis Streams, at least once.
//!
//! For: a process beside a server (`consort events bridge`), with the connectors it needs. Not for: the event bus itself,
//! and not for the command line.
//! Invariant: what was delivered is acknowledged only after the side that it goes to has confirmed it, so that whatever is
//! killed, an event is carried again and never lost; an event that came from a bridge is not sent back by it.

mod address;
mod bridge;
mod carry;
mod incoming;
mod nats;
mod options;
mod outgoing;
mod peer;
mod rabbit;
mod redis;
mod report;

pub use address::Address;
pub use bridge::Bridge;
pub use consort_peering::{Direction, Side};
pub use options::{Options, Start};
pub use report::{Counts, Event};
