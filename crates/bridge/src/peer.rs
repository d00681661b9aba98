//! The other side of a bridge.
//!
//! For: what every broker is to do. Not for: what an event is there (see `outgoing` and `incoming`).
//! Invariant: what is answered as confirmed is kept there by its own promises; what was fetched and not settled is fetched
//! again.

use std::time::Duration;

use async_trait::async_trait;
use consort_types::{Code, Error, Result};

use crate::{incoming::Incoming, outgoing::Outgoing};

/// How long a connection, a command or a confirmation may take.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Events that are carried at once.
pub(crate) const TOGETHER: usize = 64;

/// Why something is not taken, where it is not.
pub(crate) type Refusal = Option<String>;

/// A broker.
#[async_trait]
pub(crate) trait Peer: Send + Sync {
    /// Connects, and makes there what is missing.
    async fn connect(&mut self) -> Result<()>;

    /// Publishes events in their order, and waits for the confirmation of each.
    ///
    /// # Errors
    /// [`Code::PeerUnreachable`]: any of them may have been published.
    async fn publish(&self, events: &[Outgoing]) -> Result<Vec<Refusal>>;

    /// The next messages, in their order; waits until there are some. It may be dropped at any time.
    async fn fetch(&self) -> Result<Vec<Incoming>>;

    /// Settles the messages of the last fetch, in their order: each was taken, or is refused.
    async fn settle(&self, outcomes: &[Refusal]) -> Result<()>;

    /// Resolves when the connection is lost, where that is learned without asking.
    async fn lost(&self) -> Error {
        std::future::pending().await
    }
}

pub(crate) fn unreachable(what: &str, why: impl std::fmt::Display) -> Error {
    Error::new(Code::PeerUnreachable, format!("{what} cannot be reached: {why}")).hint("is it running?")
}

pub(crate) fn refused(what: &str, why: impl std::fmt::Display) -> Error {
    Error::new(Code::PeerRefused, format!("{what} refuses: {why}"))
        .hint("are the address, the user, its rights and the settings right?")
}
