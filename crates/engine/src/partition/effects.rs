//! The effect classes of the capabilities that tasks require.
//!
//! For: not looking the class up again for each task of a queue. Not for: deciding what a class permits.
//! Invariant: what is kept was looked up since the agents last changed.

use std::collections::BTreeMap;

use consort_dispatch::{QueueId, Requested};
use consort_types::EffectClass;

/// Queues whose class is kept; when there are more, all are looked up again.
const CLASSES_MAX: usize = 4_096;

/// Effect classes by queue.
#[derive(Debug, Default)]
pub(super) struct EffectClasses {
    of_queue: BTreeMap<QueueId, EffectClass>,
}

impl EffectClasses {
    /// The class that the step of a task names, or else that of its queue, where it is known.
    pub(super) fn of(&self, requested: &Requested<'_>) -> Option<EffectClass> {
        requested.effect.or_else(|| self.of_queue.get(&requested.queue).copied())
    }

    pub(super) fn note(&mut self, queue: QueueId, class: EffectClass) {
        if self.of_queue.len() >= CLASSES_MAX {
            self.clear();
        }
        self.of_queue.insert(queue, class);
    }

    /// The agents have changed.
    pub(super) fn clear(&mut self) {
        self.of_queue.clear();
    }
}
