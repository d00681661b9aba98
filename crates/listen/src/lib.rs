//! What every interface that listens shares: the accept loop, and the rules of who may come in.
//!
//! For: `api-http` and `api-grpc`, so that neither is safer than the other. Not for: protocols, or how a refusal is
//! worded.
//! Invariant: a connection costs no more than its own seat, and nothing that is asked is known here.

mod accept;
pub mod access;

pub use accept::{Bounds, accept};
