//! The bridge between messages on the wire and the types that the rest of Consort speaks.
//!
//! For: both ends of the worker protocol. Not for: whether a name, an amount or a document is acceptable (the engine
//! decides that, for every interface).
//! Invariant: what is converted there and back is the same. A message that cannot be understood gives an error that
//! names the field; a code or a kind that a newer side added never ends a conversation by itself.

mod error;
mod field;
mod hello;
mod journal;
mod report;
mod server;

pub use error::{error_from_wire, error_to_wire};
pub use field::document;
pub use hello::{hellos_from_wire, hellos_to_wire};
pub use report::{BadReport, report_from_wire};
