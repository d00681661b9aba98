//! One queue: the tasks with the same requirements.
//!
//! For: its priority levels, its counts and its throughput. Not for: the order within a level (see `level`), or which
//! workers serve it.
//! Invariant: a parked queue has no head.

use std::{cmp::Reverse, collections::BTreeMap};

use consort_types::{StepInstanceId, Time};

use super::level::{GroupKey, Order, PriorityLevel};
use crate::{limits::LimiterId, route::Target, window::SlidingWindow};

/// The order of queues: the lower goes first. Queues of one priority take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HeadKey {
    pub(super) priority: Reverse<i32>,
    pub(super) turn: u64,
}

/// Where a task is in its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueuePosition {
    pub(crate) priority: Reverse<i32>,
    pub(crate) group: GroupKey,
    pub(crate) order: Order,
}

#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) target: Target,
    pub(super) levels: BTreeMap<Reverse<i32>, PriorityLevel>,
    pub(super) turn: u64,
    /// The limiter that the whole queue waits for, and with what priority.
    pub(crate) parked: Option<(LimiterId, Reverse<i32>)>,
    /// The limiters that apply to all its tasks.
    pub(crate) limiters: [Option<LimiterId>; 2],
    /// Tasks of this target, wherever they are.
    pub(crate) members: usize,
    /// Of these: with workers, disconnected ones included.
    pub(crate) acquired: usize,
    /// Of these: held back with their runs.
    pub(crate) held: usize,
    pub(crate) assigned_lately: SlidingWindow,
    pub(crate) ended_lately: SlidingWindow,
    /// Whether its head may have changed since it was last read.
    pub(super) is_changed: bool,
    /// Since when tasks wait for the version that wrote their journals, and no instance of it is connected.
    pub(crate) writer_missing_since: Option<Time>,
}

impl Queue {
    pub(super) fn new(target: Target, limiters: [Option<LimiterId>; 2]) -> Self {
        Self {
            target,
            levels: BTreeMap::new(),
            turn: 0,
            parked: None,
            limiters,
            members: 0,
            acquired: 0,
            held: 0,
            assigned_lately: SlidingWindow::default(),
            ended_lately: SlidingWindow::default(),
            is_changed: false,
            writer_missing_since: None,
        }
    }

    /// Tasks that wait, held ones included.
    pub(crate) fn waiting(&self) -> usize {
        self.members - self.acquired
    }

    /// The task that goes next.
    pub(crate) fn first(&self) -> Option<(QueuePosition, StepInstanceId)> {
        let (priority, level) = self.levels.iter().find(|(_, level)| level.is_active())?;
        let (group, order, id) = level.first()?;
        Some((QueuePosition { priority: *priority, group, order }, id))
    }

    /// The priority of the task that goes next.
    pub(crate) fn priority(&self) -> Option<Reverse<i32>> {
        self.levels.iter().find(|(_, level)| level.is_active()).map(|(priority, _)| *priority)
    }

    /// Its place among the queues; `None` where it has nothing to assign, or waits.
    pub(super) fn head(&self) -> Option<HeadKey> {
        let priority = if self.parked.is_some() { None } else { self.priority() };
        priority.map(|priority| HeadKey { priority, turn: self.turn })
    }

    pub(crate) fn levels(&self) -> impl Iterator<Item = &PriorityLevel> {
        self.levels.values()
    }

    /// The groups that wait for the limit of their key, with the number of their tasks.
    pub(crate) fn parked_groups(&self) -> impl Iterator<Item = (GroupKey, usize)> + '_ {
        self.levels().flat_map(PriorityLevel::parked)
    }
}
