//! Waiting for the version of an agent that wrote the journals of tasks.
//!
//! For: how long such tasks wait while no instance of it is connected, and letting them go to other versions then. Not
//! for: whether the code of another version fits (its SDK finds out, and the machine suspends the task where not).
//! Invariant: while an instance of the version is connected, its tasks go to no other version.

use consort_types::{Span, StepInstanceId, Time};

use crate::{model::QueueId, placement::Placement};

/// The tasks that wait so.
#[derive(Debug)]
pub struct Writers<'a> {
    placement: &'a mut Placement,
}

impl<'a> Writers<'a> {
    pub(crate) fn new(placement: &'a mut Placement) -> Self {
        Self { placement }
    }

    /// Releases tasks to any version of their agent, where no instance of the version that wrote their journals has been
    /// connected for `wait`.
    pub fn release(&mut self, now: Time, wait: Span) {
        let placement = &mut *self.placement;
        let queues: Vec<QueueId> = placement.queues.written().collect();
        for id in queues {
            let is_served = placement.pool.candidates.of_queue(id).next().is_some();
            let Some(queue) = placement.queues.get_mut(id) else { continue };
            if is_served || queue.waiting() == 0 {
                queue.writer_missing_since = None;
                continue;
            }
            let since = *queue.writer_missing_since.get_or_insert(now);
            if now >= since.after(wait) {
                let waiting = queue.levels().flat_map(|level| level.tasks().map(|(_, id)| id)).collect();
                release_each(placement, id, waiting);
            }
        }
    }

    /// When the next tasks are released.
    pub fn next_release(&self, wait: Span) -> Option<Time> {
        let queues = self.placement.queues.written().filter_map(|id| self.placement.queues.get(id));
        // What is held back with its run stays, and is considered again when its run is resumed.
        let waiting = queues.filter(|queue| queue.levels().next().is_some());
        waiting.filter_map(|queue| queue.writer_missing_since).min().map(|since| since.after(wait))
    }
}

fn release_each(placement: &mut Placement, queue: QueueId, tasks: Vec<StepInstanceId>) {
    for task in tasks {
        placement.withdraw(task);
        placement.transfer(task, queue, |target| target.written_by = None);
        placement.enqueue(task);
    }
}
