//! Moving tasks between queues and workers.
//!
//! For: the one place that changes where a task is, and keeps queues, limits and pool in step with it. Not for: choosing
//! which task goes to which worker (see `matching`).
//! Invariant: a task that a worker holds, or held until it disconnected, is acquired from each limiter that applies to
//! it exactly once; other tasks are acquired from none.

use std::{cmp::Reverse, sync::Arc};

use consort_types::{
    StepInstanceId, Time, Token, WorkerInstance,
    registry::{LimitScope, TaskLimit},
    task::ReadyTask,
};

use crate::{
    limits::{LimiterId, Limits},
    model::{Assignment, QueueId, WorkerInstanceId},
    pool::{AgentId, Pool, WorkerClassId},
    queues::{GroupKey, Order, QueuePosition, Queues},
    route::{Selector, Target},
    stats::{Statistics, StatsId},
    sticky::StickyKeys,
    tasks::{Assigned, Moved, Place, Task, TaskTable},
};

/// What waits for a limiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Waiter {
    /// A whole queue.
    Queue(QueueId),
    /// The tasks of a queue that share a concurrency key.
    Group(QueueId, Reverse<i32>, GroupKey),
    /// All instances of an agent.
    Agent(AgentId),
}

/// Tasks, queues, limits and workers.
#[derive(Debug, Default)]
pub(crate) struct Placement {
    pub(crate) tasks: TaskTable,
    pub(crate) queues: Queues,
    pub(crate) limits: Limits<Waiter>,
    pub(crate) pool: Pool,
    pub(crate) sticky: StickyKeys,
    pub(crate) stats: Statistics,
    arrivals: u64,
}

/// Tasks.
impl Placement {
    /// Adds a task, in transit.
    pub(crate) fn add(&mut self, ready: ReadyTask) {
        self.arrivals += 1;
        let (id, deadline) = (ready.task, ready.deadline.unwrap_or(Time(u64::MAX)));
        let order = Order { deadline, ready: ready.ready, arrival: self.arrivals };
        let group = match ready.concurrency {
            Some(limit) => {
                let limiter = self.limits.find_or_add(&ready.namespace, LimitScope::Key(limit.key));
                self.limits.join(limiter);
                GroupKey::Key(limiter, limit.limit)
            }
            None => GroupKey::Run(id.run),
        };
        let (selector, sticky) = Selector::of(ready.route);
        let (namespace, capability, agent) = (ready.namespace, ready.capability, ready.agent);
        let written_by = ready.written_by;
        let queue = self.join_queue(&Target { namespace, capability, agent, selector, pinned: None, written_by });
        if let Some(queue) = self.queues.get(queue) {
            queue.limiters.iter().flatten().for_each(|limiter| self.limits.join(*limiter));
        }
        let mut task = Task::new(ready.token, queue, QueuePosition { priority: Reverse(ready.priority), group, order });
        (task.sticky, task.effect) = (sticky.map(Box::from), ready.effect);
        self.tasks.insert(id, task);
    }

    /// Removes a task. Returns the connected instance that held it.
    pub(crate) fn remove(&mut self, id: StepInstanceId) -> Option<WorkerInstanceId> {
        let holder = self.withdraw(id);
        let task = self.tasks.remove(id)?;
        let limiters = self.queues.get(task.queue).map(|queue| queue.limiters).unwrap_or_default();
        limiters.into_iter().flatten().for_each(|limiter| self.limits.leave(limiter));
        if let Some(limiter) = task.position.group.limiter() {
            self.limits.leave(limiter);
        }
        self.leave_queue(task.queue);
        holder
    }

    /// Takes a task out of the place where it is: it is in transit then. Returns the connected instance that held it.
    pub(crate) fn withdraw(&mut self, id: StepInstanceId) -> Option<WorkerInstanceId> {
        let Moved { from, queue, position } = self.tasks.set_place(id, Place::InTransit)?;
        match from {
            Place::InTransit => None,
            Place::Queued => {
                self.dequeue(id, queue, position);
                None
            }
            Place::Held => {
                if let Some(queue) = self.queues.get_mut(queue) {
                    queue.held -= 1;
                }
                None
            }
            Place::Assigned(instance) => {
                self.pool.release(instance, id);
                let agent = self.pool.class_of(instance).map(|(_, class)| class.agent_id);
                self.release(queue, position.group, agent);
                Some(instance)
            }
            Place::Disconnected { instance, .. } => {
                let agent = self.agent_named(queue, &instance);
                self.release(queue, position.group, agent);
                None
            }
        }
    }

    /// Puts a task in transit into its queue, or holds it where its run is held.
    pub(crate) fn enqueue(&mut self, id: StepInstanceId) {
        if self.tasks.is_held(id.run) {
            let queue = self.tasks.set_place(id, Place::Held).and_then(|moved| self.queues.get_mut(moved.queue));
            if let Some(queue) = queue {
                queue.held += 1;
            }
            return;
        }
        let Some(Moved { mut queue, position, .. }) = self.tasks.set_place(id, Place::Queued) else { return };
        let pinned = self.queues.get(queue).and_then(|queue| queue.target.pinned);
        if pinned.is_some_and(|instance| !self.pool.keeps_bound(instance)) {
            queue = self.transfer(id, queue, |target| target.pinned = None);
        }
        self.queues.push(queue, position, id);
        let parked = self.queues.get_mut(queue).and_then(|queue| queue.parked.as_mut());
        if let Some((limiter, priority)) = parked.filter(|(_, priority)| position.priority < *priority) {
            // The queue waits with a higher priority from now on.
            *priority = position.priority;
            self.limits.wait(*limiter, Waiter::Queue(queue), u32::MAX, position.priority);
        }
    }

    /// Removes a task from the order of its queue.
    fn dequeue(&mut self, id: StepInstanceId, queue: QueueId, position: QueuePosition) {
        let emptied = self.queues.take(queue, position, id, false);
        if let (true, Some(limiter)) = (emptied, position.group.limiter()) {
            self.limits.stop_waiting(limiter, Waiter::Group(queue, position.priority, position.group));
        }
    }

    /// Takes a queued task out of its queue, to pin it to an instance: it waits for that one alone.
    pub(crate) fn pin(&mut self, id: StepInstanceId, instance: WorkerInstanceId) {
        self.withdraw(id);
        if let Some(queue) = self.tasks.get(id).map(|task| task.queue) {
            self.transfer(id, queue, |target| target.pinned = Some(instance));
        }
        self.enqueue(id);
    }

    /// Tasks that are pinned to an instance may go to any, from now on.
    pub(crate) fn unpin(&mut self, instance: WorkerInstanceId) {
        for queue in self.queues.pinned_to(instance) {
            let Some(queue) = self.queues.get(queue) else { continue };
            let pinned: Vec<StepInstanceId> =
                queue.levels().flat_map(|level| level.tasks().map(|(_, id)| id)).collect();
            for id in pinned {
                self.withdraw(id);
                self.enqueue(id);
            }
        }
    }

    /// Gives a task in transit, or one that was just taken from its queue, to an instance; `fresh` where it is assigned,
    /// not claimed.
    pub(crate) fn assign(
        &mut self,
        id: StepInstanceId,
        instance: WorkerInstanceId,
        now: Time,
        fresh: bool,
    ) -> Assignment {
        self.pool.acquire(instance, id);
        let Some(Moved { from, queue, position }) = self.tasks.set_place(id, Place::Assigned(instance)) else {
            unreachable!("a task that is assigned is known")
        };
        assert!(matches!(from, Place::InTransit | Place::Queued), "a task is given to one worker at a time");
        let class = self.pool.class_of(instance).map(|(id, class)| (id, class.agent_id));
        self.acquire(queue, position.group, class.map(|(_, agent)| agent), fresh);
        let stats = class.and_then(|(class, _)| self.stats_of(queue, class));
        if fresh {
            if let Some(queue) = self.queues.get_mut(queue) {
                queue.assigned_lately.add(now);
            }
            if let Some(stats) = stats.and_then(|stats| self.stats.get_mut(stats)) {
                stats.queued.add(now.since(position.order.ready));
            }
        }
        let Some(task) = self.tasks.get_mut(id) else { unreachable!("a task that is assigned is known") };
        if let Some(stats) = stats {
            let before = task.assigned.filter(|_| !fresh).and_then(|assigned| assigned.at);
            task.assigned = Some(Assigned { at: if fresh { Some(now) } else { before }, stats });
        }
        Assignment { task: id, token: task.token, instance }
    }

    /// A task in transit was held by a disconnected instance, which may reconnect until then.
    pub(crate) fn assign_disconnected(&mut self, id: StepInstanceId, instance: WorkerInstance, until: Time) {
        let instance = Arc::new(instance);
        let place = Place::Disconnected { until: Some(until), instance: Arc::clone(&instance), died: false };
        let Some(Moved { queue, position, .. }) = self.tasks.set_place(id, place) else { return };
        let agent = self.agent_named(queue, &instance);
        self.acquire(queue, position.group, agent, false);
    }

    /// The statistics of the tasks of a queue that instances of a class do.
    fn stats_of(&mut self, queue: QueueId, class: WorkerClassId) -> Option<StatsId> {
        let capability = self.queues.get(queue)?.target.capability.as_deref().unwrap_or_default();
        self.pool.stats_of(class, capability, |class| {
            self.stats.find_or_add(&class.namespace, &class.agent, &class.version, capability)
        })
    }
}

/// Queues.
impl Placement {
    /// The queue of a target, with one member more.
    fn join_queue(&mut self, target: &Target) -> QueueId {
        let id = self.queues.find(target).unwrap_or_else(|| {
            let limiters = self.limits.of_queue(&target.namespace, target.capability.as_deref());
            let id = self.queues.add(target.clone(), limiters);
            self.pool.add_queue(id, target);
            id
        });
        if let Some(queue) = self.queues.get_mut(id) {
            queue.members += 1;
        }
        id
    }

    /// One member less. A queue without members is kept for its next task, unless there are very many, or its instance
    /// no longer takes bound tasks.
    fn leave_queue(&mut self, id: QueueId) {
        let Some(queue) = self.queues.get_mut(id) else { return };
        queue.members -= 1;
        if queue.members > 0 {
            return;
        }
        let unused = queue.target.pinned.is_some_and(|instance| !self.pool.keeps_bound(instance));
        if unused || self.queues.is_crowded() {
            if let Some((limiter, _)) = self.queues.get(id).and_then(|queue| queue.parked) {
                self.limits.stop_waiting(limiter, Waiter::Queue(id));
            }
            self.queues.remove(id);
            self.pool.remove_queue(id);
        }
    }

    /// Moves a task that is in no order to the queue of a changed target, of the same namespace and capability. Returns
    /// the queue.
    pub(crate) fn transfer(
        &mut self,
        id: StepInstanceId,
        before: QueueId,
        change: impl FnOnce(&mut Target),
    ) -> QueueId {
        let Some(mut target) = self.queues.get(before).map(|queue| queue.target.clone()) else {
            return before;
        };
        change(&mut target);
        // The same limiters apply to both queues.
        let queue = self.join_queue(&target);
        if let Some(task) = self.tasks.get_mut(id) {
            task.queue = queue;
        }
        self.leave_queue(before);
        queue
    }

    /// A class was added or changed: the queues that it serves choose from it.
    pub(crate) fn reconnect(&mut self, class: WorkerClassId) {
        self.pool.reconnect(class, self.queues.iter().map(|(id, queue)| (id, &queue.target)));
    }

    /// Publishes the changed heads to the pool.
    pub(crate) fn publish_heads(&mut self) {
        while let Some((queue, head)) = self.queues.next_change() {
            self.pool.set_head(queue, head);
        }
    }
}

/// Limits.
impl Placement {
    /// Counts a task that a worker holds from now on.
    fn acquire(&mut self, queue: QueueId, group: GroupKey, agent: Option<AgentId>, fresh: bool) {
        let of_agent = agent.and_then(|agent| self.pool.agents.limiter(agent));
        let Some(queue) = self.queues.get_mut(queue) else { return };
        queue.acquired += 1;
        for limiter in queue.limiters.into_iter().chain([group.limiter(), of_agent]).flatten() {
            self.limits.acquire(limiter, fresh);
        }
    }

    /// Counts a task that a worker has released.
    fn release(&mut self, queue: QueueId, group: GroupKey, agent: Option<AgentId>) {
        let of_agent = agent.and_then(|agent| self.pool.agents.limiter(agent));
        let Some(queue) = self.queues.get_mut(queue) else { return };
        queue.acquired -= 1;
        for limiter in queue.limiters.into_iter().chain([group.limiter(), of_agent]).flatten() {
            self.limits.release(limiter);
        }
    }

    /// The agent of a disconnected instance, where that matters.
    fn agent_named(&self, queue: QueueId, instance: &WorkerInstance) -> Option<AgentId> {
        let queue = self.queues.get(queue).filter(|_| self.limits.any_agent())?;
        self.pool.agents.find(&queue.target.namespace, &instance.agent)
    }

    /// What waited for a limiter takes part again.
    pub(crate) fn wake(&mut self, waiter: Waiter) {
        match waiter {
            Waiter::Queue(queue) => self.queues.park(queue, None),
            Waiter::Group(queue, priority, group) => self.queues.park_group(queue, priority, group, false),
            Waiter::Agent(agent) => self.pool.set_open(agent, true),
        }
    }

    /// Sets a limit; `None` removes it.
    pub(crate) fn set_limit(&mut self, namespace: &str, scope: &LimitScope, limit: Option<TaskLimit>, now: Time) {
        let limiter = match (self.limits.find(namespace, scope), limit) {
            (Some(known), _) => known,
            (None, Some(_)) => self.add_limiter(namespace, scope),
            (None, None) => return,
        };
        self.limits.set(limiter, limit, now);
        if limit.is_none() {
            self.limits.take_waiters(limiter).into_iter().for_each(|waiter| self.wake(waiter));
            self.detach_limiter(limiter, namespace, scope);
            self.limits.remove_unused(limiter);
        }
    }

    /// A limiter for a scope that had none: it counts the tasks that are there already.
    fn add_limiter(&mut self, namespace: &str, scope: &LimitScope) -> LimiterId {
        let limiter = self.limits.find_or_add(namespace, scope.clone());
        let (mut members, mut acquired) = (0, 0);
        match scope {
            LimitScope::Agent(name) => {
                let agent = self.pool.set_limiter(namespace, name, Some(limiter));
                let disconnected = self.tasks.iter().filter(|task| match task.place() {
                    Place::Disconnected { instance, .. } => self.agent_named(task.queue, instance) == Some(agent),
                    _ => false,
                });
                acquired = self.pool.held_by(agent) + disconnected.count();
            }
            LimitScope::Namespace | LimitScope::Capability(_) => {
                for (_, queue) in self.queues.iter_mut().filter(|(_, queue)| queue.target.namespace == namespace) {
                    queue.limiters = self.limits.of_queue(namespace, queue.target.capability.as_deref());
                    if queue.limiters.contains(&Some(limiter)) {
                        members += queue.members;
                        acquired += queue.acquired;
                    }
                }
            }
            // Tasks add the limiter of their key themselves.
            LimitScope::Key(_) => {}
        }
        self.limits.count(limiter, members, acquired);
        limiter
    }

    fn detach_limiter(&mut self, limiter: LimiterId, namespace: &str, scope: &LimitScope) {
        match scope {
            LimitScope::Agent(name) => {
                self.pool.set_limiter(namespace, name, None);
            }
            LimitScope::Key(_) => {}
            LimitScope::Namespace | LimitScope::Capability(_) => {
                for (_, queue) in self.queues.iter_mut() {
                    queue.limiters.iter_mut().filter(|known| **known == Some(limiter)).for_each(|known| *known = None);
                }
            }
        }
    }

    /// The instance that holds the current attempt.
    pub(crate) fn holder(&self, id: StepInstanceId, token: Token) -> Option<WorkerInstanceId> {
        let task = self.tasks.current(id, token)?;
        if let Place::Assigned(instance) = task.place() { Some(*instance) } else { None }
    }
}
