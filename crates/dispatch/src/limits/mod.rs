//! Limits on concurrency and rates, and their waiters.
//!
//! For: counting what workers hold by namespace, capability, agent and concurrency key; token buckets; waking waiters.
//! Not for: what waits (queues and their groups do), or which limits are set (the core knows).
//! Invariant: a waiter of a limiter that admits it is woken before matching ends; other waiters are not visited.

mod bucket;
mod limiter;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use consort_types::{
    Time,
    registry::{LimitScope, TaskLimit},
};

use bucket::TokenBucket;
use limiter::Admission;
pub(crate) use limiter::Limiter;

/// A limiter. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LimiterId(u64);

/// All limiters; `W` is what can wait for one.
#[derive(Debug)]
pub(crate) struct Limits<W> {
    all: BTreeMap<LimiterId, Limiter<W>>,
    by_scope: BTreeMap<String, BTreeMap<LimitScope, LimiterId>>,
    /// Limiters that may admit a waiter.
    wakeable: BTreeSet<LimiterId>,
    /// Limiters by when they get a token that a waiter needs.
    due: BTreeSet<(Time, LimiterId)>,
    added: u64,
    waits: u64,
    agents: usize,
    now: Time,
}

impl<W> Default for Limits<W> {
    fn default() -> Self {
        Self {
            all: BTreeMap::new(),
            by_scope: BTreeMap::new(),
            wakeable: BTreeSet::new(),
            due: BTreeSet::new(),
            added: 0,
            waits: 0,
            agents: 0,
            now: Time::default(),
        }
    }
}

impl<W: Copy + Ord> Limits<W> {
    /// Moves the time to `now`: limiters whose token has come may admit a waiter.
    pub(crate) fn advance(&mut self, now: Time) {
        self.now = self.now.max(now);
        while let Some((due, id)) = self.due.first().copied().filter(|(due, _)| *due <= self.now) {
            self.due.remove(&(due, id));
            if let Some(limiter) = self.all.get_mut(&id) {
                limiter.due = None;
                self.wakeable.insert(id);
            }
        }
    }

    /// When the next token comes that a waiter needs.
    pub(crate) fn next_due(&self) -> Option<Time> {
        self.due.first().map(|(due, _)| *due)
    }

    pub(crate) fn find(&self, namespace: &str, scope: &LimitScope) -> Option<LimiterId> {
        self.by_scope.get(namespace)?.get(scope).copied()
    }

    pub(crate) fn get(&self, id: LimiterId) -> Option<&Limiter<W>> {
        self.all.get(&id)
    }

    /// Whether any agent has a limit.
    pub(crate) fn any_agent(&self) -> bool {
        self.agents > 0
    }

    /// The limiters of a namespace that an operator has set, by scope.
    pub(crate) fn set_in(&self, namespace: &str) -> impl Iterator<Item = (LimiterId, &Limiter<W>)> {
        let ids = self.by_scope.get(namespace).into_iter().flat_map(BTreeMap::values);
        ids.filter_map(|id| Some((*id, self.all.get(id)?))).filter(|(_, limiter)| limiter.limit.is_some())
    }

    /// The limiters that apply to a whole queue: of its namespace and of its capability.
    pub(crate) fn of_queue(&self, namespace: &str, capability: Option<&str>) -> [Option<LimiterId>; 2] {
        let Some(known) = self.by_scope.get(namespace) else { return [None; 2] };
        let capability = capability.and_then(|name| known.get(&LimitScope::Capability(name.to_owned())).copied());
        [known.get(&LimitScope::Namespace).copied(), capability]
    }

    pub(crate) fn find_or_add(&mut self, namespace: &str, scope: LimitScope) -> LimiterId {
        if let Some(id) = self.find(namespace, &scope) {
            return id;
        }
        self.added += 1;
        let id = LimiterId(self.added);
        self.agents += usize::from(matches!(scope, LimitScope::Agent(_)));
        self.by_scope.entry(namespace.to_owned()).or_default().insert(scope.clone(), id);
        self.all.insert(id, Limiter::new(namespace, scope));
        id
    }

    /// Sets the limit of an operator; an existing bucket keeps its tokens.
    pub(crate) fn set(&mut self, id: LimiterId, limit: Option<TaskLimit>, now: Time) {
        self.now = self.now.max(now);
        let Some(limiter) = self.all.get_mut(&id) else { return };
        limiter.limit = limit;
        let before = limiter.bucket.take();
        limiter.bucket = limit.and_then(|limit| limit.rate).map(|rate| match before {
            Some(before) => before.with_rate(rate, self.now),
            None => TokenBucket::new(rate, self.now),
        });
        self.wakeable.insert(id);
    }

    /// Counts tasks that were there before the limiter was.
    pub(crate) fn count(&mut self, id: LimiterId, members: usize, acquired: usize) {
        let Some(limiter) = self.all.get_mut(&id) else { return };
        limiter.members += u32::try_from(members).unwrap_or(u32::MAX);
        limiter.acquired += u32::try_from(acquired).unwrap_or(u32::MAX);
    }

    /// Removes a limiter that no operator has set and no task needs.
    pub(crate) fn remove_unused(&mut self, id: LimiterId) {
        let Some(limiter) = self.all.get(&id).filter(|limiter| limiter.is_unused()) else { return };
        assert!(!limiter.has_waiters(), "a limiter that is removed has no waiters");
        if let Some(known) = self.by_scope.get_mut(&limiter.namespace) {
            known.remove(&limiter.scope);
            if known.is_empty() {
                self.by_scope.remove(&limiter.namespace);
            }
        }
        if let Some(due) = limiter.due {
            self.due.remove(&(due, id));
        }
        self.agents -= usize::from(matches!(limiter.scope, LimitScope::Agent(_)));
        self.wakeable.remove(&id);
        self.all.remove(&id);
    }

    /// A task of the scope was added.
    pub(crate) fn join(&mut self, id: LimiterId) {
        if let Some(limiter) = self.all.get_mut(&id) {
            limiter.members += 1;
        }
    }

    /// A task of the scope was removed.
    pub(crate) fn leave(&mut self, id: LimiterId) {
        let Some(limiter) = self.all.get_mut(&id) else { return };
        assert!(limiter.members > 0, "a task leaves a limiter as often as it joined");
        limiter.members -= 1;
        if limiter.members == 0 {
            self.remove_unused(id);
        }
    }

    /// Whether one more task, whose own limit is `own`, must wait.
    pub(crate) fn at_limit(&mut self, id: LimiterId, own: u32) -> bool {
        self.all.get_mut(&id).is_some_and(|limiter| limiter.admission(own, self.now) != Admission::Admitted)
    }

    /// Counts a task that a worker holds from now on; `fresh` where it was assigned now, and so takes a token.
    pub(crate) fn acquire(&mut self, id: LimiterId, fresh: bool) {
        let Some(limiter) = self.all.get_mut(&id) else { return };
        limiter.acquired += 1;
        if let Some(bucket) = limiter.bucket.as_mut().filter(|_| fresh) {
            bucket.refill(self.now);
            bucket.take();
        }
    }

    /// A worker has released a task. The first waiter has to be woken: see [`Limits::wake`].
    pub(crate) fn release(&mut self, id: LimiterId) {
        let Some(limiter) = self.all.get_mut(&id) else { return };
        assert!(limiter.acquired > 0, "a limiter is released as often as it was acquired");
        limiter.acquired -= 1;
        if limiter.has_waiters() {
            self.wakeable.insert(id);
        }
    }

    /// Adds a waiter, or moves it to where its new priority puts it.
    pub(crate) fn wait(&mut self, id: LimiterId, waiter: W, own: u32, priority: Reverse<i32>) {
        self.waits += 1;
        let Some(limiter) = self.all.get_mut(&id) else { return };
        limiter.add_waiter(waiter, (Reverse(own), priority, self.waits));
        let admission = limiter.admission(own, self.now);
        self.note(id, admission);
    }

    pub(crate) fn stop_waiting(&mut self, id: LimiterId, waiter: W) {
        if let Some(limiter) = self.all.get_mut(&id) {
            limiter.remove_waiter(waiter);
        }
    }

    /// Notes whether the limiter admits a waiter now, or when time lets it.
    fn note(&mut self, id: LimiterId, admission: Admission) {
        let Some(limiter) = self.all.get_mut(&id) else { return };
        match admission {
            Admission::Admitted => {
                self.wakeable.insert(id);
            }
            Admission::NoToken(Some(due)) if limiter.due != Some(due) => {
                if let Some(before) = limiter.due.replace(due) {
                    self.due.remove(&(before, id));
                }
                self.due.insert((due, id));
            }
            Admission::AtLimit | Admission::NoToken(_) => {}
        }
    }

    /// Removes and returns the first waiter of some limiter that admits it.
    pub(crate) fn wake(&mut self) -> Option<W> {
        while let Some(id) = self.wakeable.first().copied() {
            if let Some(waiter) = self.wake_first(id) {
                return Some(waiter);
            }
        }
        None
    }

    /// As [`Limits::wake`], one waiter of each limiter.
    pub(crate) fn wake_each(&mut self) -> Vec<W> {
        if self.wakeable.is_empty() {
            return Vec::new();
        }
        let wakeable: Vec<LimiterId> = self.wakeable.iter().copied().collect();
        wakeable.into_iter().filter_map(|id| self.wake_first(id)).collect()
    }

    fn wake_first(&mut self, id: LimiterId) -> Option<W> {
        let first = self.all.get_mut(&id).and_then(|limiter| {
            let (order, waiter) = limiter.first_waiter()?;
            Some((waiter, limiter.admission(order.0.0, self.now)))
        });
        match first {
            Some((waiter, Admission::Admitted)) => {
                self.stop_waiting(id, waiter);
                Some(waiter)
            }
            other => {
                self.wakeable.remove(&id);
                if let Some((_, admission)) = other {
                    self.note(id, admission);
                }
                None
            }
        }
    }

    /// Removes and returns all waiters of a limiter.
    pub(crate) fn take_waiters(&mut self, id: LimiterId) -> Vec<W> {
        self.all.get_mut(&id).map(Limiter::take_waiters).unwrap_or_default()
    }
}
