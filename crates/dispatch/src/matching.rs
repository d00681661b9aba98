//! Choosing the next task, and the worker instance that gets it.
//!
//! For: the loop of assignment. Not for: moving tasks (see `placement`), or the orders that make each choice cheap.
//! Invariant: when matching finds nothing, nothing more could be assigned: every task that waits is held back by its run, a
//! limit, or the lack of a free instance that fits.

use consort_types::{StepInstanceId, Time};

use crate::{
    model::{Assignment, QueueId, WorkerInstanceId},
    placement::{Placement, Waiter},
    pool::{AgentId, CandidateSetId, Rank, WorkerClass},
    queues::{GroupKey, QueuePosition},
};

/// The search for one assignment.
pub(crate) struct Matching<'a> {
    placement: &'a mut Placement,
    now: Time,
}

impl<'a> Matching<'a> {
    pub(crate) fn new(placement: &'a mut Placement, now: Time) -> Self {
        Self { placement, now }
    }

    /// Assigns the next task; `None` where either tasks or instances have run out.
    pub(crate) fn run(mut self) -> Option<Assignment> {
        self.placement.limits.advance(self.now);
        self.placement.pool.half_open(self.now);
        for waiter in self.placement.limits.wake_each() {
            self.placement.wake(waiter);
        }
        loop {
            self.placement.publish_heads();
            if let Some(queue) = self.placement.pool.candidates.next_queue() {
                if let Some(assignment) = self.assign_first(queue) {
                    return Some(assignment);
                }
            } else {
                let waiter = self.placement.limits.wake()?;
                self.placement.wake(waiter);
            }
        }
    }

    /// Assigns the first task of a queue. Where that cannot be, what is at its limit waits for it from now on.
    fn assign_first(&mut self, id: QueueId) -> Option<Assignment> {
        let (position, task) = self.placement.queues.get(id)?.first()?;
        if self.park_queue(id, position) || self.park_group(id, position) || self.close_agents(id, position) {
            return None;
        }
        let instance = if self.placement.tasks.get(task)?.sticky.is_some() {
            self.sticky_instance(id, task)?
        } else {
            self.choose(id)?
        };
        self.placement.queues.take(id, position, task, true);
        Some(self.placement.assign(task, instance, self.now, true))
    }

    /// Parks the queue where one of its limiters is at its limit.
    fn park_queue(&mut self, id: QueueId, position: QueuePosition) -> bool {
        let Placement { queues, limits, .. } = &mut *self.placement;
        let Some(limiters) = queues.get(id).map(|queue| queue.limiters) else { return false };
        let full = limiters.into_iter().flatten().find(|limiter| limits.at_limit(*limiter, u32::MAX));
        if let Some(limiter) = full {
            limits.wait(limiter, Waiter::Queue(id), u32::MAX, position.priority);
            queues.park(id, Some((limiter, position.priority)));
        }
        full.is_some()
    }

    /// Parks the group of a task where the limit of its concurrency key is reached.
    fn park_group(&mut self, id: QueueId, position: QueuePosition) -> bool {
        let GroupKey::Key(limiter, own) = position.group else { return false };
        let Placement { queues, limits, .. } = &mut *self.placement;
        if !limits.at_limit(limiter, own) {
            return false;
        }
        limits.wait(limiter, Waiter::Group(id, position.priority, position.group), own, position.priority);
        queues.park_group(id, position.priority, position.group, true);
        true
    }

    /// Closes the candidate sets of agents that are at their limit; returns whether there was one.
    fn close_agents(&mut self, id: QueueId, position: QueuePosition) -> bool {
        let Placement { limits, pool, .. } = &mut *self.placement;
        if !limits.any_agent() {
            return false;
        }
        let free = pool.candidates.of_queue(id).filter(|set| pool.candidates.first_free(*set).is_some());
        let agents: Vec<AgentId> = free.filter_map(|set| Some(pool.class_of_set(set)?.agent_id)).collect();
        let mut closed = false;
        for agent in agents {
            let Some(limiter) = pool.agents.limiter(agent) else { continue };
            if limits.at_limit(limiter, u32::MAX) {
                limits.wait(limiter, Waiter::Agent(agent), u32::MAX, position.priority);
                pool.set_open(agent, false);
                closed = true;
            }
        }
        closed
    }

    /// The instance for a task with a sticky key: the one that the key is bound to, or a new one. Where the bound one
    /// is busy, the task is pinned to it, and waits for it alone.
    fn sticky_instance(&mut self, id: QueueId, task: StepInstanceId) -> Option<WorkerInstanceId> {
        let Placement { queues, pool, sticky, tasks, .. } = &mut *self.placement;
        let target = &queues.get(id)?.target;
        if target.pinned.is_some() {
            return self.choose(id);
        }
        let text = tasks.get(task)?.sticky.as_deref()?;
        match sticky.find(&target.namespace, text, |id| pool.keeps_bound(id), |id| pool.fits(id, target)) {
            Some(instance) if pool.is_free(instance) => Some(instance),
            Some(instance) => {
                self.placement.pin(task, instance);
                None
            }
            None => {
                let instance = self.choose(id)?;
                let Placement { queues, pool, sticky, tasks, .. } = &mut *self.placement;
                // An instance that is being probed may not last.
                if pool.keeps_bound(instance) {
                    let (target, task) = (&queues.get(id)?.target, tasks.get(task)?);
                    sticky.bind(&target.namespace, task.sticky.as_deref()?, instance);
                }
                Some(instance)
            }
        }
    }

    /// The free instance that goes first for a queue: the least loaded one, then the fastest. Among versions of its
    /// agent, one of the version that goes next.
    fn choose(&mut self, id: QueueId) -> Option<WorkerInstanceId> {
        let pool = &mut self.placement.pool;
        let mut sets = pool.candidates.of_queue(id);
        if sets.len() == 1 {
            return pool.candidates.first_free(sets.next()?).map(|rank| rank.2);
        }
        let free: Vec<(Rank, CandidateSetId)> =
            sets.filter_map(|set| Some((pool.candidates.first_free(set)?, set))).collect();
        let (first, set) = *free.iter().min()?;
        let agent = pool.class_of_set(set)?.agent_id;
        let of_agent = |class: &&WorkerClass| class.agent_id == agent;
        let mut versions: Vec<(std::sync::Arc<str>, u32)> = Vec::new();
        for class in free.iter().filter_map(|(_, set)| pool.class_of_set(*set).filter(of_agent)) {
            if !versions.iter().any(|(known, _)| *known == class.version) {
                versions.push((class.version.clone(), class.state.weight));
            }
        }
        if versions.len() == 1 {
            return Some(first.2);
        }
        let versions: Vec<(&str, u32)> = versions.iter().map(|(version, weight)| (&**version, *weight)).collect();
        let Some(next) = pool.agents.next_version(agent, &versions) else { return Some(first.2) };
        let of_version = free
            .iter()
            .filter(|(_, set)| pool.class_of_set(*set).filter(of_agent).is_some_and(|of| *of.version == *next));
        of_version.min().map(|(rank, _)| rank.2)
    }
}
