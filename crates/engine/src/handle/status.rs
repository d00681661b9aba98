//! Asking how a partition is doing.
//!
//! For: operators, `doctor`, probes. Not for: the numbers themselves (see the crate's `status`).
//! Invariant: every answer is of one moment: between two groups.

use consort_types::{Code, Error, Result};

use super::Handle;
use crate::status::Status;

impl Handle {
    /// How the partition is doing, in numbers alone: no namespace's agents are named.
    pub async fn status(&self) -> Result<Status> {
        self.partition.status(None).await
    }

    /// How the partition is doing, with the connected agents of a namespace.
    pub async fn status_of(&self, namespace: &str) -> Result<Status> {
        self.of(namespace).status(Some(namespace.to_owned())).await
    }

    /// Whether the partition takes commands: an error says why not.
    pub async fn ready(&self) -> Result<()> {
        let status = self.status().await?;
        match status.halted {
            Some(error) => Err(error),
            None if status.draining => Err(Error::new(Code::Stopping, "the engine is draining")),
            None => Ok(()),
        }
    }
}
