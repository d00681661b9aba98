//! Instances that come, go, and come back.
//!
//! For: joining, leaving, credit, claims after a reconnect, silence and losses. Not for: what they are given.
//! Invariant: a task that an instance held stays its own until it is claimed, lost or over.

use std::sync::Arc;

use consort_types::{TaskId, Time, Token, WorkerInstance, limits, worker::Hello};

use super::{Claim, Dispatcher, InstanceId, Lost, Place, Task};
use crate::{Locality, handle::AgentStatus};

impl Dispatcher {
    /// An instance joins, in this start of the engine.
    pub fn join(&mut self, hello: &Hello, locality: Locality, start: u64, now: Time) -> InstanceId {
        self.revision += 1;
        let (instance, kind) = self.pool.join(hello, locality, start, now);
        if self.pool.members(kind).nth(1).is_none() {
            self.queues.connect(kind, &mut self.pool);
        }
        instance
    }

    /// A task that was given, but never sent, waits again.
    pub fn put_back(&mut self, id: TaskId, token: Token) {
        if self.holder(id, token).is_some() {
            self.withdraw(id);
            self.put_in_line(id);
        }
    }

    /// An instance leaves; the tasks that it holds wait until `until` for it to come back.
    pub fn leave(&mut self, instance: InstanceId, until: Time) {
        let Some(kind) = self.pool.instance(instance).map(|instance| instance.kind) else { return };
        let Some(left) = self.pool.leave(instance) else { return };
        self.revision += 1;
        for id in left.held {
            self.held -= 1;
            self.orphaned += 1;
            self.orphans.insert((until, id));
            if let Some(task) = self.tasks.get_mut(&id) {
                task.place = Place::Orphan { until: Some(until), instance: Arc::clone(&left.name) };
            }
        }
        self.unpin(instance);
        if self.pool.members(kind).next().is_none() {
            self.queues.disconnect(kind, &mut self.pool);
        }
    }

    /// An instance gets no more tasks; it keeps those that it holds.
    pub fn give_no_more(&mut self, instance: InstanceId) {
        self.revision += 1;
        self.pool.give_no_more(instance);
        self.unpin(instance);
    }

    /// How many tasks an instance wants to hold at once from now on; what it holds stays. One that is leaving gets
    /// nothing all the same.
    pub fn set_credit(&mut self, instance: InstanceId, tasks: u32) {
        self.revision += 1;
        self.pool.set_credit(instance, tasks.min(limits::INSTANCE_CREDIT_MAX) as usize);
        if tasks == 0 {
            self.unpin(instance);
        }
    }

    /// An instance claims a task that it holds from before a reconnect. `recovered` says that the attempt was made
    /// ready before this start of the engine, so that its hand-out may have been lost with the last one.
    pub fn claim(&mut self, instance: InstanceId, id: TaskId, token: Token, recovered: bool, now: Time) -> Claim {
        let Some(task) = self.tasks.get(&id).filter(|task| task.token == token) else {
            return Claim::Refused { reason: "the attempt is over" };
        };
        let unrecorded = !matches!(task.place, Place::Orphan { .. });
        if !self.may_claim(instance, task, recovered) {
            return Claim::Refused { reason: "the attempt is not with this instance" };
        }
        let from = self.withdraw(id);
        self.give(id, instance, now, false);
        Claim::Granted { from, unrecorded }
    }

    /// Whether an instance may claim a task: from an instance of its agent and namespace that is gone, from one of its
    /// own worker whose connection was not missed yet, or, where the hand-out may not have been recorded, any task that
    /// it could have been given.
    fn may_claim(&self, instance: InstanceId, task: &Task, recovered: bool) -> bool {
        let Some(own) = self.pool.instance(instance) else { return false };
        let Some(kind) = self.pool.kind(own.kind) else { return false };
        let Some(target) = self.queues.get(task.queue).map(|queue| &queue.target) else { return false };
        match &task.place {
            Place::Held(holder) => self.pool.instance(*holder).is_some_and(|holder| {
                let of_agent = self.pool.kind(holder.kind).map(|of| of.agent_id) == Some(kind.agent_id);
                of_agent && !own.worker.is_empty() && holder.worker == own.worker
            }),
            Place::Orphan { until: Some(_), instance: holder } => {
                *kind.namespace == *target.namespace && *kind.agent == *holder.agent
            }
            // It is being reported as lost: the fence moves.
            Place::Orphan { until: None, .. } | Place::Nowhere => false,
            Place::Queued | Place::Aside => recovered && kind.can(target),
        }
    }

    /// Notes bytes that wait for an instance. It is handed nothing while as many wait as may.
    pub fn add_unread(&mut self, instance: InstanceId, bytes: usize) {
        self.pool.set_unread(instance, |unread| unread.saturating_add(bytes));
    }

    /// Notes bytes that an instance has read, or that are not going to be sent.
    pub fn take_unread(&mut self, instance: InstanceId, bytes: usize) {
        self.pool.set_unread(instance, |unread| unread.saturating_sub(bytes));
    }

    /// Bytes that wait for an instance.
    pub fn unread(&self, instance: InstanceId) -> usize {
        self.pool.instance(instance).map_or(0, |instance| instance.unread)
    }

    /// Sets how many bytes may wait for an instance before it is handed nothing more.
    pub fn set_unread_max(&mut self, instance: InstanceId, bytes: usize) {
        self.pool.set_unread_max(instance, bytes);
    }

    /// An instance was heard of.
    pub fn heard(&mut self, instance: InstanceId, now: Time) {
        self.pool.heard(instance, now);
    }

    /// Where an instance lives; `None` where it is not connected.
    pub fn locality(&self, instance: InstanceId) -> Option<Locality> {
        self.pool.instance(instance).map(|instance| instance.locality)
    }

    /// The name of a connected instance.
    pub fn name(&self, instance: InstanceId) -> Option<&Arc<WorkerInstance>> {
        self.pool.instance(instance).map(|instance| &instance.name)
    }

    /// The namespace that a connected instance serves.
    pub fn namespace(&self, instance: InstanceId) -> Option<&Arc<str>> {
        let kind = self.pool.instance(instance)?.kind;
        self.pool.kind(kind).map(|kind| &kind.namespace)
    }

    /// How many instances of an agent are connected, of one version or of all.
    pub fn connected(&self, namespace: &str, agent: &str, version: Option<&str>) -> usize {
        let Some(agent) = self.pool.agents.find(namespace, agent) else { return 0 };
        let kinds = self.pool.agents.kinds(agent).filter(|kind| {
            let known = self.pool.kind(*kind);
            known.is_some_and(|known| version.is_none_or(|version| *known.version == *version))
        });
        kinds.map(|kind| self.pool.members(kind).count()).sum()
    }

    /// The connected instances, in the order in which they joined.
    pub fn instances(&self) -> Vec<InstanceId> {
        self.pool.instances().collect()
    }

    /// The connected instances of a version of an agent.
    pub fn instances_of(&self, namespace: &str, agent: &str, version: &str) -> Vec<InstanceId> {
        let Some(agent) = self.pool.agents.find(namespace, agent) else { return Vec::new() };
        let kinds = self.pool.kinds_of(agent, version);
        kinds.flat_map(|(kind, _)| self.pool.members(kind).map(|(id, _)| id)).collect()
    }

    /// How many instances are connected.
    pub fn instance_count(&self) -> usize {
        self.pool.instances().len()
    }

    /// Remote instances that were not heard of since `heard_before`.
    pub fn silent(&mut self, heard_before: Time) -> Vec<InstanceId> {
        self.pool.silent(heard_before)
    }

    /// When the remote instance that was silent for longest was last heard of.
    pub fn longest_silence(&mut self) -> Option<Time> {
        self.pool.longest_silence()
    }

    /// Attempts whose instance has not come back in time. Each is given out once.
    pub fn lost(&mut self, now: Time) -> Vec<Lost> {
        let mut lost = Vec::new();
        while let Some((until, id)) = self.orphans.first().copied().filter(|(until, _)| *until <= now) {
            self.orphans.remove(&(until, id));
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            if let Place::Orphan { until, instance } = &mut task.place {
                *until = None;
                lost.push(Lost { task: id, token: task.token, reason: format!("instance `{instance}` is gone") });
            }
        }
        lost
    }

    /// When the next attempt counts as lost.
    pub fn next_loss(&self) -> Option<Time> {
        self.orphans.first().map(|(until, _)| *until)
    }

    /// The agents of a namespace that are connected.
    pub fn agents(&self, namespace: &str) -> Vec<AgentStatus> {
        self.pool.status(namespace)
    }
}
