//! One limit on concurrency and rate, and what waits for it.
//!
//! For: counting the tasks that workers hold within one scope, and the order of the waiters. Not for: finding the
//! limiters that apply to a task.
//! Invariant: each waiter is listed once.

use std::{cmp::Reverse, collections::BTreeMap};

use consort_types::{
    Time,
    registry::{LimitScope, TaskLimit},
};

use super::bucket::TokenBucket;

/// The order of waiters: those with the widest limit of their own first (if it admits none of them, it admits none at
/// all), then by priority, then by age.
pub(super) type WaitOrder = (Reverse<u32>, Reverse<i32>, u64);

/// Whether one more task may be acquired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Admitted,
    /// The concurrency limit is reached.
    AtLimit,
    /// There is no token until then; `None` where none ever comes.
    NoToken(Option<Time>),
}

#[derive(Debug)]
pub(crate) struct Limiter<W> {
    pub(super) namespace: String,
    pub(crate) scope: LimitScope,
    /// What an operator has set; tasks of a concurrency key bring a limit of their own besides.
    pub(crate) limit: Option<TaskLimit>,
    /// Tasks that workers hold.
    pub(crate) acquired: u32,
    /// Tasks of the scope, waiting ones included; not counted for agents.
    pub(crate) members: u32,
    pub(super) bucket: Option<TokenBucket>,
    waiting: BTreeMap<WaitOrder, W>,
    orders: BTreeMap<W, WaitOrder>,
    /// Its entry among the limiters that time opens.
    pub(super) due: Option<Time>,
}

impl<W: Copy + Ord> Limiter<W> {
    pub(super) fn new(namespace: &str, scope: LimitScope) -> Self {
        Self {
            namespace: namespace.to_owned(),
            scope,
            limit: None,
            acquired: 0,
            members: 0,
            bucket: None,
            waiting: BTreeMap::new(),
            orders: BTreeMap::new(),
            due: None,
        }
    }

    fn max(&self, own: u32) -> u32 {
        self.limit.and_then(|limit| limit.concurrency).unwrap_or(u32::MAX).min(own)
    }

    /// Whether one more task, whose own limit is `own`, may be acquired now.
    pub(super) fn admission(&mut self, own: u32, now: Time) -> Admission {
        if self.acquired >= self.max(own) {
            return Admission::AtLimit;
        }
        let Some(bucket) = &mut self.bucket else { return Admission::Admitted };
        bucket.refill(now);
        if bucket.has_token() { Admission::Admitted } else { Admission::NoToken(bucket.next_token()) }
    }

    /// Why nothing is admitted, in words.
    pub(crate) fn reason(&self, own: u32) -> String {
        let max = self.max(own);
        match self.limit.and_then(|limit| limit.rate) {
            Some(rate) if self.acquired < max => {
                format!("the limit `{}` of {} tasks in {} is reached", self.scope, rate.tasks, rate.per)
            }
            _ => format!("the limit `{}` of {max} tasks at once is reached", self.scope),
        }
    }

    /// Whether no operator has set it and no task needs it.
    pub(super) fn is_unused(&self) -> bool {
        let counted = matches!(self.scope, LimitScope::Key(_));
        self.limit.is_none() && (!counted || (self.members == 0 && self.acquired == 0))
    }

    pub(super) fn has_waiters(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn first_waiter(&self) -> Option<(WaitOrder, W)> {
        self.waiting.first_key_value().map(|(order, waiter)| (*order, *waiter))
    }

    /// Adds a waiter, or moves it.
    pub(super) fn add_waiter(&mut self, waiter: W, order: WaitOrder) {
        self.remove_waiter(waiter);
        self.orders.insert(waiter, order);
        self.waiting.insert(order, waiter);
    }

    pub(super) fn remove_waiter(&mut self, waiter: W) {
        if let Some(order) = self.orders.remove(&waiter) {
            self.waiting.remove(&order);
        }
    }

    pub(super) fn take_waiters(&mut self) -> Vec<W> {
        self.orders.clear();
        std::mem::take(&mut self.waiting).into_values().collect()
    }
}
