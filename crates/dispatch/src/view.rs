//! What operators see of agents, queues and limits.
//!
//! For: what is observed, of one moment. Not for: what was declared (the machine knows), or the words for why nothing
//! is handed out (`reason`).
//! Invariant: looking changes nothing, and costs no more than what is shown and what is held.

use std::collections::BTreeMap;

use consort_types::{
    Span, Time,
    registry::{Health, HolderView, InstanceView, LimitScope, LimitView, QueueView, SkillView},
};

use super::{
    Dispatcher, InstanceId,
    gates::{Gate, GateId},
    order::{GroupKey, Level},
    pool::{Instance, Kind},
    queue::{Queue, QueueId},
};
use crate::Locality;

/// Waiting tasks up to which the oldest is looked for among all, not among the next ones of each run.
const LOOKED_AT_MAX: usize = 10_000;

/// What was observed of a version of an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// How its best instance does.
    pub health: Health,
    /// Why, where it is not healthy.
    pub reason: Option<String>,
    /// When one of its instances was heard last.
    pub seen: Option<Time>,
    /// Its connected instances.
    pub instances: Vec<InstanceView>,
    /// What became of attempts, by capability.
    pub skills: Vec<SkillView>,
}

impl Dispatcher {
    /// What was observed of a version of an agent. Remote instances that were silent for more than half of
    /// `heartbeat` are shown as degraded.
    pub fn observed(&self, namespace: &str, agent: &str, version: &str, now: Time, heartbeat: Span) -> Observed {
        let id = self.pool.agents.find(namespace, agent);
        let kinds = id.into_iter().flat_map(|id| self.pool.kinds_of(id, version));
        let mut instances: Vec<(InstanceId, InstanceView)> = Vec::new();
        for (kind_id, kind) in kinds {
            let members = self.pool.members(kind_id);
            instances.extend(members.map(|(id, instance)| (id, self.instance_view(instance, kind, now, heartbeat))));
        }
        instances.sort_by_key(|(id, _)| *id);
        let instances: Vec<InstanceView> = instances.into_iter().map(|(_, view)| view).collect();
        let best = instances.iter().min_by_key(|instance| instance.health);
        let (health, reason) = match best {
            Some(best) => (best.health, best.reason.clone()),
            None => (Health::Lost, Some("no instance is connected".to_owned())),
        };
        let gone = id.and_then(|id| self.pool.agents.seen(id, version));
        let seen = instances.iter().map(|instance| instance.seen).max().max(gone);
        Observed { health, reason, seen, instances, skills: self.skills.views(namespace, agent, version) }
    }

    fn instance_view(&self, instance: &Instance, kind: &Kind, now: Time, heartbeat: Span) -> InstanceView {
        let (health, reason) = self.instance_health(instance, kind, now, heartbeat);
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        InstanceView {
            name: instance.name.to_string(),
            client: instance.client.clone(),
            labels: instance.labels.clone(),
            health,
            reason,
            connected: instance.connected,
            seen: instance.heard,
            held: count(instance.held.len()),
            credit: count(instance.takes),
        }
    }

    fn instance_health(
        &self,
        instance: &Instance,
        kind: &Kind,
        now: Time,
        heartbeat: Span,
    ) -> (Health, Option<String>) {
        let draining = match (self.draining, kind.state.draining, instance.leaving) {
            (true, ..) => Some("the server is draining"),
            (_, true, _) => Some("an operator drains it"),
            (.., true) => Some("it is leaving"),
            _ => None,
        };
        if let Some(why) = draining {
            return (Health::Draining, Some(why.to_owned()));
        }
        let (health, reason) = instance.breaker.health();
        let silent = now.since(instance.heard);
        if health < Health::Unhealthy && instance.locality == Locality::Remote && silent.0 > heartbeat.0 / 2 {
            let seconds = Span(silent.0 / 1_000_000 * 1_000_000);
            return (Health::Degraded, Some(format!("it was not heard of for {seconds}")));
        }
        (health, reason)
    }

    /// The queues of a namespace in which something waits or happened in the last minute, by what they ask for.
    pub fn queue_views(&mut self, namespace: &str, now: Time) -> Vec<QueueView> {
        let holders = self.holders(namespace);
        let ids: Vec<QueueId> = self.queues.in_namespace(namespace).map(|(id, _)| id).collect();
        let mut views: BTreeMap<(Option<String>, Option<String>), QueueView> = BTreeMap::new();
        for id in ids {
            let Some(view) = self.queue_view(id, &holders, now) else { continue };
            let key = (view.capability.clone(), view.agent.clone());
            match views.get_mut(&key) {
                Some(known) => merge(known, view),
                None => {
                    views.insert(key, view);
                }
            }
        }
        let mut views: Vec<QueueView> = views.into_values().collect();
        for view in &mut views {
            view.holders.sort_by(|a, b| (b.held, &a.instance).cmp(&(a.held, &b.instance)));
        }
        views
    }

    /// Who holds how many tasks of which queue.
    fn holders(&self, namespace: &str) -> BTreeMap<QueueId, BTreeMap<InstanceId, u32>> {
        let mut holders: BTreeMap<QueueId, BTreeMap<InstanceId, u32>> = BTreeMap::new();
        for (kind, _) in self.pool.kinds().filter(|(_, kind)| *kind.namespace == *namespace) {
            for (id, instance) in self.pool.members(kind) {
                for queue in instance.held.iter().filter_map(|task| Some(self.tasks.get(task)?.queue)) {
                    *holders.entry(queue).or_default().entry(id).or_default() += 1;
                }
            }
        }
        holders
    }

    fn queue_view(
        &mut self,
        id: QueueId,
        holders: &BTreeMap<QueueId, BTreeMap<InstanceId, u32>>,
        now: Time,
    ) -> Option<QueueView> {
        let queue = self.queues.get_mut(id)?;
        let (handed_out_minute, ended_minute) = (queue.handed_out.total(now), queue.ended.total(now));
        let queue = self.queues.get(id)?;
        if queue.members == 0 && handed_out_minute == 0 && ended_minute == 0 {
            return None;
        }
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let held_by = holders.get(&id).into_iter().flatten();
        let named = held_by.filter_map(|(id, held)| {
            let instance = self.pool.instance(*id)?.name.to_string();
            Some(HolderView { instance, held: *held })
        });
        Some(QueueView {
            capability: queue.target.capability.clone(),
            agent: queue.target.agent.clone(),
            waiting: count(queue.waiting()),
            limited: count(self.limited(queue)),
            paused: count(queue.aside),
            oldest: oldest(queue),
            instances: count(queue.lots.iter().map(|lot| self.pool.members_of_lot(*lot).count()).sum()),
            handed_out_minute,
            ended_minute,
            holders: named.collect(),
            reason: (queue.waiting() > 0).then(|| self.why_waiting(queue)),
        })
    }

    /// Tasks of a queue that a limit holds back.
    fn limited(&self, queue: &Queue) -> usize {
        if queue.parked.is_some() || self.shut_out(queue).is_some() {
            return queue.waiting() - queue.aside;
        }
        queue.levels.values().flat_map(Level::parked).map(|(_, tasks)| tasks).sum()
    }

    /// The limit of an agent that keeps all tasks of the queue, where there is one.
    pub(super) fn shut_out(&self, queue: &Queue) -> Option<GateId> {
        let mut gate = None;
        for lot in &queue.lots {
            let (_, kind) = self.pool.kind_of_lot(*lot)?;
            if !self.pool.agents.is_shut(kind.agent_id) {
                return None;
            }
            gate = self.pool.agents.gate(kind.agent_id);
        }
        gate
    }

    /// The limits of a namespace, with what they hold back.
    pub fn limit_views(&self, namespace: &str) -> Vec<LimitView> {
        let gates = self.gates.set_in(namespace);
        let view = |gate: &Gate| {
            let id = self.gates.find(namespace, &gate.scope)?;
            let held_back =
                self.queues.in_namespace(namespace).map(|(_, queue)| self.held_back(queue, id, &gate.scope));
            let limited = u32::try_from(held_back.sum::<usize>()).unwrap_or(u32::MAX);
            Some(LimitView { scope: gate.scope.clone(), limit: gate.limit?, taken: gate.taken, limited })
        };
        gates.filter_map(view).collect()
    }

    /// Tasks of a queue that this gate holds back.
    fn held_back(&self, queue: &Queue, gate: GateId, scope: &LimitScope) -> usize {
        let all = queue.waiting() - queue.aside;
        match (scope, queue.parked) {
            (LimitScope::Agent(_), None) if self.shut_out(queue) == Some(gate) => all,
            (LimitScope::Key(_), _) => {
                let parked = queue.levels.values().flat_map(Level::parked);
                parked.filter(|(group, _)| matches!(group, GroupKey::Key(key, _) if *key == gate)).map(|(_, n)| n).sum()
            }
            (_, Some((parked, _))) if parked == gate => all,
            _ => 0,
        }
    }
}

/// Since when the oldest task of a queue waits that is not set aside.
fn oldest(queue: &Queue) -> Option<Time> {
    let levels = queue.levels.values();
    if queue.waiting() <= LOOKED_AT_MAX {
        return levels.flat_map(|level| level.tasks().map(|(order, _)| order.ready)).min();
    }
    levels.flat_map(|level| level.firsts().map(|order| order.ready)).min()
}

/// Queues that ask for the same thing by other routes are shown as one.
fn merge(known: &mut QueueView, more: QueueView) {
    known.waiting += more.waiting;
    known.limited += more.limited;
    known.paused += more.paused;
    known.oldest = [known.oldest, more.oldest].into_iter().flatten().min();
    known.instances = known.instances.max(more.instances);
    known.handed_out_minute += more.handed_out_minute;
    known.ended_minute += more.ended_minute;
    for holder in more.holders {
        match known.holders.iter_mut().find(|known| known.instance == holder.instance) {
            Some(known) => known.held += holder.held,
            None => known.holders.push(holder),
        }
    }
    known.reason = known.reason.take().or(more.reason);
}
