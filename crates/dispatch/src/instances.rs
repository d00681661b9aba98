//! Instances that come, go, and come back.
//!
//! For: joining, leaving, credit, claims after a reconnect, silence and losses. Not for: what they are given.
//! Invariant: a task that an instance held stays its own until it is claimed, lost or over.

use std::sync::Arc;

use consort_types::{TaskId, Time, Token, limits, worker::Hello};

use super::{Claim, Dispatcher, InstanceId, Lost, Place};
use crate::Locality;
use consort_types::registry::AgentStatus;

impl Dispatcher {
    /// An instance joins. Its name is `prefix`, its number and its agent, with colons between.
    pub fn join(&mut self, hello: &Hello, locality: Locality, prefix: &str, now: Time) -> InstanceId {
        self.revision += 1;
        let (instance, kind) = self.pool.join(hello, locality, prefix, now);
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

    /// An instance claims a task that it holds from before a reconnect.
    pub fn claim(&mut self, instance: InstanceId, id: TaskId, token: Token, now: Time) -> Claim {
        let Some(task) = self.tasks.get(&id).filter(|task| task.token == token) else { return Claim::Refused };
        let unrecorded = !matches!(task.place, Place::Orphan { .. });
        if let Place::Orphan { until: None, .. } = task.place {
            // It is being reported as lost; the fence moves.
            return Claim::Refused;
        }
        if self.pool.instance(instance).is_none() {
            return Claim::Refused;
        }
        let from = self.withdraw(id);
        self.give(id, instance, now, false);
        Claim::Granted { from, unrecorded }
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
    pub fn name(&self, instance: InstanceId) -> Option<&Arc<str>> {
        self.pool.instance(instance).map(|instance| &instance.name)
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

    /// The agents that are connected.
    pub fn agents(&self) -> Vec<AgentStatus> {
        self.pool.status()
    }
}
