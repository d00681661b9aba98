//! Ids, time, limits, payloads and errors that every Consort crate shares.
//!
//! For: the words that cross crate boundaries. Not for: I/O, async, or any rule of what a command does.
//! Invariant: every type here encodes to the same bytes on every machine, and shows itself the same way
//! in a log, on a screen and in JSON.

pub mod ballot;
pub mod bounds;
mod canonical;
mod effect;
mod error;
pub mod event;
mod id;
mod instance;
pub mod limits;
mod payload;
mod position;
pub mod registry;
pub mod replay;
mod secret;
pub mod state;
pub mod task;
pub mod text;
mod time;
mod trace;
mod webhook;
pub mod worker;

pub use canonical::{canonical_json, check_canonical};
pub use effect::{EffectClass, OnUnknown};
pub use error::{Code, Error, ErrorKind, Result};
pub use id::{Name, RunId, Seq, StepInstanceId, Token};
pub use instance::{Locality, WorkerInstance};
pub use payload::{BlobHash, Payload};
pub use position::Position;
pub use secret::Secret;
pub use time::{Span, Time};
pub use trace::accept_traceparent;
pub use webhook::WebhookUrl;
