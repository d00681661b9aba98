//! The queues of ready tasks.
//!
//! For: one queue for each set of requirements, and the order of tasks in it. Not for: choosing a worker, or deciding
//! what has to wait.
//! Invariant: every change of a queue's head is reported by [`Queues::next_change`].

mod level;
mod queue;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use consort_types::StepInstanceId;

use crate::{
    limits::LimiterId,
    model::{QueueId, WorkerInstanceId},
    route::Target,
};
pub(crate) use level::{GroupKey, Order};
pub(crate) use queue::{HeadKey, Queue, QueuePosition};

/// Queues that are kept although no task is in them.
const QUEUES_KEPT_MAX: usize = 4_096;

/// All queues.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    all: BTreeMap<QueueId, Queue>,
    by_target: BTreeMap<Target, QueueId>,
    /// Queues of tasks that are pinned to a worker instance.
    pinned: BTreeSet<(WorkerInstanceId, QueueId)>,
    /// Queues of tasks that only the version that wrote their journals continues with.
    written: BTreeSet<QueueId>,
    /// Queues whose head may have changed, each once.
    changed: Vec<QueueId>,
    added: u64,
    turns: u64,
}

impl Queues {
    pub(crate) fn find(&self, target: &Target) -> Option<QueueId> {
        self.by_target.get(target).copied()
    }

    /// Adds a queue for a target that has none.
    pub(crate) fn add(&mut self, target: Target, limiters: [Option<LimiterId>; 2]) -> QueueId {
        self.added += 1;
        let id = QueueId(self.added);
        self.by_target.insert(target.clone(), id);
        self.pinned.extend(target.pinned.map(|instance| (instance, id)));
        self.written.extend(target.written_by.is_some().then_some(id));
        self.all.insert(id, Queue::new(target, limiters));
        id
    }

    /// Removes a queue without members.
    pub(crate) fn remove(&mut self, id: QueueId) {
        let Some(queue) = self.all.remove(&id) else { return };
        assert!(queue.levels.is_empty(), "a queue that is removed has no tasks");
        self.by_target.remove(&queue.target);
        self.written.remove(&id);
        if let Some(instance) = queue.target.pinned {
            self.pinned.remove(&(instance, id));
        }
    }

    /// Whether so many queues are kept that one without members is not.
    pub(crate) fn is_crowded(&self) -> bool {
        self.all.len() > QUEUES_KEPT_MAX
    }

    /// The queues of tasks that are pinned to an instance.
    pub(crate) fn pinned_to(&self, instance: WorkerInstanceId) -> Vec<QueueId> {
        let range = (instance, QueueId(0))..=(instance, QueueId(u64::MAX));
        self.pinned.range(range).map(|(_, queue)| *queue).collect()
    }

    /// The queues of tasks that only the version that wrote their journals continues with.
    pub(crate) fn written(&self) -> impl Iterator<Item = QueueId> + '_ {
        self.written.iter().copied()
    }

    pub(crate) fn get(&self, id: QueueId) -> Option<&Queue> {
        self.all.get(&id)
    }

    /// For its counts; changes of its head go through [`Queues`].
    pub(crate) fn get_mut(&mut self, id: QueueId) -> Option<&mut Queue> {
        self.all.get_mut(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (QueueId, &Queue)> {
        self.all.iter().map(|(id, queue)| (*id, queue))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (QueueId, &mut Queue)> {
        self.all.iter_mut().map(|(id, queue)| (*id, queue))
    }

    /// The queues of a namespace, by target.
    pub(crate) fn in_namespace<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = (QueueId, &'a Queue)> {
        let first = Target { namespace: namespace.to_owned(), ..Target::default() };
        let from = self.by_target.range(first..).take_while(move |(target, _)| target.namespace == namespace);
        from.filter_map(|(_, id)| Some((*id, self.all.get(id)?)))
    }

    pub(crate) fn push(&mut self, id: QueueId, position: QueuePosition, task: StepInstanceId) {
        let Some(queue) = self.all.get_mut(&id) else { return };
        if queue.levels.is_empty() {
            self.turns += 1;
            queue.turn = self.turns;
        }
        queue.levels.entry(position.priority).or_default().push(position.group, position.order, task);
        note_change(&mut self.changed, id, queue);
    }

    /// Removes a task; where it is `served`, its queue, group and run go behind the others. Returns whether its group
    /// has no more tasks.
    pub(crate) fn take(&mut self, id: QueueId, position: QueuePosition, task: StepInstanceId, served: bool) -> bool {
        let Some(queue) = self.all.get_mut(&id) else { return false };
        let Some(level) = queue.levels.get_mut(&position.priority) else { return false };
        level.take(position.group, position.order, task, served);
        let emptied = !level.has(position.group);
        if level.is_empty() {
            queue.levels.remove(&position.priority);
        }
        if served {
            self.turns += 1;
            queue.turn = self.turns;
        }
        note_change(&mut self.changed, id, queue);
        emptied
    }

    /// The whole queue waits for a limiter, or (`None`) no longer does.
    pub(crate) fn park(&mut self, id: QueueId, limiter: Option<(LimiterId, Reverse<i32>)>) {
        let Some(queue) = self.all.get_mut(&id) else { return };
        queue.parked = limiter;
        note_change(&mut self.changed, id, queue);
    }

    /// The tasks of a group wait for the limit of their key, or no longer do.
    pub(crate) fn park_group(&mut self, id: QueueId, priority: Reverse<i32>, group: GroupKey, parked: bool) {
        let Some(queue) = self.all.get_mut(&id) else { return };
        if let Some(level) = queue.levels.get_mut(&priority) {
            if parked { level.park(group) } else { level.unpark(group) }
        }
        note_change(&mut self.changed, id, queue);
    }

    /// A queue whose head may have changed, with its head now; each change is returned once.
    pub(crate) fn next_change(&mut self) -> Option<(QueueId, Option<HeadKey>)> {
        while let Some(id) = self.changed.pop() {
            if let Some(queue) = self.all.get_mut(&id) {
                queue.is_changed = false;
                return Some((id, queue.head()));
            }
        }
        None
    }
}

fn note_change(changed: &mut Vec<QueueId>, id: QueueId, queue: &mut Queue) {
    if !std::mem::replace(&mut queue.is_changed, true) {
        changed.push(id);
    }
}
