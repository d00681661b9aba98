//! What the loop reports as it happens.
//!
//! For: telemetry, which is an observer: how long the log takes, how long a group takes to apply, what is handed out
//! and how attempts end. Not for: deciding anything, or for what has to be durable (the history of a run has that).
//! Invariant: an observer changes nothing, and where there is none nothing is measured or allocated.

use std::sync::Arc;

use consort_core::AttemptEnd;
use consort_types::{Error, Seq, Span, StepInstanceId, Token, WorkerInstance};

/// A group that has become durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendedGroup {
    /// Its last record.
    pub last: Seq,
    /// Its records.
    pub records: usize,
    /// Bytes of their bodies.
    pub bytes: usize,
    /// From when the log was given the group until it was known to be durable.
    pub took: Span,
}

/// Is told by the loop thread what happens. Its methods must return quickly: the partition waits for them.
pub trait Observer: Send + Sync {
    /// The observer's own clock, which never goes back; spans are measured by it.
    fn now(&self) -> Span;

    /// A group has become durable.
    fn appended(&self, group: &AppendedGroup) {
        let _ = group;
    }

    /// The log took nothing, and commands of clients are refused until it does.
    fn append_refused(&self, error: &Error) {
        let _ = error;
    }

    /// The records of a group were applied, and their effects carried out.
    fn applied(&self, last: Seq, records: usize, took: Span) {
        let _ = (last, records, took);
    }

    /// An attempt was sent to an instance.
    fn dispatched(&self, task: StepInstanceId, token: Token, instance: &WorkerInstance) {
        let _ = (task, token, instance);
    }

    /// A declaration of an agent was refused, because it clashes with what connected instances declare.
    fn agent_refused(&self, agent: &str, version: &str, why: &Error) {
        let _ = (agent, version, why);
    }

    /// A version of an agent has joined, or has changed what it declares, and connected agents contradict it.
    fn agent_contradicted(&self, agent: &str, version: &str, warnings: &[String]) {
        let _ = (agent, version, warnings);
    }

    /// An attempt has ended.
    fn attempt_ended(&self, task: StepInstanceId, token: Token, end: AttemptEnd) {
        let _ = (task, token, end);
    }
}

/// The observer of a partition, where it has one.
#[derive(Default)]
pub(crate) struct Observed(Option<Arc<dyn Observer>>);

impl Observed {
    pub(crate) fn by(observer: Arc<dyn Observer>) -> Self {
        Self(Some(observer))
    }

    /// The observer's time, where there is one.
    pub(crate) fn now(&self) -> Option<Span> {
        self.0.as_ref().map(|observer| observer.now())
    }

    /// Tells the observer something that took from `began` until now.
    pub(crate) fn tell_since(&self, began: Option<Span>, tell: impl FnOnce(&dyn Observer, Span)) {
        if let (Some(observer), Some(began)) = (&self.0, began) {
            tell(&**observer, Span(observer.now().0.saturating_sub(began.0)));
        }
    }

    /// Tells the observer something.
    pub(crate) fn tell(&self, tell: impl FnOnce(&dyn Observer)) {
        if let Some(observer) = &self.0 {
            tell(&**observer);
        }
    }
}
