//! The connected instances, grouped by what they can do.
//!
//! For: credit, load, health, and when an instance was last heard of; which free instance goes with which queue. Not
//! for: the order of tasks.
//! Invariant: an instance is free in each of its lots exactly while it holds less than it takes, reads what it is sent,
//! is not leaving, and its breaker lets a task through.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use consort_core::AgentState;
use consort_types::{TaskId, Time, WorkerInstance, limits, worker::Hello};

use super::{
    InstanceId,
    agents::Agents,
    health::Breaker,
    queue::{HeadKey, QueueId, Target},
    route::has_labels,
};
use crate::{Locality, handle::AgentStatus};

pub(super) use super::agents::AgentId;

/// Instances that declare the same. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KindId(u64);

/// Instances of a kind that some queues may choose from. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LotId(u64);

/// Where a free instance stands: the share of its credit that is used, in thousandths, how slow it is, and which one.
pub(super) type Slot = (u32, u8, InstanceId);

type KindKey = (AgentId, String, BTreeSet<String>);

/// What instances declare, and what an operator says about it.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) namespace: Arc<str>,
    pub(super) agent: Arc<str>,
    pub(super) agent_id: AgentId,
    pub(super) version: Arc<str>,
    pub(super) capabilities: BTreeSet<String>,
    pub(super) state: AgentState,
    members: BTreeSet<InstanceId>,
    lots: BTreeMap<Choice, LotId>,
}

impl Kind {
    /// Whether it could do the tasks of a target, whatever an operator says.
    pub(super) fn can(&self, target: &Target) -> bool {
        *self.namespace == *target.namespace
            && target.agent.as_ref().is_none_or(|agent| **agent == *self.agent)
            && target.capability.as_ref().is_none_or(|capability| self.capabilities.contains(capability))
    }

    /// Whether it gets the tasks of a target.
    pub(super) fn serves(&self, target: &Target) -> bool {
        let named = target.selector.as_ref().is_some_and(|selector| selector.version.is_some());
        let fits = target.selector.as_ref().is_none_or(|selector| selector.fits_version(&self.version));
        let there = target.pinned.is_none_or(|instance| self.members.contains(&instance));
        self.can(target) && fits && there && !self.state.draining && (self.state.weight > 0 || named)
    }
}

/// Which instances of a kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Choice {
    All,
    Labels(BTreeMap<String, String>),
    One(InstanceId),
}

impl Choice {
    fn of(target: &Target) -> Self {
        match (target.pinned, &target.selector) {
            (Some(instance), _) => Self::One(instance),
            (None, Some(selector)) if !selector.labels.is_empty() => Self::Labels(selector.labels.clone()),
            _ => Self::All,
        }
    }

    fn fits(&self, id: InstanceId, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::All => true,
            Self::Labels(wanted) => has_labels(labels, wanted),
            Self::One(one) => *one == id,
        }
    }
}

#[derive(Debug)]
struct Lot {
    kind: KindId,
    choice: Choice,
    /// Queues that choose from it.
    queues: usize,
    /// Whether its agent may take more.
    open: bool,
    /// Instances with credit, the one to go first first.
    free: BTreeSet<Slot>,
    /// The heads of the queues that it serves, the first to go first.
    heads: BTreeSet<(HeadKey, QueueId)>,
    /// Its entry among the matches.
    matched: Option<(HeadKey, QueueId)>,
}

/// A connected instance.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) name: Arc<WorkerInstance>,
    pub(super) client: String,
    /// The worker process that it belongs to; empty where that is not said.
    pub(super) worker: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) kind: KindId,
    pub(super) locality: Locality,
    pub(super) takes: usize,
    /// Bytes of messages that wait for it, and how many may before it is handed nothing more.
    pub(super) unread: usize,
    unread_max: usize,
    /// Whether it wants to leave, and gets nothing more.
    pub(super) leaving: bool,
    pub(super) held: BTreeSet<TaskId>,
    pub(super) connected: Time,
    pub(super) heard: Time,
    pub(super) breaker: Breaker,
    /// When it stands among the silences.
    silent_since: Time,
    /// Where it stands among the free.
    slot: Option<Slot>,
    lots: Vec<LotId>,
}

impl Instance {
    /// Whether as much waits for it as may.
    pub(super) fn reads_too_slowly(&self) -> bool {
        self.unread >= self.unread_max
    }

    fn wanted_slot(&self, id: InstanceId) -> Option<Slot> {
        let (held, takes) = (self.held.len(), self.takes);
        let free = !self.leaving && held < takes && !self.reads_too_slowly() && self.breaker.lets_through();
        free.then(|| (u32::try_from(held * 1_000 / takes).unwrap_or(u32::MAX), self.breaker.speed(), id))
    }
}

/// An instance that has left.
pub(super) struct Left {
    pub(super) name: Arc<WorkerInstance>,
    pub(super) held: BTreeSet<TaskId>,
}

/// The connected instances.
#[derive(Debug, Default)]
pub(super) struct Pool {
    pub(super) agents: Agents,
    instances: BTreeMap<InstanceId, Instance>,
    kinds: BTreeMap<KindId, Kind>,
    by_key: BTreeMap<KindKey, KindId>,
    lots: BTreeMap<LotId, Lot>,
    /// Open lots that have both a free instance and a head, by that head.
    matches: BTreeSet<(HeadKey, QueueId, LotId)>,
    /// Remote instances by when they were last heard of, or earlier.
    silences: BTreeSet<(Time, InstanceId)>,
    /// Instances that are left out, by when they are tried again.
    pauses: BTreeSet<(Time, InstanceId)>,
    instances_made: u64,
    kinds_made: u64,
    lots_made: u64,
}

impl Pool {
    /// Adds an instance; says so where its kind is new.
    pub(super) fn join(&mut self, hello: &Hello, locality: Locality, start: u64, now: Time) -> (InstanceId, KindId) {
        self.instances_made += 1;
        let id = InstanceId(self.instances_made);
        let kind = self.find_or_make(hello);
        let mut labels = hello.agent.labels.clone();
        labels.extend(hello.labels.clone());
        let mut lots = Vec::new();
        if let Some(kind) = self.kinds.get_mut(&kind) {
            kind.members.insert(id);
            lots = kind.lots.iter().filter(|(choice, _)| choice.fits(id, &labels)).map(|(_, lot)| *lot).collect();
        }
        let instance = Instance {
            name: Arc::new(WorkerInstance { locality, start, number: id.0, agent: hello.agent.name.clone() }),
            client: hello.client.clone(),
            worker: hello.worker.clone(),
            labels,
            kind,
            locality,
            takes: hello.concurrency as usize,
            unread: 0,
            unread_max: limits::INSTANCE_UNREAD_BYTES_MAX,
            leaving: false,
            held: BTreeSet::new(),
            connected: now,
            heard: now,
            breaker: Breaker::new(),
            silent_since: now,
            slot: None,
            lots,
        };
        if locality == Locality::Remote {
            self.silences.insert((now, id));
        }
        self.instances.insert(id, instance);
        self.place(id);
        (id, kind)
    }

    fn find_or_make(&mut self, hello: &Hello) -> KindId {
        let agent = &hello.agent;
        let agent_id = self.agents.find_or_make(&hello.namespace, &agent.name);
        let capabilities: BTreeSet<String> = agent.capabilities.iter().map(|declared| declared.name.clone()).collect();
        let key = (agent_id, agent.version.clone(), capabilities);
        if let Some(id) = self.by_key.get(&key) {
            return *id;
        }
        self.kinds_made += 1;
        let id = KindId(self.kinds_made);
        let kind = Kind {
            namespace: Arc::from(hello.namespace.as_str()),
            agent: Arc::from(agent.name.as_str()),
            agent_id,
            version: Arc::from(agent.version.as_str()),
            capabilities: key.2.clone(),
            state: self.agents.state(agent_id, &agent.version),
            members: BTreeSet::new(),
            lots: BTreeMap::new(),
        };
        self.by_key.insert(key, id);
        self.agents.kind_came(agent_id, id);
        self.kinds.insert(id, kind);
        id
    }

    /// Removes an instance; its kind is kept while queues choose from it or instances are of it.
    pub(super) fn leave(&mut self, id: InstanceId) -> Option<Left> {
        let instance = self.instances.get_mut(&id)?;
        instance.leaving = true;
        self.place(id);
        let instance = self.instances.remove(&id)?;
        self.silences.remove(&(instance.silent_since, id));
        if let Some(until) = instance.breaker.until() {
            self.pauses.remove(&(until, id));
        }
        if let Some(kind) = self.kinds.get_mut(&instance.kind) {
            kind.members.remove(&id);
            self.agents.left(kind.agent_id, &kind.version, instance.heard);
        }
        Some(Left { name: instance.name, held: instance.held })
    }

    /// Forgets a kind without instances; returns whether it was one. Its lots must not be in use any more.
    pub(super) fn forget_kind(&mut self, id: KindId) {
        let Some(kind) = self.kinds.get(&id).filter(|kind| kind.members.is_empty()) else { return };
        assert!(kind.lots.is_empty(), "no queue chooses from a kind that is forgotten");
        let key = (kind.agent_id, kind.version.to_string(), kind.capabilities.clone());
        self.agents.kind_went(kind.agent_id, id);
        self.by_key.remove(&key);
        self.kinds.remove(&id);
    }

    /// The lot of a kind that a target's queue chooses from, with one queue more.
    pub(super) fn choose_from(&mut self, id: KindId, target: &Target) -> Option<LotId> {
        let kind = self.kinds.get_mut(&id)?;
        let choice = Choice::of(target);
        if let Some(lot) = kind.lots.get(&choice) {
            let lot = *lot;
            self.lots.get_mut(&lot)?.queues += 1;
            return Some(lot);
        }
        self.lots_made += 1;
        let lot = LotId(self.lots_made);
        kind.lots.insert(choice.clone(), lot);
        let mut free = BTreeSet::new();
        for member in &kind.members {
            let Some(instance) = self.instances.get_mut(member) else { continue };
            if choice.fits(*member, &instance.labels) {
                instance.lots.push(lot);
                free.extend(instance.slot);
            }
        }
        let open = !self.agents.is_shut(kind.agent_id);
        self.lots.insert(lot, Lot { kind: id, choice, queues: 1, open, free, heads: BTreeSet::new(), matched: None });
        Some(lot)
    }

    /// A queue chooses from the lot no more.
    pub(super) fn let_go(&mut self, id: LotId) {
        let Some(lot) = self.lots.get_mut(&id) else { return };
        lot.queues -= 1;
        if lot.queues > 0 {
            return;
        }
        let Some(lot) = self.lots.remove(&id) else { return };
        if let Some((key, queue)) = lot.matched {
            self.matches.remove(&(key, queue, id));
        }
        let Some(kind) = self.kinds.get_mut(&lot.kind) else { return };
        kind.lots.remove(&lot.choice);
        for member in &kind.members {
            if let Some(instance) = self.instances.get_mut(member) {
                instance.lots.retain(|known| *known != id);
            }
        }
    }

    /// Changes an instance, and puts it where it belongs then.
    fn change(&mut self, id: InstanceId, change: impl FnOnce(&mut Instance)) {
        if let Some(instance) = self.instances.get_mut(&id) {
            change(instance);
            self.place(id);
        }
    }

    fn place(&mut self, id: InstanceId) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        let wanted = instance.wanted_slot(id);
        let before = std::mem::replace(&mut instance.slot, wanted);
        if before == wanted {
            return;
        }
        for lot_id in &instance.lots {
            let Some(lot) = self.lots.get_mut(lot_id) else { continue };
            if let Some(slot) = before {
                lot.free.remove(&slot);
            }
            lot.free.extend(wanted);
            rematch(&mut self.matches, *lot_id, lot);
        }
    }

    /// How many tasks an instance wants to hold at once from now on.
    pub(super) fn set_credit(&mut self, id: InstanceId, tasks: usize) {
        self.change(id, |instance| instance.takes = tasks);
    }

    pub(super) fn set_unread(&mut self, id: InstanceId, change: impl FnOnce(usize) -> usize) {
        self.change(id, |instance| instance.unread = change(instance.unread));
    }

    pub(super) fn set_unread_max(&mut self, id: InstanceId, bytes: usize) {
        self.change(id, |instance| instance.unread_max = bytes);
    }

    pub(super) fn give_no_more(&mut self, id: InstanceId) {
        self.change(id, |instance| instance.leaving = true);
    }

    pub(super) fn hold(&mut self, id: InstanceId, task: TaskId) {
        self.change(id, |instance| {
            assert!(instance.held.insert(task), "an instance gets each task once");
            instance.breaker.given(task);
        });
    }

    pub(super) fn release(&mut self, id: InstanceId, task: TaskId) {
        self.change(id, |instance| {
            assert!(instance.held.remove(&task), "an instance gives back what it holds");
            instance.breaker.released(task);
        });
    }

    /// Notes something about how an instance does. Returns whether it is left out from now on.
    pub(super) fn judge(&mut self, id: InstanceId, judge: impl FnOnce(&mut Breaker)) -> bool {
        let Some(instance) = self.instances.get_mut(&id) else { return false };
        let before = instance.breaker.until();
        judge(&mut instance.breaker);
        let until = instance.breaker.until();
        if before == until {
            // Its speed may have changed: that is looked at when it gives its task back.
            return false;
        }
        if let Some(before) = before {
            self.pauses.remove(&(before, id));
        }
        self.pauses.extend(until.map(|until| (until, id)));
        self.place(id);
        until.is_some()
    }

    /// Instances whose pause is over are tried again.
    pub(super) fn try_again(&mut self, now: Time) {
        while let Some((until, id)) = self.pauses.first().copied().filter(|(until, _)| *until <= now) {
            self.pauses.remove(&(until, id));
            self.change(id, |instance| instance.breaker.half_open());
        }
    }

    /// When the next instance is tried again.
    pub(super) fn next_try(&self) -> Option<Time> {
        self.pauses.first().map(|(until, _)| *until)
    }

    /// Lets the instances of an agent take tasks, or not.
    pub(super) fn set_open(&mut self, agent: AgentId, open: bool) {
        self.agents.set_shut(agent, !open);
        let kinds = self.agents.kinds(agent).filter_map(|kind| self.kinds.get(&kind));
        let lots: Vec<LotId> = kinds.flat_map(|kind| kind.lots.values().copied()).collect();
        for id in lots {
            if let Some(lot) = self.lots.get_mut(&id) {
                lot.open = open;
                rematch(&mut self.matches, id, lot);
            }
        }
    }

    /// Sets what an operator says about a version; returns the kinds that it changes.
    pub(super) fn set_state(
        &mut self,
        namespace: &str,
        agent: &str,
        version: &str,
        state: Option<AgentState>,
    ) -> Vec<KindId> {
        let agent = self.agents.find_or_make(namespace, agent);
        self.agents.set_state(agent, version, state);
        let state = state.unwrap_or_default();
        let concerned: Vec<KindId> = self.kinds_of(agent, version).map(|(id, _)| id).collect();
        let changed = concerned
            .into_iter()
            .filter(|id| self.kinds.get_mut(id).is_some_and(|kind| std::mem::replace(&mut kind.state, state) != state));
        changed.collect()
    }

    /// The queue whose head goes next, of those for which an instance is free.
    pub(super) fn next_queue(&self) -> Option<QueueId> {
        self.matches.first().map(|(_, queue, _)| *queue)
    }

    /// The instance that goes first in an open lot.
    pub(super) fn first_free(&self, id: LotId) -> Option<Slot> {
        self.lots.get(&id).filter(|lot| lot.open)?.free.first().copied()
    }

    /// Whether an instance is free in an open lot of its own.
    pub(super) fn is_free(&self, id: InstanceId) -> bool {
        let Some(instance) = self.instances.get(&id) else { return false };
        let open = self.kinds.get(&instance.kind).is_some_and(|kind| !self.agents.is_shut(kind.agent_id));
        open && instance.slot.is_some()
    }

    /// Whether tasks that are bound to an instance stay with it: it is there, healthy, and gets tasks.
    pub(super) fn keeps_bound(&self, id: InstanceId) -> bool {
        self.instances.get(&id).is_some_and(|instance| {
            let draining = self.kinds.get(&instance.kind).is_none_or(|kind| kind.state.draining);
            !instance.leaving && instance.takes > 0 && instance.breaker.is_closed() && !draining
        })
    }

    /// Whether an instance could do the tasks of a target.
    pub(super) fn fits(&self, id: InstanceId, target: &Target) -> bool {
        let Some(instance) = self.instances.get(&id) else { return false };
        let serves = self.kinds.get(&instance.kind).is_some_and(|kind| kind.serves(target));
        serves && Choice::of(target).fits(id, &instance.labels)
    }

    pub(super) fn set_head(&mut self, id: LotId, queue: QueueId, before: Option<HeadKey>, after: Option<HeadKey>) {
        let Some(lot) = self.lots.get_mut(&id) else { return };
        if let Some(key) = before {
            lot.heads.remove(&(key, queue));
        }
        if let Some(key) = after {
            lot.heads.insert((key, queue));
        }
        rematch(&mut self.matches, id, lot);
    }

    pub(super) fn heard(&mut self, id: InstanceId, now: Time) {
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.heard = instance.heard.max(now);
        }
    }

    /// Puts those behind that were heard of since they were put there.
    fn refresh_silences(&mut self, before: Time) {
        while let Some((since, id)) = self.silences.first().copied().filter(|(since, _)| *since < before) {
            let Some(instance) = self.instances.get_mut(&id) else { return };
            if instance.heard == since {
                return;
            }
            self.silences.remove(&(since, id));
            instance.silent_since = instance.heard;
            self.silences.insert((instance.heard, id));
        }
    }

    pub(super) fn silent(&mut self, heard_before: Time) -> Vec<InstanceId> {
        self.refresh_silences(heard_before);
        let mut silent = Vec::new();
        for (since, id) in self.silences.range(..(heard_before, InstanceId(0))) {
            if self.instances.get(id).is_some_and(|instance| instance.heard == *since) {
                silent.push(*id);
            }
        }
        silent
    }

    pub(super) fn longest_silence(&mut self) -> Option<Time> {
        self.refresh_silences(Time(u64::MAX));
        self.silences.first().map(|(since, _)| *since)
    }

    pub(super) fn kinds(&self) -> impl Iterator<Item = (KindId, &Kind)> {
        self.kinds.iter().map(|(id, kind)| (*id, kind))
    }

    pub(super) fn kind(&self, id: KindId) -> Option<&Kind> {
        self.kinds.get(&id)
    }

    pub(super) fn kind_of_lot(&self, id: LotId) -> Option<(KindId, &Kind)> {
        let kind = self.lots.get(&id)?.kind;
        Some((kind, self.kinds.get(&kind)?))
    }

    pub(super) fn instance(&self, id: InstanceId) -> Option<&Instance> {
        self.instances.get(&id)
    }

    /// The kinds of a version of an agent.
    pub(super) fn kinds_of(&self, agent: AgentId, version: &str) -> impl Iterator<Item = (KindId, &Kind)> {
        let kinds = self.agents.kinds(agent).filter_map(|id| Some((id, self.kinds.get(&id)?)));
        kinds.filter(move |(_, kind)| *kind.version == *version)
    }

    /// Instances of a kind, by number.
    pub(super) fn members(&self, id: KindId) -> impl Iterator<Item = (InstanceId, &Instance)> {
        let members = self.kinds.get(&id).into_iter().flat_map(|kind| kind.members.iter());
        members.filter_map(|id| Some((*id, self.instances.get(id)?)))
    }

    /// The instances that a lot is about, free or not.
    pub(super) fn members_of_lot(&self, id: LotId) -> impl Iterator<Item = (InstanceId, &Instance)> {
        let lot = self.lots.get(&id);
        let members = lot.into_iter().flat_map(|lot| self.members(lot.kind));
        members.filter(move |(id, instance)| lot.is_some_and(|lot| lot.choice.fits(*id, &instance.labels)))
    }

    pub(super) fn instances(&self) -> impl ExactSizeIterator<Item = InstanceId> + '_ {
        self.instances.keys().copied()
    }

    /// How many tasks the instances of an agent hold.
    pub(super) fn held_by(&self, agent: AgentId) -> usize {
        let of_agent = self.agents.kinds(agent).filter_map(|kind| self.kinds.get(&kind));
        let members = of_agent.flat_map(|kind| kind.members.iter());
        members.filter_map(|id| self.instances.get(id)).map(|instance| instance.held.len()).sum()
    }

    pub(super) fn status(&self, namespace: &str) -> Vec<AgentStatus> {
        let mut found: BTreeMap<(&str, &str), AgentStatus> = BTreeMap::new();
        for instance in self.instances.values() {
            let Some(kind) = self.kinds.get(&instance.kind).filter(|kind| *kind.namespace == *namespace) else {
                continue;
            };
            let status = found.entry((&*kind.agent, &*kind.version)).or_insert_with(|| AgentStatus {
                namespace: kind.namespace.to_string(),
                agent: kind.agent.to_string(),
                version: kind.version.to_string(),
                instances: 0,
                held: 0,
                credit: 0,
            });
            status.instances += 1;
            status.held += instance.held.len();
            status.credit += instance.takes.saturating_sub(instance.held.len());
        }
        found.into_values().collect()
    }
}

fn rematch(matches: &mut BTreeSet<(HeadKey, QueueId, LotId)>, id: LotId, lot: &mut Lot) {
    let fits = lot.open && !lot.free.is_empty();
    let wanted = if fits { lot.heads.first().copied() } else { None };
    if wanted == lot.matched {
        return;
    }
    if let Some((key, queue)) = std::mem::replace(&mut lot.matched, wanted) {
        matches.remove(&(key, queue, id));
    }
    if let Some((key, queue)) = wanted {
        matches.insert((key, queue, id));
    }
}
