//! Hand-outs that are not recorded yet.
//!
//! For: sparing the log a record where the completion follows soon (it carries the hand-out along), and an append of
//! its own where another group comes soon. Not for: `write` attempts, whose hand-out is durable before it is sent.
//! Invariant: a hand-out is here from when it was sent until it is recorded, merged, or its attempt is over.

use std::collections::{BTreeMap, BTreeSet};

use consort_core::command::TaskTaken;
use consort_types::{StepInstanceId, Time, Token};

/// Hand-outs that are not recorded yet.
#[derive(Default)]
pub(super) struct DeferredRecords {
    taken: BTreeMap<StepInstanceId, TaskTaken>,
    order: BTreeSet<(Time, StepInstanceId)>,
}

impl DeferredRecords {
    pub(super) fn put(&mut self, taken: TaskTaken) {
        self.order.insert((taken.at, taken.task));
        if let Some(old) = self.taken.insert(taken.task, taken)
            && self.taken.get(&old.task).is_some_and(|new| new.at != old.at)
        {
            self.order.remove(&(old.at, old.task));
        }
    }

    /// Takes a hand-out out, where it is the attempt's.
    pub(super) fn take(&mut self, task: StepInstanceId, of: Token) -> Option<TaskTaken> {
        if self.taken.get(&task).is_none_or(|taken| taken.token != of) {
            return None;
        }
        let taken = self.taken.remove(&task)?;
        self.order.remove(&(taken.at, task));
        Some(taken)
    }

    /// The oldest hand-out, where it was made at or before `until`.
    pub(super) fn take_older(&mut self, until: Time) -> Option<TaskTaken> {
        let (at, task) = self.order.first().copied().filter(|(at, _)| *at <= until)?;
        self.order.remove(&(at, task));
        self.taken.remove(&task)
    }

    /// When the oldest hand-out was made.
    pub(super) fn oldest(&self) -> Option<Time> {
        self.order.first().map(|(at, _)| *at)
    }
}
