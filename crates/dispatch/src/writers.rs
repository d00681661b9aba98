//! Waiting for the version of an agent that wrote the journals of tasks.
//!
//! For: how long such tasks wait while no instance of it is connected, and letting them go to other versions then. Not
//! for: whether the code of another version fits (its SDK finds out, and the machine suspends the task where not).
//! Invariant: while an instance of the version is connected, its tasks go to no other version.

use consort_types::{Span, StepInstanceId, Time};

use crate::{model::QueueId, placement::Placement};

impl Placement {
    /// Lets tasks go to any version, where no instance of the one that wrote their journals has been connected for
    /// `wait`.
    pub(crate) fn release_from_writers(&mut self, now: Time, wait: Span) {
        let queues: Vec<QueueId> = self.queues.written().collect();
        for id in queues {
            let is_served = self.pool.candidates.of_queue(id).next().is_some();
            let Some(queue) = self.queues.get_mut(id) else { continue };
            if is_served || queue.waiting() == 0 {
                queue.writer_missing_since = None;
                continue;
            }
            let since = *queue.writer_missing_since.get_or_insert(now);
            if now >= since.after(wait) {
                let waiting = queue.levels().flat_map(|level| level.tasks().map(|(_, id)| id)).collect();
                self.release_each(id, waiting);
            }
        }
    }

    fn release_each(&mut self, queue: QueueId, tasks: Vec<StepInstanceId>) {
        for task in tasks {
            self.withdraw(task);
            self.transfer(task, queue, |target| target.written_by = None);
            self.enqueue(task);
        }
    }

    /// When the next tasks are let go.
    pub(crate) fn next_release(&self, wait: Span) -> Option<Time> {
        let queues = self.queues.written().filter_map(|id| self.queues.get(id));
        // What is held back with its run stays, and is looked at again when it goes on.
        let waiting = queues.filter(|queue| queue.levels().next().is_some());
        waiting.filter_map(|queue| queue.writer_missing_since).min().map(|since| since.after(wait))
    }
}
