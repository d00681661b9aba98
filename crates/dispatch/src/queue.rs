//! The queues of ready tasks.
//!
//! For: one queue for each thing that can be asked for, with its levels of priority. Not for: the order within a level
//! (see `order`), or choosing an instance.
//! Invariant: a queue's head in every lot that it chooses from is the queue's head; a parked queue has none.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use consort_types::{EffectClass, TaskId};

use super::{
    InstanceId,
    gates::{GateId, Gates},
    order::{GroupKey, Level, Order},
    pool::{KindId, LotId, Pool},
    route::Selector,
    stats::{Minute, SkillId},
};

/// Queues that are kept although no task is in them.
const QUEUES_KEPT_MAX: usize = 4_096;

/// A queue. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct QueueId(u64);

/// What a queue's tasks ask for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    pub(super) namespace: String,
    pub(super) capability: Option<String>,
    pub(super) agent: Option<String>,
    pub(super) selector: Option<Selector>,
    /// The instance that their sticky keys are bound to.
    pub(super) pinned: Option<InstanceId>,
}

/// The order of queues: the lower goes first. Queues take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HeadKey {
    priority: Reverse<i32>,
    turn: u64,
}

/// Where a task stands in its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) priority: Reverse<i32>,
    pub(super) group: GroupKey,
    pub(super) order: Order,
}

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) target: Target,
    pub(super) levels: BTreeMap<Reverse<i32>, Level>,
    pub(super) lots: BTreeSet<LotId>,
    /// The head as the lots know it.
    head: Option<HeadKey>,
    turn: u64,
    /// The gate at which the whole queue waits, and with what priority.
    pub(super) parked: Option<(GateId, Reverse<i32>)>,
    /// Gates at which all its tasks stand.
    pub(super) gates: [Option<GateId>; 2],
    /// Tasks of this target, wherever they are.
    pub(super) members: usize,
    /// Of these: with instances, or waiting for one to come back.
    pub(super) taken: usize,
    /// Of these: set aside with their runs.
    pub(super) aside: usize,
    /// The effect class of what is asked for, where it was looked up.
    class: Option<EffectClass>,
    /// The skill that is observed, by who does it.
    skills: Vec<(KindId, Option<SkillId>)>,
    pub(super) handed_out: Minute,
    pub(super) ended: Minute,
}

impl Queue {
    /// Tasks that wait, set aside or not.
    pub(super) fn waiting(&self) -> usize {
        self.members - self.taken
    }

    /// The task that goes next.
    pub(super) fn first(&self) -> Option<(Standing, TaskId)> {
        let (priority, level) = self.levels.iter().find(|(_, level)| level.is_active())?;
        let (group, order, id) = level.first()?;
        Some((Standing { priority: *priority, group, order }, id))
    }

    pub(super) fn priority(&self) -> Option<Reverse<i32>> {
        self.levels.iter().find(|(_, level)| level.is_active()).map(|(priority, _)| *priority)
    }

    /// The skill that is observed when a kind does its tasks, where that was looked up.
    pub(super) fn skill_of(&self, kind: KindId) -> Option<&(KindId, Option<SkillId>)> {
        self.skills.iter().find(|(known, _)| *known == kind)
    }
}

/// All queues.
#[derive(Debug, Default)]
pub(super) struct Queues {
    all: BTreeMap<QueueId, Queue>,
    by_target: BTreeMap<Target, QueueId>,
    /// Queues of tasks that are bound to an instance.
    pinned: BTreeSet<(InstanceId, QueueId)>,
    made: u64,
    turns: u64,
}

impl Queues {
    /// The queue of a target, with one member more.
    pub(super) fn find_or_make(&mut self, target: Target, pool: &mut Pool, gates: &Gates) -> QueueId {
        if let Some(id) = self.by_target.get(&target) {
            if let Some(queue) = self.all.get_mut(id) {
                queue.members += 1;
            }
            return *id;
        }
        self.made += 1;
        let id = QueueId(self.made);
        let kinds: Vec<KindId> = pool.kinds().filter(|(_, kind)| kind.serves(&target)).map(|(id, _)| id).collect();
        let lots = kinds.into_iter().filter_map(|kind| pool.choose_from(kind, &target)).collect();
        self.by_target.insert(target.clone(), id);
        self.pinned.extend(target.pinned.map(|instance| (instance, id)));
        let queue = Queue {
            gates: gates.of_target(&target),
            target,
            levels: BTreeMap::new(),
            lots,
            head: None,
            turn: 0,
            parked: None,
            members: 1,
            taken: 0,
            aside: 0,
            class: None,
            skills: Vec::new(),
            handed_out: Minute::default(),
            ended: Minute::default(),
        };
        self.all.insert(id, queue);
        id
    }

    /// One member less. A queue without members is kept for its next task, unless there are very many, or its instance
    /// takes no bound tasks any more.
    pub(super) fn leave(&mut self, id: QueueId, pool: &mut Pool) {
        let crowded = self.all.len() > QUEUES_KEPT_MAX;
        let Some(queue) = self.all.get_mut(&id) else { return };
        queue.members -= 1;
        if queue.members > 0 {
            return;
        }
        assert!(queue.head.is_none(), "a queue without members has no head");
        let deserted = queue.target.pinned.is_some_and(|instance| !pool.keeps_bound(instance));
        if crowded || deserted {
            self.remove(id, pool);
        }
    }

    fn remove(&mut self, id: QueueId, pool: &mut Pool) {
        let Some(queue) = self.all.remove(&id) else { return };
        self.by_target.remove(&queue.target);
        if let Some(instance) = queue.target.pinned {
            self.pinned.remove(&(instance, id));
        }
        queue.lots.into_iter().for_each(|lot| pool.let_go(lot));
    }

    /// The queues of tasks that are bound to an instance.
    pub(super) fn pinned_to(&self, instance: InstanceId) -> Vec<QueueId> {
        let range = (instance, QueueId(0))..=(instance, QueueId(u64::MAX));
        self.pinned.range(range).map(|(_, queue)| *queue).collect()
    }

    pub(super) fn get(&self, id: QueueId) -> Option<&Queue> {
        self.all.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: QueueId) -> Option<&mut Queue> {
        self.all.get_mut(&id)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (QueueId, &mut Queue)> {
        self.all.iter_mut().map(|(id, queue)| (*id, queue))
    }

    /// Queues of a namespace.
    pub(super) fn in_namespace<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = (QueueId, &'a Queue)> {
        let first =
            Target { namespace: namespace.to_owned(), capability: None, agent: None, selector: None, pinned: None };
        let from = self.by_target.range(first..).take_while(move |(target, _)| target.namespace == namespace);
        from.filter_map(|(_, id)| Some((*id, self.all.get(id)?)))
    }

    pub(super) fn class(&self, id: QueueId) -> Option<EffectClass> {
        self.all.get(&id)?.class
    }

    pub(super) fn note_class(&mut self, id: QueueId, class: EffectClass) {
        if let Some(queue) = self.all.get_mut(&id) {
            queue.class = Some(class);
        }
    }

    pub(super) fn forget_classes(&mut self) {
        self.all.values_mut().for_each(|queue| queue.class = None);
    }

    pub(super) fn note_skill(&mut self, id: QueueId, kind: KindId, skill: Option<SkillId>) {
        if let Some(queue) = self.all.get_mut(&id) {
            queue.skills.push((kind, skill));
        }
    }

    pub(super) fn push(&mut self, id: QueueId, standing: Standing, task: TaskId, pool: &mut Pool) {
        let Some(queue) = self.all.get_mut(&id) else { return };
        if queue.levels.is_empty() {
            self.turns += 1;
            queue.turn = self.turns;
        }
        queue.levels.entry(standing.priority).or_default().push(standing.group, standing.order, task);
        refresh(id, queue, pool);
    }

    /// Takes a task out; where it is `served`, its queue, group and run go behind the others. Returns whether its
    /// group was left without tasks.
    pub(super) fn take(
        &mut self,
        id: QueueId,
        standing: Standing,
        task: TaskId,
        served: bool,
        pool: &mut Pool,
    ) -> bool {
        let Some(queue) = self.all.get_mut(&id) else { return false };
        let Some(level) = queue.levels.get_mut(&standing.priority) else { return false };
        level.take(standing.group, standing.order, task, served);
        let emptied = !level.has(standing.group);
        if level.is_empty() {
            queue.levels.remove(&standing.priority);
        }
        if served {
            self.turns += 1;
            queue.turn = self.turns;
        }
        refresh(id, queue, pool);
        emptied
    }

    /// The whole queue waits at a gate, or (`None`) no more.
    pub(super) fn park(&mut self, id: QueueId, gate: Option<(GateId, Reverse<i32>)>, pool: &mut Pool) {
        let Some(queue) = self.all.get_mut(&id) else { return };
        queue.parked = gate;
        refresh(id, queue, pool);
    }

    /// Tasks of the queue that share a key wait, or no more.
    pub(super) fn park_group(
        &mut self,
        id: QueueId,
        priority: Reverse<i32>,
        group: GroupKey,
        parked: bool,
        pool: &mut Pool,
    ) {
        let Some(queue) = self.all.get_mut(&id) else { return };
        if let Some(level) = queue.levels.get_mut(&priority) {
            if parked { level.park(group) } else { level.unpark(group) }
        }
        refresh(id, queue, pool);
    }

    /// A kind is there, or an operator has changed what it gets: it serves the queues that it fits, and no others.
    pub(super) fn connect(&mut self, id: KindId, pool: &mut Pool) {
        for (queue_id, queue) in &mut self.all {
            let Some(kind) = pool.kind(id) else { return };
            let serves = kind.serves(&queue.target);
            let known = queue.lots.iter().copied().find(|lot| pool.kind_of_lot(*lot).is_some_and(|(of, _)| of == id));
            match (serves, known) {
                (true, None) => {
                    let Some(lot) = pool.choose_from(id, &queue.target) else { continue };
                    queue.lots.insert(lot);
                    pool.set_head(lot, *queue_id, None, queue.head);
                }
                (false, Some(lot)) => drop_lot(*queue_id, queue, lot, pool),
                _ => {}
            }
        }
    }

    /// A kind has no instances any more.
    pub(super) fn disconnect(&mut self, id: KindId, pool: &mut Pool) {
        for (queue_id, queue) in &mut self.all {
            let known = queue.lots.iter().copied().find(|lot| pool.kind_of_lot(*lot).is_some_and(|(of, _)| of == id));
            if let Some(lot) = known {
                drop_lot(*queue_id, queue, lot, pool);
            }
            queue.skills.retain(|(kind, _)| *kind != id);
        }
        pool.forget_kind(id);
    }
}

fn drop_lot(id: QueueId, queue: &mut Queue, lot: LotId, pool: &mut Pool) {
    queue.lots.remove(&lot);
    pool.set_head(lot, id, queue.head, None);
    pool.let_go(lot);
}

/// Tells every lot that the queue chooses from what its head is now.
fn refresh(id: QueueId, queue: &mut Queue, pool: &mut Pool) {
    let priority = if queue.parked.is_some() { None } else { queue.priority() };
    let head = priority.map(|priority| HeadKey { priority, turn: queue.turn });
    if head != queue.head {
        for lot in &queue.lots {
            pool.set_head(*lot, id, queue.head, head);
        }
        queue.head = head;
    }
}
