//! The surface of the crate.
//!
//! For: the engine's events and queries, in the order in which they happen. Not for: how it is done (see `placement`
//! and `matching`).
//! Invariant: a task is in exactly one place; the same calls in the same order give the same assignments.

use std::sync::Arc;

use consort_types::{
    Locality, RunId, StepInstanceId, Time, Token, WorkerInstance, limits,
    registry::{AgentState, LimitScope, TaskLimit},
    task::ReadyTask,
    worker::Hello,
};

use crate::{
    matching::Matching,
    model::{Assignment, Claim, Lost, Outcome, Requested, WorkerInstanceId},
    placement::Placement,
    pool::has_peer,
    tasks::{Place, Task},
    views::Views,
    writers::Writers,
};

/// Which worker instance gets which task.
#[derive(Debug, Default)]
pub struct Dispatcher {
    placement: Placement,
    draining: bool,
    revision: u64,
}

/// Tasks.
impl Dispatcher {
    /// A dispatcher without tasks or instances.
    pub fn new() -> Self {
        Self::default()
    }

    /// A task waits for a worker. An earlier attempt of it is removed.
    pub fn ready(&mut self, ready: ReadyTask) {
        let id = ready.task;
        self.placement.remove(id);
        self.placement.add(ready);
        self.placement.enqueue(id);
    }

    /// A task was assigned before a restart; its instance may reconnect until then.
    pub fn restore(&mut self, ready: ReadyTask, instance: WorkerInstance, until: Time) {
        let id = ready.task;
        self.placement.remove(id);
        self.placement.add(ready);
        self.placement.assign_disconnected(id, instance, until);
    }

    /// An attempt is over, or was taken back; with `None`, whichever attempt is the current one. Returns the connected
    /// instance that held it.
    pub fn remove(&mut self, id: StepInstanceId, token: Option<Token>) -> Option<WorkerInstanceId> {
        let current = self.placement.tasks.get(id)?.token;
        if token.is_some_and(|token| token != current) {
            return None;
        }
        self.placement.remove(id)
    }

    /// A task that was assigned, but never sent, waits again.
    pub fn requeue(&mut self, id: StepInstanceId, token: Token) {
        if self.holder(id, token).is_some() {
            self.placement.withdraw(id);
            self.placement.enqueue(id);
        }
    }

    /// Pauses or resumes the assignment of a run's tasks. Tasks that a worker holds stay there.
    pub fn hold(&mut self, run: RunId, held: bool) {
        if !self.placement.tasks.set_held(run, held) {
            return;
        }
        let of_run = self.placement.tasks.of_run(run);
        let waiting = of_run.filter(|(_, task)| matches!(task.place(), Place::Queued | Place::Held));
        let waiting: Vec<StepInstanceId> = waiting.map(|(id, _)| id).collect();
        for id in waiting {
            self.placement.withdraw(id);
            self.placement.enqueue(id);
        }
    }

    /// An attempt that a worker holds, or held until it disconnected, has ended. To be called before
    /// [`Dispatcher::remove`].
    pub fn ended(&mut self, id: StepInstanceId, token: Token, outcome: Outcome, now: Time) {
        let Placement { tasks, queues, pool, stats, .. } = &mut self.placement;
        let Some(task) = tasks.current(id, token) else { return };
        let holder = match task.place() {
            Place::Assigned(instance) => Some(*instance),
            Place::Disconnected { .. } => None,
            Place::InTransit | Place::Queued | Place::Held => return,
        };
        self.revision += 1;
        if let Some(queue) = queues.get_mut(task.queue) {
            queue.ended_lately.add(now);
        }
        let capability =
            queues.get(task.queue).and_then(|queue| queue.target.capability.as_deref()).unwrap_or_default();
        let completed_at = task.assigned.filter(|_| outcome == Outcome::Completed).and_then(|assigned| assigned.at);
        let took = completed_at.map(|at| now.since(at));
        let mut observed = task.assigned.and_then(|assigned| stats.get_mut(assigned.stats));
        if let Some(observed) = observed.as_mut() {
            observed.count(outcome);
        }
        let opened = holder.filter(|instance| {
            let has_peer = outcome == Outcome::Failed { blamed: true } && has_peer(pool, *instance, capability);
            pool.judge(*instance, |breaker| {
                if let Some(took) = took {
                    breaker.took(took, || observed.as_ref()?.took.percentile(50));
                }
                if let Some(evidence) = outcome.evidence() {
                    breaker.ended(id, capability, evidence, has_peer, now);
                }
            })
        });
        if let (Some(took), Some(observed)) = (took, observed.as_mut()) {
            observed.took.add(took);
        }
        if let Some(instance) = opened {
            self.placement.unpin(instance);
        }
    }

    /// The requirements of a task.
    pub fn requested(&self, id: StepInstanceId) -> Option<Requested<'_>> {
        let task = self.placement.tasks.get(id)?;
        let target = &self.placement.queues.get(task.queue)?.target;
        Some(Requested {
            queue: task.queue,
            namespace: &target.namespace,
            capability: target.capability.as_deref(),
            agent: target.agent.as_deref(),
            effect: task.effect,
        })
    }

    /// The connected instance that holds the attempt.
    pub fn holder(&self, id: StepInstanceId, token: Token) -> Option<WorkerInstanceId> {
        self.placement.holder(id, token)
    }

    /// Whether the attempt's instance did not reconnect in time, and its loss is being recorded.
    pub fn is_being_lost(&self, id: StepInstanceId, token: Token) -> bool {
        let task = self.placement.tasks.current(id, token);
        task.is_some_and(|task| matches!(task.place(), Place::Disconnected { until: None, .. }))
    }

    /// Tasks that wait for a worker.
    pub fn queued(&self) -> usize {
        self.placement.tasks.waiting()
    }

    /// Tasks that connected instances hold.
    pub fn held(&self) -> usize {
        self.placement.tasks.assigned()
    }
}

/// Matching.
impl Dispatcher {
    /// Assigns ready tasks to instances until one of the two runs out: by priority, then fairly between runs and keys,
    /// then by deadline and age; to the least loaded instance, then to the fastest.
    pub fn assign(&mut self, now: Time) -> Vec<Assignment> {
        std::iter::from_fn(|| self.assign_one(now)).collect()
    }

    /// Assigns the next ready task, where one may be assigned: changes to the instance between two calls count for the
    /// next.
    pub fn assign_one(&mut self, now: Time) -> Option<Assignment> {
        if self.draining {
            return None;
        }
        let assignment = Matching::new(&mut self.placement, now).run()?;
        self.revision += 1;
        Some(assignment)
    }

    /// Tasks that wait for the version that wrote their journals.
    pub fn writers(&mut self) -> Writers<'_> {
        Writers::new(&mut self.placement)
    }

    /// When time alone lets something more be assigned: a token comes, or an instance may be probed.
    pub fn next_opening(&self) -> Option<Time> {
        if self.draining {
            return None;
        }
        [self.placement.limits.next_due(), self.placement.pool.next_probe()].into_iter().flatten().min()
    }

    /// Assigns nothing more from now on.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether assignment has stopped.
    pub fn is_draining(&self) -> bool {
        self.draining
    }
}

/// Worker instances.
impl Dispatcher {
    /// An instance joins, in this start of the engine.
    pub fn join(&mut self, hello: &Hello, locality: Locality, start: u64, now: Time) -> WorkerInstanceId {
        self.revision += 1;
        let (instance, class, only) = self.placement.pool.join(hello, locality, start, now);
        if only {
            self.placement.reconnect(class);
        }
        instance
    }

    /// An instance is disconnected; the tasks that it holds wait until `until` for it to reconnect.
    pub fn disconnect(&mut self, instance: WorkerInstanceId, until: Time) {
        let Some(departed) = self.placement.pool.leave(instance) else { return };
        self.revision += 1;
        for id in departed.held {
            let instance = Arc::clone(&departed.name);
            let place = Place::Disconnected { until: Some(until), instance, died: !departed.was_leaving };
            self.placement.tasks.set_place(id, place);
        }
        self.placement.unpin(instance);
        self.placement.pool.remove_unused_class(departed.class);
    }

    /// An instance gets no more tasks; it keeps those that it holds.
    pub fn drain_instance(&mut self, instance: WorkerInstanceId) {
        self.revision += 1;
        self.placement.pool.drain(instance);
        self.placement.unpin(instance);
    }

    /// How many tasks an instance holds at most from now on, at most [`limits::INSTANCE_CREDIT_MAX`]; what it holds
    /// stays. One that is draining gets nothing all the same.
    pub fn set_capacity(&mut self, instance: WorkerInstanceId, tasks: u32) {
        self.revision += 1;
        self.placement.pool.set_capacity(instance, tasks.min(limits::INSTANCE_CREDIT_MAX) as usize);
        if tasks == 0 {
            self.placement.unpin(instance);
        }
    }

    /// An instance claims a task that it holds from before a reconnect. `recovered` says that the attempt was made
    /// ready before this start of the engine, so that the record of its assignment may have been lost with the previous
    /// one.
    pub fn claim(
        &mut self,
        instance: WorkerInstanceId,
        id: StepInstanceId,
        token: Token,
        recovered: bool,
        now: Time,
    ) -> Claim {
        let Some(task) = self.placement.tasks.current(id, token) else {
            return Claim::Refused { reason: "the attempt is over" };
        };
        let unrecorded = !matches!(task.place(), Place::Disconnected { .. });
        if !self.may_claim(instance, task, recovered) {
            return Claim::Refused { reason: "the attempt is not with this instance" };
        }
        self.revision += 1;
        let from = self.placement.withdraw(id);
        self.placement.assign(id, instance, now, false);
        Claim::Granted { from, unrecorded }
    }

    /// Whether an instance may claim a task: from a disconnected instance of its agent and namespace, from one of its
    /// own worker whose disconnect was not noticed yet, or, where the assignment may not have been recorded, any task
    /// that it could have been assigned.
    fn may_claim(&self, instance: WorkerInstanceId, task: &Task, recovered: bool) -> bool {
        let Placement { pool, queues, .. } = &self.placement;
        let Some((own, (_, class))) = pool.instance(instance).zip(pool.class_of(instance)) else { return false };
        let Some(target) = queues.get(task.queue).map(|queue| &queue.target) else { return false };
        match task.place() {
            Place::Assigned(holder) => {
                let of_agent = pool.class_of(*holder).is_some_and(|(_, of)| of.agent_id == class.agent_id);
                let of_worker = pool.instance(*holder).is_some_and(|holder| holder.worker == own.worker);
                of_agent && of_worker && !own.worker.is_empty()
            }
            Place::Disconnected { until: Some(_), instance: holder, .. } => {
                *class.namespace == *target.namespace && *class.agent == *holder.agent
            }
            // It is being reported as lost: the token is about to change.
            Place::Disconnected { until: None, .. } | Place::InTransit => false,
            Place::Queued | Place::Held => recovered && class.can(target),
        }
    }

    /// Counts bytes that wait for an instance. It is assigned nothing while they are at their limit.
    pub fn add_unread(&mut self, instance: WorkerInstanceId, bytes: usize) {
        self.placement.pool.set_unread(instance, |unread| unread.saturating_add(bytes));
    }

    /// Subtracts bytes that an instance has read, or that will not be sent.
    pub fn take_unread(&mut self, instance: WorkerInstanceId, bytes: usize) {
        self.placement.pool.set_unread(instance, |unread| unread.saturating_sub(bytes));
    }

    /// Bytes that wait for an instance.
    pub fn unread(&self, instance: WorkerInstanceId) -> usize {
        self.placement.pool.instance(instance).map_or(0, |instance| instance.unread)
    }

    /// Sets how many bytes may wait for an instance before it is assigned nothing more.
    pub fn set_unread_max(&mut self, instance: WorkerInstanceId, bytes: usize) {
        self.placement.pool.set_unread_max(instance, bytes);
    }

    /// A message of an instance arrived.
    pub fn heard(&mut self, instance: WorkerInstanceId, now: Time) {
        self.placement.pool.liveness.heard(instance, now);
    }

    /// Remote instances without a message since `heard_before`.
    pub fn silent(&mut self, heard_before: Time) -> Vec<WorkerInstanceId> {
        self.placement.pool.liveness.silent(heard_before)
    }

    /// When the last message came from the remote instance that is silent for longest.
    pub fn longest_silence(&mut self) -> Option<Time> {
        self.placement.pool.liveness.longest_silence()
    }

    /// Attempts whose instance did not reconnect in time; each is returned once.
    pub fn lost(&mut self, now: Time) -> Vec<Lost> {
        self.placement.tasks.take_lost(now)
    }

    /// When the next attempt is lost.
    pub fn next_loss(&self) -> Option<Time> {
        self.placement.tasks.next_loss()
    }

    /// Where an instance runs; `None` where it is not connected.
    pub fn locality(&self, instance: WorkerInstanceId) -> Option<Locality> {
        self.placement.pool.instance(instance).map(|instance| instance.locality)
    }

    /// The name of a connected instance.
    pub fn name(&self, instance: WorkerInstanceId) -> Option<&Arc<WorkerInstance>> {
        self.placement.pool.instance(instance).map(|instance| &instance.name)
    }

    /// The version of its agent that a connected instance serves.
    pub fn version(&self, instance: WorkerInstanceId) -> Option<&str> {
        self.placement.pool.class_of(instance).map(|(_, class)| &*class.version)
    }

    /// The namespace that a connected instance serves.
    pub fn namespace(&self, instance: WorkerInstanceId) -> Option<&Arc<str>> {
        self.placement.pool.class_of(instance).map(|(_, class)| &class.namespace)
    }

    /// The connected instances, in the order in which they joined.
    pub fn instances(&self) -> Vec<WorkerInstanceId> {
        self.placement.pool.instances().map(|(id, _)| id).collect()
    }

    /// The connected instances of a version of an agent.
    pub fn instances_of(&self, namespace: &str, agent: &str, version: &str) -> Vec<WorkerInstanceId> {
        let Some(agent) = self.placement.pool.agents.find(namespace, agent) else { return Vec::new() };
        let classes = self.placement.pool.classes_of(agent, version);
        classes.flat_map(|(class, _)| self.placement.pool.members(class).map(|(id, _)| id)).collect()
    }

    /// How many instances of an agent are connected, of one version or of all.
    pub fn connected(&self, namespace: &str, agent: &str, version: Option<&str>) -> usize {
        let pool = &self.placement.pool;
        let Some(agent) = pool.agents.find(namespace, agent) else { return 0 };
        let classes = pool.agents.classes(agent).filter(|class| {
            let known = pool.class(*class);
            known.is_some_and(|known| version.is_none_or(|version| *known.version == *version))
        });
        classes.map(|class| pool.members(class).count()).sum()
    }

    /// How many instances are connected.
    pub fn instance_count(&self) -> usize {
        self.placement.pool.instances().len()
    }
}

/// What operators set.
impl Dispatcher {
    /// Sets the weight of a version of an agent, and whether it drains; `None` for the default.
    pub fn set_agent_state(&mut self, namespace: &str, agent: &str, version: &str, state: Option<AgentState>) {
        self.revision += 1;
        for class in self.placement.pool.set_state(namespace, agent, version, state) {
            self.placement.reconnect(class);
            let members: Vec<WorkerInstanceId> = self.placement.pool.members(class).map(|(id, _)| id).collect();
            for id in members {
                if !self.placement.pool.keeps_bound(id) {
                    self.placement.unpin(id);
                }
            }
        }
    }

    /// Sets a limit; an empty one removes it.
    pub fn set_limit(&mut self, namespace: &str, scope: &LimitScope, limit: TaskLimit, now: Time) {
        let limit = Some(limit).filter(|limit| *limit != TaskLimit::default());
        self.placement.set_limit(namespace, scope, limit, now);
    }

    /// How many tasks wait, and how many may, where a limit on them is reached.
    pub fn queue_full(&self, namespace: &str, scope: &LimitScope) -> Option<(u32, u32)> {
        let limits = &self.placement.limits;
        let limiter = limits.get(limits.find(namespace, scope)?)?;
        let (waiting, max) = (limiter.members.saturating_sub(limiter.acquired), limiter.limit?.queue?);
        (waiting >= max).then_some((waiting, max))
    }

    /// Whether any capability of the namespace has a limit on the tasks that wait for it.
    pub fn limits_capability_queues(&self, namespace: &str) -> bool {
        self.placement.limits.set_in(namespace).any(|(_, limiter)| {
            matches!(limiter.scope, LimitScope::Capability(_))
                && limiter.limit.is_some_and(|limit| limit.queue.is_some())
        })
    }
}

/// What operators see.
impl Dispatcher {
    /// Queues, limits and agents as they are now.
    pub fn views(&self) -> Views<'_> {
        Views::new(&self.placement, self.draining)
    }

    /// Grows whenever something changes that agents are shown with.
    pub fn revision(&self) -> u64 {
        self.revision
    }
}
