//! The protobuf messages and the service of the worker protocol, and their bridge to `consort-types`.
//!
//! For: both ends of a worker's stream. Not for: what the messages mean to an engine or a worker, or how they
//! travel (`api-grpc` serves them, `worker` connects).
//! Invariant: the generated code matches the `.proto` files (a test generates it again and compares), so that building
//! needs no protobuf compiler.

pub mod convert;
#[allow(missing_docs, clippy::pedantic, clippy::large_enum_variant, unreachable_pub, rustdoc::all)]
#[rustfmt::skip]
mod generated;

/// Version 1 of the protocol, as generated.
pub mod v1 {
    pub use crate::generated::*;
}

/// The encoded `FileDescriptorSet` of all services, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!("descriptors.bin");

/// The version of the worker protocol that this crate speaks.
pub const PROTOCOL: u32 = 1;
