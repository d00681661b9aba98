//! Asking how a partition is doing.
//!
//! For: operators, `doctor`, probes. Not for: the numbers themselves (see the crate's `status`).
//! Invariant: every answer is of one moment: between two groups.

use consort_types::{Code, Error, Result};

use super::Handle;
use crate::{
    Partition,
    status::{Status, Waits},
};

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

impl Waits {
    /// What the partition of an engine waits for.
    pub async fn of(handle: &Handle) -> Result<Self> {
        let look = |partition: &mut Partition| {
            let (now, settled) = (partition.clock(), partition.is_settled());
            let due = partition.is_due(now);
            Self {
                applied: partition.applied(),
                settled: settled && !due,
                held: partition.held(),
                now,
                next: partition.next_wake(),
            }
        };
        handle.partition.look(look).await
    }
}
