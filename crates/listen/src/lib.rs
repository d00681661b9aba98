//! What every interface that listens shares: connections, their bounds, and the rules of who may come in.
//!
//! For: `api-http` and `api-grpc`, on one address or on one each, so that neither is safer than the other. Not for: what
//! is asked over a connection, or how a refusal is worded (each door has its own words).
//! Invariant: a connection costs no more than its own seat, and no connection waits for ever: for its first request, for
//! the head of the next one, or for its peer to read.

mod accept;
pub mod access;
mod serve;
mod stream;

pub use accept::{Bounds, accept};
pub use serve::{BoxError, Caller, Closing, Door, NoDoor, ServeConfig, serve};
