//! What operators see of agents, queues and limits.
//!
//! For: what is observed, of one moment. Not for: what was declared (the core knows), or the words for why nothing is
//! assigned (`reason`).
//! Invariant: a view changes nothing, and its cost follows what is shown and what is held.

mod reason;

use std::collections::BTreeMap;

use consort_types::{
    Locality, Span, Time,
    registry::{AgentStatus, Health, HolderView, InstanceView, LimitScope, LimitView, QueueView},
};

use crate::{
    limits::LimiterId,
    model::{Observed, QueueId, WorkerInstanceId},
    placement::Placement,
    pool::{WorkerClass, WorkerInstance},
    queues::Queue,
};

/// Waiting tasks up to which the oldest is searched among all, not among the next ones of each run.
const LOOKED_AT_MAX: usize = 10_000;

/// The views of one moment.
pub struct Views<'a> {
    placement: &'a Placement,
    draining: bool,
}

impl<'a> Views<'a> {
    pub(crate) fn new(placement: &'a Placement, draining: bool) -> Self {
        Self { placement, draining }
    }

    /// What was observed of a version of an agent. Remote instances that were silent for more than half of
    /// `heartbeat` are shown as degraded.
    pub fn observed(&self, namespace: &str, agent: &str, version: &str, now: Time, heartbeat: Span) -> Observed {
        let id = self.placement.pool.agents.find(namespace, agent);
        let classes = id.into_iter().flat_map(|id| self.placement.pool.classes_of(id, version));
        let mut instances: Vec<(WorkerInstanceId, InstanceView)> = Vec::new();
        for (class_id, class) in classes {
            let members = self.placement.pool.members(class_id);
            instances.extend(
                members.map(|(id, _)| id).filter_map(|id| Some((id, self.instance_view(id, class, now, heartbeat)?))),
            );
        }
        instances.sort_by_key(|(id, _)| *id);
        let instances: Vec<InstanceView> = instances.into_iter().map(|(_, view)| view).collect();
        let best = instances.iter().min_by_key(|instance| instance.health);
        let (health, reason) = match best {
            Some(best) => (best.health, best.reason.clone()),
            None => (Health::Lost, Some("no instance is connected".to_owned())),
        };
        let gone = id.and_then(|id| self.placement.pool.agents.seen(id, version));
        let seen = instances.iter().map(|instance| instance.seen).max().max(gone);
        Observed { health, reason, seen, instances, skills: self.placement.stats.views(namespace, agent, version) }
    }

    fn instance_view(
        &self,
        id: WorkerInstanceId,
        class: &WorkerClass,
        now: Time,
        heartbeat: Span,
    ) -> Option<InstanceView> {
        let instance = self.placement.pool.instance(id)?;
        let seen = self.placement.pool.liveness.last_heard(id)?;
        let (health, reason) = self.instance_health(instance, class, now.since(seen), heartbeat);
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Some(InstanceView {
            name: instance.name.to_string(),
            client: instance.client.clone(),
            labels: instance.labels.clone(),
            health,
            reason,
            connected: instance.connected,
            seen,
            held: count(instance.held.len()),
            credit: count(instance.capacity),
        })
    }

    fn instance_health(
        &self,
        instance: &WorkerInstance,
        class: &WorkerClass,
        silent: Span,
        heartbeat: Span,
    ) -> (Health, Option<String>) {
        let draining = match (self.draining, class.state.draining, instance.draining) {
            (true, ..) => Some("the server is draining"),
            (_, true, _) => Some("an operator drains it"),
            (.., true) => Some("it is leaving"),
            _ => None,
        };
        if let Some(why) = draining {
            return (Health::Draining, Some(why.to_owned()));
        }
        let (health, reason) = instance.breaker.health();
        if health < Health::Unhealthy && instance.locality == Locality::Remote && silent.0 > heartbeat.0 / 2 {
            let seconds = Span(silent.0 / 1_000_000 * 1_000_000);
            return (Health::Degraded, Some(format!("no message came for {seconds}")));
        }
        (health, reason)
    }

    /// The queues of a namespace in which something waits or happened in the last minute, by their requirements.
    pub fn queues(&self, namespace: &str, now: Time) -> Vec<QueueView> {
        let holders = self.holders(namespace);
        let ids: Vec<QueueId> = self.placement.queues.in_namespace(namespace).map(|(id, _)| id).collect();
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

    /// How many tasks of each queue each instance holds.
    fn holders(&self, namespace: &str) -> BTreeMap<QueueId, BTreeMap<WorkerInstanceId, u32>> {
        let mut holders: BTreeMap<QueueId, BTreeMap<WorkerInstanceId, u32>> = BTreeMap::new();
        for (class, _) in self.placement.pool.classes().filter(|(_, class)| *class.namespace == *namespace) {
            for (id, instance) in self.placement.pool.members(class) {
                for queue in instance.held.iter().filter_map(|task| Some(self.placement.tasks.get(*task)?.queue)) {
                    *holders.entry(queue).or_default().entry(id).or_default() += 1;
                }
            }
        }
        holders
    }

    fn queue_view(
        &self,
        id: QueueId,
        holders: &BTreeMap<QueueId, BTreeMap<WorkerInstanceId, u32>>,
        now: Time,
    ) -> Option<QueueView> {
        let queue = self.placement.queues.get(id)?;
        let handed_out_minute = queue.assigned_lately.total(now);
        let ended_minute = queue.ended_lately.total(now);
        if queue.members == 0 && handed_out_minute == 0 && ended_minute == 0 {
            return None;
        }
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let held_by = holders.get(&id).into_iter().flatten();
        let named = held_by.filter_map(|(id, held)| {
            let instance = self.placement.pool.instance(*id)?.name.to_string();
            Some(HolderView { instance, held: *held })
        });
        Some(QueueView {
            capability: queue.target.capability.clone(),
            agent: queue.target.agent.clone(),
            waiting: count(queue.waiting()),
            limited: count(self.limited(id, queue)),
            paused: count(queue.held),
            oldest: oldest(queue),
            instances: count(self.candidates(id).count()),
            handed_out_minute,
            ended_minute,
            holders: named.collect(),
            reason: (queue.waiting() > 0).then(|| self.why_waiting(id, queue)),
        })
    }

    /// Tasks of a queue that a limit holds back.
    fn limited(&self, id: QueueId, queue: &Queue) -> usize {
        if queue.parked.is_some() || self.closed_by(id).is_some() {
            return queue.waiting() - queue.held;
        }
        queue.parked_groups().map(|(_, tasks)| tasks).sum()
    }

    /// The limit of an agent that keeps all tasks of the queue, where there is one.
    fn closed_by(&self, id: QueueId) -> Option<LimiterId> {
        let mut limiter = None;
        for set in self.placement.pool.candidates.of_queue(id) {
            let class = self.placement.pool.class_of_set(set)?;
            if !self.placement.pool.agents.is_at_limit(class.agent_id) {
                return None;
            }
            limiter = self.placement.pool.agents.limiter(class.agent_id);
        }
        limiter
    }

    /// The instances that a queue chooses from, free or not.
    fn candidates(&self, id: QueueId) -> impl Iterator<Item = &WorkerInstance> {
        let sets = self.placement.pool.candidates.of_queue(id);
        sets.flat_map(|set| self.placement.pool.members_of_set(set)).map(|(_, instance)| instance)
    }

    /// The connected versions of the agents of a namespace, by agent and version.
    pub fn agents(&self, namespace: &str) -> Vec<AgentStatus> {
        let mut found: BTreeMap<(&str, &str), AgentStatus> = BTreeMap::new();
        for (_, instance) in self.placement.pool.instances() {
            let class = self.placement.pool.class(instance.class);
            let Some(class) = class.filter(|class| *class.namespace == *namespace) else { continue };
            let key = (&*class.agent, &*class.version);
            let status = found.entry(key).or_insert_with(|| AgentStatus {
                namespace: class.namespace.to_string(),
                agent: class.agent.to_string(),
                version: class.version.to_string(),
                instances: 0,
                held: 0,
                credit: 0,
            });
            status.instances += 1;
            status.held += instance.held.len();
            status.credit += instance.capacity.saturating_sub(instance.held.len());
        }
        found.into_values().collect()
    }

    /// The limits of a namespace, with what they hold back.
    pub fn limits(&self, namespace: &str) -> Vec<LimitView> {
        let mut views = Vec::new();
        for (id, limiter) in self.placement.limits.set_in(namespace) {
            let queues = self.placement.queues.in_namespace(namespace);
            let held_back = queues.map(|(queue_id, queue)| self.held_back(queue_id, queue, id, &limiter.scope));
            let limited = u32::try_from(held_back.sum::<usize>()).unwrap_or(u32::MAX);
            let (scope, taken) = (limiter.scope.clone(), limiter.acquired);
            views.extend(limiter.limit.map(|limit| LimitView { scope, limit, taken, limited }));
        }
        views
    }

    /// Tasks of a queue that this limiter holds back.
    fn held_back(&self, id: QueueId, queue: &Queue, limiter: LimiterId, scope: &LimitScope) -> usize {
        let all = queue.waiting() - queue.held;
        match (scope, queue.parked) {
            (LimitScope::Agent(_), None) if self.closed_by(id) == Some(limiter) => all,
            (LimitScope::Key(_), _) => {
                let of_key = queue.parked_groups().filter(|(group, _)| group.limiter() == Some(limiter));
                of_key.map(|(_, tasks)| tasks).sum()
            }
            (_, Some((parked, _))) if parked == limiter => all,
            _ => 0,
        }
    }
}

/// Since when the oldest task of a queue waits that is not held back.
fn oldest(queue: &Queue) -> Option<Time> {
    let levels = queue.levels();
    if queue.waiting() <= LOOKED_AT_MAX {
        return levels.flat_map(|level| level.tasks().map(|(order, _)| order.ready)).min();
    }
    levels.flat_map(|level| level.firsts().map(|order| order.ready)).min()
}

/// Queues with the same capability and agent but other routes are shown as one.
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
