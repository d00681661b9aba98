//! Effect classes: what repeating a task may do to the world.
//!
//! For: routing and recovery decisions. Not for: engine effects (those are `core::Effect`).
//! Invariant: when nothing is declared, the class is the careful one of the two harmless ones, `idempotent`.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// What a capability does to the world, and so what may be done after an attempt was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "lowercase")]
pub enum EffectClass {
    /// Only reads; it can be repeated freely.
    #[n(0)]
    Read,
    /// Changes something, but twice is the same as once.
    #[n(1)]
    #[default]
    Idempotent,
    /// Must not be repeated blindly: a lost attempt is *unknown*, and its assignment is durable before it is sent.
    #[n(2)]
    Write,
}

impl EffectClass {
    /// The word that people write and read.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Idempotent => "idempotent",
            Self::Write => "write",
        }
    }
}

/// What to do with a `write` attempt whose outcome is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnknown {
    /// Put it in the operators' inbox and wait for an answer.
    #[n(0)]
    #[default]
    Ask,
    /// Try again (the author vouches that this is safe).
    #[n(1)]
    Retry,
    /// Count it as failed.
    #[n(2)]
    Fail,
    /// Ask another capability for the outcome; it answers `done`, `retry` or `fail`.
    #[n(3)]
    Reconcile(#[n(0)] String),
}
