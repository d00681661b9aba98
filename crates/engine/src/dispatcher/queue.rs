//! The queues of ready tasks.
//!
//! For: one queue for each thing that can be asked for, ordered by priority, fairly between runs, by age. Not for:
//! choosing an instance.
//! Invariant: a queue's head in every profile that serves it is the queue's head.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use consort_types::{EffectClass, RunId, TaskId, Time};

use super::pool::{Pool, Profile, ProfileId};

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
}

/// The order of tasks: the lower goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) priority: Reverse<i32>,
    pub(super) ready: Time,
    pub(super) arrival: u64,
}

/// The tasks of one run, oldest first, and the run's turn.
#[derive(Debug)]
struct Lane {
    turn: u64,
    tasks: BTreeSet<(Rank, TaskId)>,
}

/// Tasks of one priority: the runs take turns.
#[derive(Debug, Default)]
struct Level {
    turns: BTreeMap<u64, RunId>,
    lanes: BTreeMap<RunId, Lane>,
}

#[derive(Debug)]
struct Queue {
    target: Target,
    levels: BTreeMap<Reverse<i32>, Level>,
    next_turn: u64,
    profiles: BTreeSet<ProfileId>,
    /// The head as the profiles know it.
    head: Option<Rank>,
    /// Tasks of this target, wherever they are.
    members: usize,
    /// The effect class of what is asked for, where it was looked up.
    class: Option<EffectClass>,
}

impl Queue {
    fn push(&mut self, rank: Rank, id: TaskId) {
        let level = self.levels.entry(rank.priority).or_default();
        let next_turn = &mut self.next_turn;
        let lane = level.lanes.entry(id.run).or_insert_with(|| {
            *next_turn += 1;
            level.turns.insert(*next_turn, id.run);
            Lane { turn: *next_turn, tasks: BTreeSet::new() }
        });
        lane.tasks.insert((rank, id));
    }

    fn first(&self) -> Option<(Rank, TaskId)> {
        let (_, level) = self.levels.first_key_value()?;
        let (_, run) = level.turns.first_key_value()?;
        level.lanes.get(run)?.tasks.first().copied()
    }

    /// Takes a task out; where `turn` is over, its run goes behind the others.
    fn take(&mut self, rank: Rank, id: TaskId, turn_over: bool) {
        let Some(level) = self.levels.get_mut(&rank.priority) else { return };
        let Some(lane) = level.lanes.get_mut(&id.run) else { return };
        lane.tasks.remove(&(rank, id));
        if lane.tasks.is_empty() {
            level.turns.remove(&lane.turn);
            level.lanes.remove(&id.run);
            if level.lanes.is_empty() {
                self.levels.remove(&rank.priority);
            }
        } else if turn_over {
            level.turns.remove(&lane.turn);
            self.next_turn += 1;
            lane.turn = self.next_turn;
            level.turns.insert(lane.turn, id.run);
        }
    }
}

/// All queues.
#[derive(Debug, Default)]
pub(super) struct Queues {
    all: BTreeMap<QueueId, Queue>,
    by_target: BTreeMap<Target, QueueId>,
    made: u64,
}

impl Queues {
    /// The queue of a target, with one member more.
    pub(super) fn find_or_make(&mut self, target: Target, pool: &Pool) -> QueueId {
        if let Some(id) = self.by_target.get(&target) {
            if let Some(queue) = self.all.get_mut(id) {
                queue.members += 1;
            }
            return *id;
        }
        self.made += 1;
        let id = QueueId(self.made);
        let profiles = pool.profiles().filter(|(_, profile)| serves(profile, &target)).map(|(id, _)| id).collect();
        self.by_target.insert(target.clone(), id);
        let queue =
            Queue { target, levels: BTreeMap::new(), next_turn: 0, profiles, head: None, members: 1, class: None };
        self.all.insert(id, queue);
        id
    }

    /// One member less. A queue without members is kept for its next task, unless there are very many.
    pub(super) fn leave(&mut self, id: QueueId) {
        let crowded = self.all.len() > QUEUES_KEPT_MAX;
        let Some(queue) = self.all.get_mut(&id) else { return };
        queue.members -= 1;
        if queue.members > 0 {
            return;
        }
        assert!(queue.head.is_none(), "a queue without members has no head");
        if crowded {
            self.by_target.remove(&queue.target);
            self.all.remove(&id);
        }
    }

    pub(super) fn target(&self, id: QueueId) -> Option<&Target> {
        self.all.get(&id).map(|queue| &queue.target)
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

    /// The profiles that serve a queue.
    pub(super) fn profiles(&self, id: QueueId) -> impl Iterator<Item = ProfileId> + '_ {
        self.all.get(&id).into_iter().flat_map(|queue| queue.profiles.iter().copied())
    }

    pub(super) fn push(&mut self, id: QueueId, rank: Rank, task: TaskId, pool: &mut Pool) {
        let Some(queue) = self.all.get_mut(&id) else { return };
        queue.push(rank, task);
        refresh(id, queue, pool);
    }

    pub(super) fn remove(&mut self, id: QueueId, rank: Rank, task: TaskId, pool: &mut Pool) {
        let Some(queue) = self.all.get_mut(&id) else { return };
        queue.take(rank, task, false);
        refresh(id, queue, pool);
    }

    /// Takes the first task out; its run's turn is over.
    pub(super) fn pop(&mut self, id: QueueId, pool: &mut Pool) -> Option<TaskId> {
        let queue = self.all.get_mut(&id)?;
        let first = queue.first();
        if let Some((rank, task)) = first {
            queue.take(rank, task, true);
        }
        refresh(id, queue, pool);
        first.map(|(_, task)| task)
    }

    /// A profile is there: it serves every queue that it fits.
    pub(super) fn connect(&mut self, id: Option<ProfileId>, pool: &mut Pool) {
        let Some(id) = id else { return };
        for (queue_id, queue) in &mut self.all {
            let Some(profile) = pool.profile(id) else { return };
            if !serves(profile, &queue.target) || !queue.profiles.insert(id) {
                continue;
            }
            pool.set_head(id, *queue_id, None, queue.head);
        }
    }

    /// A profile has no instances any more.
    pub(super) fn disconnect(&mut self, id: ProfileId) {
        for queue in self.all.values_mut() {
            queue.profiles.remove(&id);
        }
    }
}

/// Tells every profile that serves the queue what its head is now.
fn refresh(id: QueueId, queue: &mut Queue, pool: &mut Pool) {
    let head = queue.first().map(|(rank, _)| rank);
    if head != queue.head {
        for profile in &queue.profiles {
            pool.set_head(*profile, id, queue.head, head);
        }
        queue.head = head;
    }
}

fn serves(profile: &Profile, target: &Target) -> bool {
    profile.namespace == target.namespace
        && target.agent.as_ref().is_none_or(|agent| *agent == profile.agent)
        && target.capability.as_ref().is_none_or(|capability| profile.capabilities.contains(capability))
}
