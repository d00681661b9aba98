//! The keys of a task's rows.
//!
//! For: entries of a task's journal, the inbox, and tasks that wait for code. Not for: step instances (`StepInstanceId` is their key).
//! Invariant: all entries of a task lie side by side, in their order.

use consort_types::{RunId, StepInstanceId};

use crate::{
    key::{Parts, put_text},
    run::keys::OfRun,
    tables::Key,
};

/// An entry of a task's own journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryKey {
    /// The task.
    pub task: StepInstanceId,
    /// The entry's position, from 0.
    pub entry: u32,
}

impl Key for EntryKey {
    fn encode(&self, out: &mut Vec<u8>) {
        Key::encode(&self.task, out);
        out.extend(self.entry.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (task, entry) = bytes.split_at_checked(24)?;
        Some(Self { task: Key::decode(task)?, entry: u32::from_be_bytes(entry.try_into().ok()?) })
    }
}

/// Something in the operators' inbox.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InboxKey {
    /// The namespace.
    pub namespace: String,
    /// The task that waits for a decision.
    pub task: StepInstanceId,
}

impl Key for InboxKey {
    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.namespace);
        Key::encode(&self.task, out);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let namespace = parts.text()?;
        let task = Key::decode(&parts.take::<24>()?)?;
        parts.end(Self { namespace, task })
    }
}

/// A task that waits for code that fits its journal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DivergedKey {
    /// The namespace.
    pub namespace: String,
    /// The agent whose code wrote the journal.
    pub agent: String,
    /// The task.
    pub task: StepInstanceId,
}

impl Key for DivergedKey {
    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.namespace);
        put_text(out, &self.agent);
        Key::encode(&self.task, out);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let (namespace, agent) = (parts.text()?, parts.text()?);
        let task = Key::decode(&parts.take::<24>()?)?;
        parts.end(Self { namespace, agent, task })
    }
}

impl OfRun for DivergedKey {
    fn run(&self) -> RunId {
        self.task.run
    }
}

impl OfRun for EntryKey {
    fn run(&self) -> RunId {
        self.task.run
    }
}

impl OfRun for InboxKey {
    fn run(&self) -> RunId {
        self.task.run
    }
}
