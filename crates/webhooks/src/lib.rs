//! Pushing the events of subscriptions to webhooks.
//!
//! For: sending each event of a subscription that has a webhook, signed as in Standard Webhooks, until it is taken. Not
//! for: which event is delivered, and how often (the machine decides, as for any consumer), or receiving webhooks.
//! Invariant: an event is acknowledged only after its webhook has taken it; a connection is made only to an address that
//! was checked, and to that very address; a secret is read when it is needed, and is in no message, record or log.

mod allow;
mod connect;
mod push;
mod secret;
mod send;
#[cfg(test)]
mod tls_tests;
mod watch;

pub use allow::{Allow, is_public};
pub use secret::Keys;
pub use watch::{Options, run};
