//! The order of the tasks of one queue and one priority.
//!
//! For: fairness between runs and between concurrency keys, then deadline, then age. Not for: priority (the queue has
//! one level for each), or for choosing an instance.
//! Invariant: a run or a key that was served goes behind everything that waited by then, however many tasks it has.
//!
//! Tasks of one run stand in a lane; lanes with the same concurrency key share a group, and a run without a key is a
//! group of its own. Each lane has a tag, a virtual time: one more than that of the last lane of its run, and never
//! less than the level's clock. A group goes at its first lane's tag, and never twice within one tick of its own.
//! So a run with many keys, and a key with many runs, both queue up behind themselves only.

use std::collections::{BTreeMap, BTreeSet};

use consort_types::{RunId, TaskId, Time};

use super::gates::GateId;

/// The order of tasks within one run: the lower goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Order {
    /// When it is given up; the end of time, where it is not.
    pub(super) deadline: Time,
    pub(super) ready: Time,
    pub(super) arrival: u64,
}

/// What tasks share their turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum GroupKey {
    /// Tasks of one run without a concurrency key.
    Run(RunId),
    /// Tasks with a concurrency key, and the same limit on it.
    Key(GateId, u32),
}

/// The tasks of one run in one group.
#[derive(Debug)]
struct Lane {
    tag: u64,
    made: u64,
    tasks: BTreeSet<(Order, TaskId)>,
}

#[derive(Debug, Default)]
struct Group {
    /// Where it stands in the order, unless it is parked.
    place: (u64, u64),
    /// Its tag when it was served last.
    served: u64,
    parked: bool,
    tasks: usize,
    lanes: BTreeMap<RunId, Lane>,
    turns: BTreeSet<(u64, u64, RunId)>,
}

/// What a run has in the level.
#[derive(Debug, Default)]
struct Share {
    lanes: u32,
    tag: u64,
}

/// Tasks of one priority.
#[derive(Debug, Default)]
pub(super) struct Level {
    clock: u64,
    made: u64,
    order: BTreeSet<(u64, u64, GroupKey)>,
    groups: BTreeMap<GroupKey, Group>,
    runs: BTreeMap<RunId, Share>,
}

impl Level {
    /// Puts a task in.
    pub(super) fn push(&mut self, key: GroupKey, order: Order, id: TaskId) {
        let group = self.groups.entry(key).or_default();
        group.tasks += 1;
        if let Some(lane) = group.lanes.get_mut(&id.run) {
            lane.tasks.insert((order, id));
            return;
        }
        let share = self.runs.entry(id.run).or_default();
        share.lanes += 1;
        share.tag = share.tag.max(self.clock) + 1;
        self.made += 1;
        group.turns.insert((share.tag, self.made, id.run));
        group.lanes.insert(id.run, Lane { tag: share.tag, made: self.made, tasks: BTreeSet::from([(order, id)]) });
        self.place(key);
    }

    /// Takes a task out; where it was `served`, its run and its group go behind the others.
    pub(super) fn take(&mut self, key: GroupKey, order: Order, id: TaskId, served: bool) {
        let Some(group) = self.groups.get_mut(&key) else { return };
        let Some(lane) = group.lanes.get_mut(&id.run) else { return };
        if !lane.tasks.remove(&(order, id)) {
            return;
        }
        group.tasks -= 1;
        if served {
            group.served = group.place.0;
            self.clock = self.clock.max(group.served);
        }
        let emptied = lane.tasks.is_empty();
        if emptied || served {
            group.turns.remove(&(lane.tag, lane.made, id.run));
        }
        if emptied {
            group.lanes.remove(&id.run);
            self.leave(id.run);
        } else if served && let Some(share) = self.runs.get_mut(&id.run) {
            share.tag = share.tag.max(self.clock) + 1;
            self.made += 1;
            (lane.tag, lane.made) = (share.tag, self.made);
            group.turns.insert((lane.tag, lane.made, id.run));
        }
        self.place(key);
    }

    fn leave(&mut self, run: RunId) {
        if let Some(share) = self.runs.get_mut(&run) {
            share.lanes -= 1;
            if share.lanes == 0 {
                self.runs.remove(&run);
            }
        }
    }

    /// Puts a group where it belongs by its first lane; forgets one that is empty.
    fn place(&mut self, key: GroupKey) {
        let Some(group) = self.groups.get_mut(&key) else { return };
        let before = (group.place.0, group.place.1, key);
        let Some((tag, made, _)) = group.turns.first() else {
            self.order.remove(&before);
            self.groups.remove(&key);
            return;
        };
        let place = ((*tag).max(group.served + 1), *made);
        if place != group.place {
            self.order.remove(&before);
            group.place = place;
        }
        if !group.parked {
            self.order.insert((place.0, place.1, key));
        }
    }

    /// Leaves a group out until [`Level::unpark`].
    pub(super) fn park(&mut self, key: GroupKey) {
        let Some(group) = self.groups.get_mut(&key) else { return };
        group.parked = true;
        self.order.remove(&(group.place.0, group.place.1, key));
    }

    /// A group that was left out takes part again, from now on and without making up for what it missed.
    pub(super) fn unpark(&mut self, key: GroupKey) {
        let Some(group) = self.groups.get_mut(&key) else { return };
        group.parked = false;
        group.served = group.served.max(self.clock.saturating_sub(1));
        self.place(key);
    }

    pub(super) fn has(&self, key: GroupKey) -> bool {
        self.groups.contains_key(&key)
    }

    /// Whether a task is there that is not left out.
    pub(super) fn is_active(&self) -> bool {
        !self.order.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The task that goes next.
    pub(super) fn first(&self) -> Option<(GroupKey, Order, TaskId)> {
        let (_, _, key) = self.order.first()?;
        let group = self.groups.get(key)?;
        let (_, _, run) = group.turns.first()?;
        let (order, id) = group.lanes.get(run)?.tasks.first()?;
        Some((*key, *order, *id))
    }

    /// How many tasks are left out, and the keys that they wait for.
    pub(super) fn parked(&self) -> impl Iterator<Item = (GroupKey, usize)> + '_ {
        self.groups.iter().filter(|(_, group)| group.parked).map(|(key, group)| (*key, group.tasks))
    }

    /// The first task of each run in each group.
    pub(super) fn firsts(&self) -> impl Iterator<Item = Order> + '_ {
        let lanes = self.groups.values().flat_map(|group| group.lanes.values());
        lanes.filter_map(|lane| lane.tasks.first().map(|(order, _)| *order))
    }

    /// Every task.
    pub(super) fn tasks(&self) -> impl Iterator<Item = (Order, TaskId)> + '_ {
        self.groups.values().flat_map(|group| group.lanes.values()).flat_map(|lane| lane.tasks.iter().copied())
    }
}
