//! All tasks, and where each one is.
//!
//! For: the place of each task, and the counts and deadlines that follow from places. Not for: moving a task (see
//! `placement`).
//! Invariant: a task is in exactly one place, and the counts agree with the places.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    sync::Arc,
};

use consort_types::{EffectClass, RunId, StepInstanceId, Time, Token, WorkerInstance};

use crate::{
    model::{Lost, QueueId, WorkerInstanceId},
    queues::QueuePosition,
    stats::StatsId,
};

/// Where a task is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// Between two places, within one call.
    InTransit,
    /// In its queue.
    Queued,
    /// Out of its queue while its run is held.
    Held,
    /// With a worker instance.
    Assigned(WorkerInstanceId),
    /// Held by a disconnected worker instance, which may reconnect until then; `None` once the attempt is reported as
    /// lost. `died` says that it was running then: it was not asked to leave, and the server was not restarted.
    Disconnected { until: Option<Time>, instance: Arc<WorkerInstance>, died: bool },
}

/// A task that was moved: where it was, and what a caller needs to follow the move without looking it up again.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) from: Place,
    pub(crate) queue: QueueId,
    pub(crate) position: QueuePosition,
}

/// An assignment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Assigned {
    /// When; `None` where it was before a restart.
    pub(crate) at: Option<Time>,
    pub(crate) stats: StatsId,
}

#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) token: Token,
    pub(crate) queue: QueueId,
    pub(crate) position: QueuePosition,
    pub(crate) sticky: Option<Box<str>>,
    pub(crate) effect: Option<EffectClass>,
    pub(crate) assigned: Option<Assigned>,
    place: Place,
}

impl Task {
    /// A task in transit.
    pub(crate) fn new(token: Token, queue: QueueId, position: QueuePosition) -> Self {
        Self { token, queue, position, sticky: None, effect: None, assigned: None, place: Place::InTransit }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }
}

/// All tasks.
#[derive(Debug, Default)]
pub(crate) struct TaskTable {
    all: BTreeMap<StepInstanceId, Task>,
    /// Attempts with a disconnected instance, by when they are lost.
    losses: BTreeSet<(Time, StepInstanceId)>,
    held_runs: BTreeSet<RunId>,
    assigned: usize,
    disconnected: usize,
}

fn tasks_of(run: RunId) -> RangeInclusive<StepInstanceId> {
    StepInstanceId { run, scope: 0, index: 0 }..=StepInstanceId { run, scope: u32::MAX, index: u32::MAX }
}

impl TaskTable {
    pub(crate) fn insert(&mut self, id: StepInstanceId, task: Task) {
        let before = self.all.insert(id, task);
        assert!(before.is_none(), "a task is added once");
    }

    /// Removes a task in transit.
    pub(crate) fn remove(&mut self, id: StepInstanceId) -> Option<Task> {
        let task = self.all.remove(&id)?;
        assert!(matches!(task.place, Place::InTransit), "a task leaves its place before it is removed");
        Some(task)
    }

    pub(crate) fn get(&self, id: StepInstanceId) -> Option<&Task> {
        self.all.get(&id)
    }

    /// The task, where the attempt is the current one.
    pub(crate) fn current(&self, id: StepInstanceId, token: Token) -> Option<&Task> {
        self.all.get(&id).filter(|task| task.token == token)
    }

    /// For what is not its place.
    pub(crate) fn get_mut(&mut self, id: StepInstanceId) -> Option<&mut Task> {
        self.all.get_mut(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Task> {
        self.all.values()
    }

    pub(crate) fn of_run(&self, run: RunId) -> impl Iterator<Item = (StepInstanceId, &Task)> {
        self.all.range(tasks_of(run)).map(|(id, task)| (*id, task))
    }

    /// Moves a task.
    pub(crate) fn set_place(&mut self, id: StepInstanceId, place: Place) -> Option<Moved> {
        let task = self.all.get_mut(&id)?;
        match &place {
            Place::Assigned(_) => self.assigned += 1,
            Place::Disconnected { until, .. } => {
                self.disconnected += 1;
                self.losses.extend(until.map(|until| (until, id)));
            }
            Place::InTransit | Place::Queued | Place::Held => {}
        }
        let from = std::mem::replace(&mut task.place, place);
        match &from {
            Place::Assigned(_) => self.assigned -= 1,
            Place::Disconnected { until, .. } => {
                self.disconnected -= 1;
                if let Some(until) = until {
                    self.losses.remove(&(*until, id));
                }
            }
            Place::InTransit | Place::Queued | Place::Held => {}
        }
        Some(Moved { from, queue: task.queue, position: task.position })
    }

    /// Attempts whose instance did not reconnect in time; each is returned once.
    pub(crate) fn take_lost(&mut self, now: Time) -> Vec<Lost> {
        let mut lost = Vec::new();
        while let Some((until, id)) = self.losses.first().copied().filter(|(until, _)| *until <= now) {
            self.losses.remove(&(until, id));
            let Some(task) = self.all.get_mut(&id) else { continue };
            if let Place::Disconnected { until, instance, died } = &mut task.place {
                *until = None;
                lost.push(Lost {
                    task: id,
                    token: task.token,
                    reason: format!("instance `{instance}` is disconnected"),
                    died: *died,
                });
            }
        }
        lost
    }

    /// When the next attempt is lost.
    pub(crate) fn next_loss(&self) -> Option<Time> {
        self.losses.first().map(|(until, _)| *until)
    }

    /// Holds the tasks of a run back, or not; returns whether that changes anything.
    pub(crate) fn set_held(&mut self, run: RunId, held: bool) -> bool {
        if held { self.held_runs.insert(run) } else { self.held_runs.remove(&run) }
    }

    pub(crate) fn is_held(&self, run: RunId) -> bool {
        self.held_runs.contains(&run)
    }

    /// Tasks that wait for a worker.
    pub(crate) fn waiting(&self) -> usize {
        self.all.len() - self.assigned - self.disconnected
    }

    /// Tasks that connected workers hold.
    pub(crate) fn assigned(&self) -> usize {
        self.assigned
    }
}
