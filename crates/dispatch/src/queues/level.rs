//! The order of the tasks of one queue and one priority.
//!
//! For: fairness between runs and between concurrency keys, then deadline, then age. Not for: priority (the queue has
//! one level for each), or for choosing a worker.
//! Invariant: a run or a key that was served goes behind everything that waited by then, however many tasks it has.
//!
//! The tasks of one run form a run queue; run queues with the same concurrency key share a group, and a run without a
//! key is a group of its own. Each run queue has a tag, a virtual start time: one more than that of the last run queue
//! of its run, and never less than the level's clock. A group goes at the tag of its first run queue, and never twice
//! within one tick of its own. So a run with many keys, and a key with many runs, both wait behind themselves only.

use std::collections::{BTreeMap, BTreeSet};

use consort_types::{RunId, StepInstanceId, Time};

use crate::limits::LimiterId;

/// The order of tasks within one run: the lower goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Order {
    /// When it is given up; the end of time, where it is not.
    pub(crate) deadline: Time,
    pub(crate) ready: Time,
    pub(crate) arrival: u64,
}

/// What tasks share a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum GroupKey {
    /// Tasks of one run without a concurrency key.
    Run(RunId),
    /// Tasks with a concurrency key, and the same limit on it.
    Key(LimiterId, u32),
}

impl GroupKey {
    /// The limiter of its concurrency key.
    pub(crate) fn limiter(self) -> Option<LimiterId> {
        if let Self::Key(limiter, _) = self { Some(limiter) } else { None }
    }
}

/// The tasks of one run in one group.
#[derive(Debug)]
struct RunQueue {
    tag: u64,
    number: u64,
    tasks: BTreeSet<(Order, StepInstanceId)>,
}

#[derive(Debug, Default)]
struct Group {
    /// Its key in the order of groups, unless it is parked.
    rank: (u64, u64),
    /// Its tag when it was served last.
    served: u64,
    parked: bool,
    tasks: usize,
    runs: BTreeMap<RunId, RunQueue>,
    turns: BTreeSet<(u64, u64, RunId)>,
}

/// What a run has had of the level.
#[derive(Debug, Default)]
struct FairShare {
    queues: u32,
    tag: u64,
}

/// Tasks of one priority.
#[derive(Debug, Default)]
pub(crate) struct PriorityLevel {
    clock: u64,
    numbers: u64,
    order: BTreeSet<(u64, u64, GroupKey)>,
    groups: BTreeMap<GroupKey, Group>,
    shares: BTreeMap<RunId, FairShare>,
}

impl PriorityLevel {
    /// Adds a task.
    pub(super) fn push(&mut self, key: GroupKey, order: Order, id: StepInstanceId) {
        let group = self.groups.entry(key).or_default();
        group.tasks += 1;
        if let Some(run) = group.runs.get_mut(&id.run) {
            run.tasks.insert((order, id));
            return;
        }
        let share = self.shares.entry(id.run).or_default();
        share.queues += 1;
        share.tag = share.tag.max(self.clock) + 1;
        self.numbers += 1;
        group.turns.insert((share.tag, self.numbers, id.run));
        let tasks = BTreeSet::from([(order, id)]);
        group.runs.insert(id.run, RunQueue { tag: share.tag, number: self.numbers, tasks });
        self.rank(key);
    }

    /// Removes a task; where it is `served`, its run and its group go behind the others.
    pub(super) fn take(&mut self, key: GroupKey, order: Order, id: StepInstanceId, served: bool) {
        let Some(group) = self.groups.get_mut(&key) else { return };
        let Some(run) = group.runs.get_mut(&id.run) else { return };
        if !run.tasks.remove(&(order, id)) {
            return;
        }
        group.tasks -= 1;
        if served {
            group.served = group.rank.0;
            self.clock = self.clock.max(group.served);
        }
        let emptied = run.tasks.is_empty();
        if emptied || served {
            group.turns.remove(&(run.tag, run.number, id.run));
        }
        if emptied {
            group.runs.remove(&id.run);
            self.release_share(id.run);
        } else if served && let Some(share) = self.shares.get_mut(&id.run) {
            share.tag = share.tag.max(self.clock) + 1;
            self.numbers += 1;
            (run.tag, run.number) = (share.tag, self.numbers);
            group.turns.insert((run.tag, run.number, id.run));
        }
        self.rank(key);
    }

    fn release_share(&mut self, run: RunId) {
        if let Some(share) = self.shares.get_mut(&run) {
            share.queues -= 1;
            if share.queues == 0 {
                self.shares.remove(&run);
            }
        }
    }

    /// Moves a group to its place in the order, by its first run queue; removes one that is empty.
    fn rank(&mut self, key: GroupKey) {
        let Some(group) = self.groups.get_mut(&key) else { return };
        let before = (group.rank.0, group.rank.1, key);
        let Some((tag, number, _)) = group.turns.first() else {
            self.order.remove(&before);
            self.groups.remove(&key);
            return;
        };
        let rank = ((*tag).max(group.served + 1), *number);
        if rank != group.rank {
            self.order.remove(&before);
            group.rank = rank;
        }
        if !group.parked {
            self.order.insert((rank.0, rank.1, key));
        }
    }

    /// Leaves a group out until [`PriorityLevel::unpark`].
    pub(super) fn park(&mut self, key: GroupKey) {
        let Some(group) = self.groups.get_mut(&key) else { return };
        group.parked = true;
        self.order.remove(&(group.rank.0, group.rank.1, key));
    }

    /// A group that was left out takes part again, from now on and without making up for what it missed.
    pub(super) fn unpark(&mut self, key: GroupKey) {
        let Some(group) = self.groups.get_mut(&key) else { return };
        group.parked = false;
        group.served = group.served.max(self.clock.saturating_sub(1));
        self.rank(key);
    }

    pub(super) fn has(&self, key: GroupKey) -> bool {
        self.groups.contains_key(&key)
    }

    /// Whether there is a task that is not left out.
    pub(super) fn is_active(&self) -> bool {
        !self.order.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The task that goes next.
    pub(super) fn first(&self) -> Option<(GroupKey, Order, StepInstanceId)> {
        let (_, _, key) = self.order.first()?;
        let group = self.groups.get(key)?;
        let (_, _, run) = group.turns.first()?;
        let (order, id) = group.runs.get(run)?.tasks.first()?;
        Some((*key, *order, *id))
    }

    /// The groups that are left out, with the number of their tasks.
    pub(crate) fn parked(&self) -> impl Iterator<Item = (GroupKey, usize)> + '_ {
        self.groups.iter().filter(|(_, group)| group.parked).map(|(key, group)| (*key, group.tasks))
    }

    /// The first task of each run in each group.
    pub(crate) fn firsts(&self) -> impl Iterator<Item = Order> + '_ {
        let runs = self.groups.values().flat_map(|group| group.runs.values());
        runs.filter_map(|run| run.tasks.first().map(|(order, _)| *order))
    }

    /// Every task.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = (Order, StepInstanceId)> + '_ {
        self.groups.values().flat_map(|group| group.runs.values()).flat_map(|run| run.tasks.iter().copied())
    }
}
