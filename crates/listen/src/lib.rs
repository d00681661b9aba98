//! What every listening interface shares: connections, their limits, and the access rules.
//!
//! For: `api-http` and `api-grpc`, on one address or on one each, so that neither is safer than the other. Not for: what
//! is asked over a connection, or how a refusal is worded (each door has its own words).
//! Invariant: a connection costs no more than its own permit, and no connection waits without a time limit: for its
//! first request, for the head of the next one, or for its peer to read. Peers that ask nothing keep none out that asks.

mod accept;
pub mod access;
mod newcomer;
mod serve;
mod stream;

pub use accept::{Bounds, accept};
pub use newcomer::Newcomer;
pub use serve::{BoxError, Caller, Closing, Door, NoDoor, ServeConfig, serve};
