//! Every operation that a client can request, declared once.
//!
//! For: the identity, path, parameters, body, reply, words and errors of each operation, and the documents that travel.
//! The HTTP router, the OpenAPI document, the table of routes in `docs/http-api.md`, the client in [`client`] (which the
//! command line and the Rust SDK use), the fuzz target of bodies and the generated clients of other languages are made
//! from it. Not for: what an operation does (the engine) or how a request travels (the doors): this crate knows neither.
//! Invariant: an operation is declared in one place, and what is not declared here does not exist.
//!
//! # Reading
//! [`Operation`] is what an operation is, [`operations`] lists all of them, [`openapi`] describes them. The modules hold
//! the operations by what they are about, each with its documents.

#![cfg_attr(not(feature = "client"), allow(rustdoc::broken_intra_doc_links))]

pub mod agents;
pub mod backup;
pub mod ballots;
pub mod beside;
pub mod bulk;
#[cfg(feature = "client")]
pub mod client;
mod document;
mod entry;
pub mod events;
pub mod failed;
pub mod inbox;
pub mod inside;
pub mod locks;
pub mod namespaces;
mod openapi;
pub mod operate;
mod page;
mod params;
mod problem;
pub mod queues;
pub mod runs;
pub mod schedules;
mod schema;
pub mod server;
pub mod spaces;
mod spec;
pub mod state;
pub mod steps;
pub mod subscriptions;
mod table;
pub mod triggers;
pub mod watch;
pub mod workflows;

pub use document::Document;
pub use entry::Entry;
pub use openapi::openapi;
pub use operate::EmptyRequest;
pub use page::{Items, NoParams, Page, PageParams};
pub use params::{Form, Param, Place};
pub use problem::{Diagnostic, ErrorDetail, Problem, status_of};
pub use spec::{Accepts, Method, Operation, Returns, Scope, Spec};
pub use table::{operations, routes_table};

/// The namespace of a request that names none.
pub const NAMESPACE_DEFAULT: &str = "default";

/// For `skip_serializing_if`: whether a value is what its absence means.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
