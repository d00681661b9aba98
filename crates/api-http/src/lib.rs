//! The HTTP/JSON interface: translate, authenticate, call [`Handle`].
//!
//! For: every operation of `consort_api`, over HTTP/1.1 or inside the process. Not for: deciding anything about runs
//! (the engine does), nor for declaring operations (`consort_api` does).
//! Invariant: the router has exactly the operations of the table, only documents of `consort_api` are sent, and every
//! refusal is an `application/problem+json` with a stable code.
//!
//! # Entries
//! - [`router`]: the interface behind the access rules; [`serve`] puts it on a listener with timeouts and caps.
//! - [`in_process`]: the same for a caller in this process (`tower::ServiceExt::oneshot`), which needs no token.

mod access;
mod answer;
mod cloud_events;
mod convert;
mod convert_events;
mod document;
mod problem;
mod request;
mod route;
mod router;
mod routes;
mod serve;
mod state;

pub use access::Peer;
pub use consort_engine::Handle;
pub use consort_listen::ServeConfig;
pub use document::fuzz_body;
pub use router::{in_process, router};
pub use serve::{HttpDoor, serve};
pub use state::ApiConfig;
