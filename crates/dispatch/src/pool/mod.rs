//! The connected worker instances.
//!
//! For: capacity, load, health and silence; which instances fit which queue. Not for: the order of tasks.
//! Invariant: an instance has the same rank in each of its candidate sets, and none where it is not free.

mod agents;
mod breaker;
mod candidates;
mod class;
mod instance;
mod liveness;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use consort_types::{Locality, StepInstanceId, Time, limits, registry::AgentState, worker::Hello};

use crate::{
    limits::LimiterId,
    model::{QueueId, WorkerInstanceId},
    queues::HeadKey,
    route::Target,
    stats::StatsId,
};
use agents::Agents;
pub(crate) use agents::{AgentId, WorkerClassId};
use breaker::Breaker;
pub(crate) use candidates::{CandidateSetId, Rank};
use candidates::{CandidateSets, Choice};
pub(crate) use class::WorkerClass;
pub(crate) use instance::{Departed, WorkerInstance};
use liveness::Liveness;

type ClassKey = (AgentId, String, BTreeSet<String>);

/// The connected instances.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    pub(crate) agents: Agents,
    classes: BTreeMap<WorkerClassId, WorkerClass>,
    by_key: BTreeMap<ClassKey, WorkerClassId>,
    instances: BTreeMap<WorkerInstanceId, WorkerInstance>,
    pub(crate) liveness: Liveness,
    pub(crate) candidates: CandidateSets,
    /// Instances whose breaker is open, by when they are probed.
    probes: BTreeSet<(Time, WorkerInstanceId)>,
    instances_added: u64,
    classes_added: u64,
}

/// Joining and leaving.
impl Pool {
    /// Adds an instance; returns whether it is the only one of its class.
    pub(crate) fn join(
        &mut self,
        hello: &Hello,
        locality: Locality,
        start: u64,
        now: Time,
    ) -> (WorkerInstanceId, WorkerClassId, bool) {
        self.instances_added += 1;
        let id = WorkerInstanceId(self.instances_added);
        let class_id = self.find_or_add_class(hello);
        let mut labels = hello.agent.labels.clone();
        labels.extend(hello.labels.clone());
        let (mut sets, mut only) = (Vec::new(), true);
        if let Some(class) = self.classes.get_mut(&class_id) {
            only = class.members.is_empty();
            class.members.insert(id);
            sets = class.sets.iter().filter(|(choice, _)| choice.fits(id, &labels)).map(|(_, set)| *set).collect();
        }
        let agent = hello.agent.name.clone();
        let instance = WorkerInstance {
            name: Arc::new(consort_types::WorkerInstance { locality, start, number: id.0, agent }),
            client: hello.client.clone(),
            worker: hello.worker.clone(),
            labels,
            class: class_id,
            locality,
            capacity: hello.concurrency as usize,
            unread: 0,
            unread_max: limits::INSTANCE_UNREAD_BYTES_MAX,
            draining: false,
            held: BTreeSet::new(),
            connected: now,
            breaker: Breaker::new(),
            rank: None,
            sets,
        };
        self.liveness.add(id, locality, now);
        self.instances.insert(id, instance);
        self.update_rank(id);
        (id, class_id, only)
    }

    fn find_or_add_class(&mut self, hello: &Hello) -> WorkerClassId {
        let agent = &hello.agent;
        let agent_id = self.agents.find_or_add(&hello.namespace, &agent.name);
        let capabilities: BTreeSet<String> = agent.capabilities.iter().map(|declared| declared.name.clone()).collect();
        let key = (agent_id, agent.version.clone(), capabilities);
        if let Some(id) = self.by_key.get(&key) {
            return *id;
        }
        self.classes_added += 1;
        let id = WorkerClassId(self.classes_added);
        let class = WorkerClass {
            namespace: Arc::from(hello.namespace.as_str()),
            agent: Arc::from(agent.name.as_str()),
            agent_id,
            version: Arc::from(agent.version.as_str()),
            capabilities: key.2.clone(),
            state: self.agents.state(agent_id, &agent.version),
            members: BTreeSet::new(),
            sets: BTreeMap::new(),
            stats: BTreeMap::new(),
        };
        self.by_key.insert(key, id);
        self.agents.add_class(agent_id, id);
        self.classes.insert(id, class);
        id
    }

    /// Removes an instance, and its class where it was the last one.
    pub(crate) fn leave(&mut self, id: WorkerInstanceId) -> Option<Departed> {
        let was_leaving = self.instances.get(&id).is_some_and(|instance| instance.draining);
        self.drain(id);
        let instance = self.instances.remove(&id)?;
        if let Some(until) = instance.breaker.until() {
            self.probes.remove(&(until, id));
        }
        let heard = self.liveness.remove(id).unwrap_or_default();
        let class_id = instance.class;
        if let Some(class) = self.classes.get_mut(&class_id) {
            class.members.remove(&id);
            self.agents.left(class.agent_id, &class.version, heard);
        }
        Some(Departed { name: instance.name, class: class_id, held: instance.held, was_leaving })
    }

    /// Removes a class without instances; the queues that chose from it no longer do.
    pub(crate) fn remove_unused_class(&mut self, id: WorkerClassId) {
        let Some(class) = self.classes.get(&id).filter(|class| class.members.is_empty()) else { return };
        let key = (class.agent_id, class.version.to_string(), class.capabilities.clone());
        for queue in self.candidates.linked_to(&class.sets.values().copied().collect()) {
            self.disconnect(queue, id);
        }
        self.agents.remove_class(key.0, id);
        self.by_key.remove(&key);
        self.classes.remove(&id);
    }
}

/// Which queue chooses from what.
impl Pool {
    /// A queue was added: it chooses from every class that serves it.
    pub(crate) fn add_queue(&mut self, queue: QueueId, target: &Target) {
        let serving = self.classes.iter().filter(|(_, class)| class.serves(target));
        let serving: Vec<WorkerClassId> = serving.map(|(id, _)| *id).collect();
        for class in serving {
            self.connect(queue, target, class);
        }
    }

    /// A queue is removed.
    pub(crate) fn remove_queue(&mut self, queue: QueueId) {
        let sets: Vec<CandidateSetId> = self.candidates.of_queue(queue).collect();
        for set in sets {
            self.unlink(queue, set);
        }
        self.candidates.remove_queue(queue);
    }

    /// A class was added, or an operator has changed its share: it serves the queues that it fits, and no others.
    pub(crate) fn reconnect<'q>(&mut self, id: WorkerClassId, queues: impl Iterator<Item = (QueueId, &'q Target)>) {
        for (queue, target) in queues {
            let Some(class) = self.classes.get(&id) else { return };
            if class.serves(target) {
                self.connect(queue, target, id);
            } else {
                self.disconnect(queue, id);
            }
        }
    }

    /// A queue chooses from the instances of a class that fit its target.
    fn connect(&mut self, queue: QueueId, target: &Target, id: WorkerClassId) {
        let Some(class) = self.classes.get(&id) else { return };
        let choice = Choice::of(target);
        let set = class.sets.get(&choice).copied();
        let set = set.unwrap_or_else(|| self.add_set(id, choice));
        self.candidates.link(queue, set);
    }

    /// The candidate set of the instances of a class that a choice fits.
    fn add_set(&mut self, id: WorkerClassId, choice: Choice) -> CandidateSetId {
        let members = self.members(id).filter(|(id, instance)| choice.fits(*id, &instance.labels));
        let members: Vec<(WorkerInstanceId, Option<Rank>)> = members.map(|(id, of)| (id, of.rank)).collect();
        let free = members.iter().filter_map(|(_, rank)| *rank).collect();
        let is_open = self.classes.get(&id).is_none_or(|class| !self.agents.is_at_limit(class.agent_id));
        let set = self.candidates.add(id, choice.clone(), is_open, free);
        if let Some(class) = self.classes.get_mut(&id) {
            class.sets.insert(choice, set);
        }
        for (member, _) in members {
            if let Some(instance) = self.instances.get_mut(&member) {
                instance.sets.push(set);
            }
        }
        set
    }

    /// A queue no longer chooses from a class.
    fn disconnect(&mut self, queue: QueueId, class: WorkerClassId) {
        let mut sets = self.candidates.of_queue(queue);
        let known = sets.find(|set| self.candidates.get(*set).is_some_and(|set| set.class == class));
        drop(sets);
        if let Some(set) = known {
            self.unlink(queue, set);
        }
    }

    fn unlink(&mut self, queue: QueueId, id: CandidateSetId) {
        let Some(set) = self.candidates.unlink(queue, id) else { return };
        let Some(class) = self.classes.get_mut(&set.class) else { return };
        class.sets.remove(&set.choice);
        for member in &class.members {
            if let Some(instance) = self.instances.get_mut(member) {
                instance.sets.retain(|known| *known != id);
            }
        }
    }

    pub(crate) fn set_head(&mut self, queue: QueueId, head: Option<HeadKey>) {
        self.candidates.set_head(queue, head);
    }
}

/// Capacity and health.
impl Pool {
    /// Changes an instance, and its rank where that follows.
    fn change(&mut self, id: WorkerInstanceId, change: impl FnOnce(&mut WorkerInstance)) {
        if let Some(instance) = self.instances.get_mut(&id) {
            change(instance);
            self.update_rank(id);
        }
    }

    fn update_rank(&mut self, id: WorkerInstanceId) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        let wanted = instance.wanted_rank(id);
        let before = std::mem::replace(&mut instance.rank, wanted);
        if before != wanted {
            for set in &instance.sets {
                self.candidates.set_rank(*set, before, wanted);
            }
        }
    }

    /// How many tasks an instance holds at most from now on.
    pub(crate) fn set_capacity(&mut self, id: WorkerInstanceId, tasks: usize) {
        self.change(id, |instance| instance.capacity = tasks);
    }

    /// Changes how many bytes wait for an instance.
    pub(crate) fn set_unread(&mut self, id: WorkerInstanceId, change: impl FnOnce(usize) -> usize) {
        self.change(id, |instance| instance.unread = change(instance.unread));
    }

    /// How many bytes may wait for an instance before it is given nothing more.
    pub(crate) fn set_unread_max(&mut self, id: WorkerInstanceId, bytes: usize) {
        self.change(id, |instance| instance.unread_max = bytes);
    }

    /// An instance gets no more tasks.
    pub(crate) fn drain(&mut self, id: WorkerInstanceId) {
        self.change(id, |instance| instance.draining = true);
        keep_one(self, id);
    }

    /// An instance holds a task from now on.
    pub(crate) fn acquire(&mut self, id: WorkerInstanceId, task: StepInstanceId) {
        self.change(id, |instance| {
            assert!(instance.held.insert(task), "an instance is given each task once");
            instance.breaker.given(task);
        });
    }

    /// An instance has released a task.
    pub(crate) fn release(&mut self, id: WorkerInstanceId, task: StepInstanceId) {
        self.change(id, |instance| {
            assert!(instance.held.remove(&task), "an instance releases what it holds");
            instance.breaker.released(task);
        });
    }

    /// Records the outcome of an instance's attempt. Returns whether its breaker has opened.
    pub(crate) fn judge(&mut self, id: WorkerInstanceId, judge: impl FnOnce(&mut Breaker)) -> bool {
        let Some(instance) = self.instances.get_mut(&id) else { return false };
        let before = instance.breaker.until();
        judge(&mut instance.breaker);
        let until = instance.breaker.until();
        if before == until {
            // Its speed may have changed: its rank follows when the task is released.
            return false;
        }
        if let Some(before) = before {
            self.probes.remove(&(before, id));
        }
        self.probes.extend(until.map(|until| (until, id)));
        self.update_rank(id);
        if until.is_some() {
            keep_one(self, id);
        }
        until.is_some()
    }

    /// Instances whose pause is over may be probed.
    pub(crate) fn half_open(&mut self, now: Time) {
        while let Some((until, id)) = self.probes.first().copied().filter(|(until, _)| *until <= now) {
            self.probes.remove(&(until, id));
            self.change(id, |instance| instance.breaker.half_open());
        }
    }

    /// When the next instance may be probed.
    pub(crate) fn next_probe(&self) -> Option<Time> {
        self.probes.first().map(|(until, _)| *until)
    }
}

/// Agents and their versions.
impl Pool {
    /// Sets the limiter of an agent.
    pub(crate) fn set_limiter(&mut self, namespace: &str, agent: &str, limiter: Option<LimiterId>) -> AgentId {
        let id = self.agents.find_or_add(namespace, agent);
        self.agents.set_limiter(id, limiter);
        id
    }

    /// Whether the instances of an agent may take tasks, as far as the limit of the agent goes.
    pub(crate) fn set_open(&mut self, agent: AgentId, is_open: bool) {
        self.agents.set_at_limit(agent, !is_open);
        for class in self.agents.classes(agent).filter_map(|class| self.classes.get(&class)) {
            class.sets.values().for_each(|set| self.candidates.set_open(*set, is_open));
        }
    }

    /// Applies an operator's settings to a version; returns the classes that change.
    pub(crate) fn set_state(
        &mut self,
        namespace: &str,
        agent: &str,
        version: &str,
        state: Option<AgentState>,
    ) -> Vec<WorkerClassId> {
        let agent = self.agents.find_or_add(namespace, agent);
        self.agents.set_state(agent, version, state);
        let state = state.unwrap_or_default();
        let mut concerned: Vec<WorkerClassId> = self.classes_of(agent, version).map(|(id, _)| id).collect();
        concerned.retain(|id| {
            self.classes.get_mut(id).is_some_and(|class| std::mem::replace(&mut class.state, state) != state)
        });
        concerned
    }

    /// The statistics of a class and a capability, looked up once.
    pub(crate) fn stats_of(
        &mut self,
        id: WorkerClassId,
        capability: &str,
        look_up: impl FnOnce(&WorkerClass) -> Option<StatsId>,
    ) -> Option<StatsId> {
        let class = self.classes.get_mut(&id)?;
        if let Some(known) = class.stats.get(capability) {
            return *known;
        }
        let found = look_up(class);
        class.stats.insert(capability.to_owned(), found);
        found
    }
}

/// Reads.
impl Pool {
    pub(crate) fn instance(&self, id: WorkerInstanceId) -> Option<&WorkerInstance> {
        self.instances.get(&id)
    }

    pub(crate) fn instances(&self) -> impl ExactSizeIterator<Item = (WorkerInstanceId, &WorkerInstance)> {
        self.instances.iter().map(|(id, instance)| (*id, instance))
    }

    pub(crate) fn class(&self, id: WorkerClassId) -> Option<&WorkerClass> {
        self.classes.get(&id)
    }

    pub(crate) fn classes(&self) -> impl Iterator<Item = (WorkerClassId, &WorkerClass)> {
        self.classes.iter().map(|(id, class)| (*id, class))
    }

    /// The classes of a version of an agent.
    pub(crate) fn classes_of(
        &self,
        agent: AgentId,
        version: &str,
    ) -> impl Iterator<Item = (WorkerClassId, &WorkerClass)> {
        let classes = self.agents.classes(agent).filter_map(|id| Some((id, self.classes.get(&id)?)));
        classes.filter(move |(_, class)| *class.version == *version)
    }

    /// The class of an instance.
    pub(crate) fn class_of(&self, id: WorkerInstanceId) -> Option<(WorkerClassId, &WorkerClass)> {
        let class = self.instances.get(&id)?.class;
        Some((class, self.classes.get(&class)?))
    }

    /// The class of a candidate set.
    pub(crate) fn class_of_set(&self, id: CandidateSetId) -> Option<&WorkerClass> {
        self.classes.get(&self.candidates.get(id)?.class)
    }

    /// The instances of a class, by number.
    pub(crate) fn members(&self, id: WorkerClassId) -> impl Iterator<Item = (WorkerInstanceId, &WorkerInstance)> {
        let members = self.classes.get(&id).into_iter().flat_map(|class| class.members.iter());
        members.filter_map(|id| Some((*id, self.instances.get(id)?)))
    }

    /// The instances of a candidate set, free or not.
    pub(crate) fn members_of_set(
        &self,
        id: CandidateSetId,
    ) -> impl Iterator<Item = (WorkerInstanceId, &WorkerInstance)> {
        let set = self.candidates.get(id);
        let members = set.into_iter().flat_map(|set| self.members(set.class));
        members.filter(move |(id, instance)| set.is_some_and(|set| set.choice.fits(*id, &instance.labels)))
    }

    /// Whether an instance is free, and the limit of its agent admits more.
    pub(crate) fn is_free(&self, id: WorkerInstanceId) -> bool {
        let open = self.class_of(id).is_some_and(|(_, class)| !self.agents.is_at_limit(class.agent_id));
        open && self.instances.get(&id).is_some_and(|instance| instance.rank.is_some())
    }

    /// Whether tasks that are bound to an instance stay with it: it is connected, healthy, and gets tasks.
    pub(crate) fn keeps_bound(&self, id: WorkerInstanceId) -> bool {
        let Some((instance, (_, class))) = self.instances.get(&id).zip(self.class_of(id)) else { return false };
        !instance.draining && instance.capacity > 0 && instance.breaker.is_closed() && !class.state.draining
    }

    /// Whether an instance can do the tasks of a target.
    pub(crate) fn fits(&self, id: WorkerInstanceId, target: &Target) -> bool {
        let Some((instance, (_, class))) = self.instances.get(&id).zip(self.class_of(id)) else { return false };
        class.serves(target) && Choice::of(target).fits(id, &instance.labels)
    }

    /// How many tasks the instances of an agent hold.
    pub(crate) fn held_by(&self, agent: AgentId) -> usize {
        let classes = self.agents.classes(agent);
        classes.flat_map(|class| self.members(class)).map(|(_, instance)| instance.held.len()).sum()
    }
}

/// Whether another instance of the same class gets tasks, and lately did well at a capability.
pub(crate) fn has_peer(pool: &Pool, id: WorkerInstanceId, capability: &str) -> bool {
    let Some(class) = pool.instances.get(&id).map(|instance| instance.class) else { return false };
    pool.members(class).any(|(other, of)| other != id && !of.draining && of.breaker.does(capability))
}

/// Where no instance of a class is healthy any more, those that ordinary failures have closed out take tasks again.
fn keep_one(pool: &mut Pool, id: WorkerInstanceId) {
    let Some(class) = pool.instances.get(&id).map(|instance| instance.class) else { return };
    let healthy = |of: &WorkerInstance| !of.draining && of.breaker.is_closed();
    if pool.members(class).any(|(_, of)| healthy(of)) {
        return;
    }
    let members: Vec<WorkerInstanceId> = pool.members(class).map(|(id, _)| id).collect();
    for member in members {
        let before = pool.instances.get(&member).and_then(|of| of.breaker.until());
        pool.change(member, |instance| instance.breaker.left_alone());
        let after = pool.instances.get(&member).and_then(|of| of.breaker.until());
        if let (Some(before), None) = (before, after) {
            pool.probes.remove(&(before, member));
        }
    }
}
