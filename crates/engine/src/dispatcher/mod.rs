//! Which instance gets which task.
//!
//! For: queues, priorities, fairness, limits, routes, health, credit, and noticing that an instance is gone. Volatile:
//! it is rebuilt from the state after a restart. Not for: recording anything (the partition does), clocks or channels.
//! Invariant: a task is in exactly one place; the same calls in the same order give the same assignments.

mod agents;
mod assign;
mod gates;
mod health;
mod instances;
mod live;
mod order;
mod pool;
mod queue;
mod reason;
mod route;
mod stats;
mod view;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use consort_core::{AgentState, ReadyTask};
use consort_types::{
    EffectClass, RunId, TaskId, Time, Token, WorkerInstance,
    registry::{LimitScope, TaskLimit},
    worker::{Live, Progress},
};

use gates::{GateId, Gates, Waiter};
use live::{Shown, Tails};
use order::{GroupKey, Order};
use pool::{AgentId, Pool};
use queue::{QueueId, Queues, Standing, Target};
use route::{Selector, Sticky};
use stats::{SkillId, Skills};

pub(crate) use route::has_labels;
pub use stats::Outcome;
pub use view::Observed;

/// A connected instance, as long as it is connected. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub u64);

/// A task that is to be given to an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The task.
    pub task: TaskId,
    /// The attempt's token.
    pub token: Token,
    /// Who gets it.
    pub instance: InstanceId,
    /// The step's own effect class.
    pub effect: Option<EffectClass>,
}

/// An attempt whose instance is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The task.
    pub task: TaskId,
    /// The attempt's token.
    pub token: Token,
    /// How it was noticed.
    pub reason: String,
}

/// What became of a claim to a held task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The instance holds the task.
    Granted {
        /// The instance that held it until now, and must stop.
        from: Option<InstanceId>,
        /// Whether the hand-out may not have been recorded.
        unrecorded: bool,
    },
    /// The attempt is over, a newer one has been made, or it is with another.
    Refused {
        /// Which of it, in a few words.
        reason: &'static str,
    },
}

/// Where a task is.
#[derive(Clone, Debug)]
enum Place {
    /// On its way from one place to another.
    Nowhere,
    /// In its queue.
    Queued,
    /// Set aside while its run is held.
    Aside,
    /// With an instance.
    Held(InstanceId),
    /// Taken by an instance that is gone, and may come back until then; `None` once it is reported as lost.
    Orphan { until: Option<Time>, instance: Arc<WorkerInstance> },
}

/// A hand-out.
#[derive(Clone, Copy, Debug)]
struct Given {
    /// When; `None` where it was before a restart.
    at: Option<Time>,
    skill: SkillId,
}

#[derive(Debug)]
struct Task {
    token: Token,
    queue: QueueId,
    standing: Standing,
    sticky: Option<Box<str>>,
    effect: Option<EffectClass>,
    place: Place,
    given: Option<Given>,
    /// What it says while it is under way.
    shown: Option<Box<Shown>>,
}

/// Which instance gets which task.
#[derive(Debug, Default)]
pub struct Dispatcher {
    tasks: BTreeMap<TaskId, Task>,
    queues: Queues,
    pool: Pool,
    gates: Gates,
    sticky: Sticky,
    skills: Skills,
    tails: Tails,
    held_runs: BTreeSet<RunId>,
    orphans: BTreeSet<(Time, TaskId)>,
    arrivals: u64,
    held: usize,
    orphaned: usize,
    revision: u64,
    draining: bool,
}

fn tasks_of(run: RunId) -> std::ops::RangeInclusive<TaskId> {
    TaskId { run, scope: 0, index: 0 }..=TaskId { run, scope: u32::MAX, index: u32::MAX }
}

impl Dispatcher {
    /// A dispatcher without tasks or instances.
    pub fn new() -> Self {
        Self::default()
    }

    // Tasks.

    /// A task waits for an instance.
    pub fn ready(&mut self, ready: ReadyTask) {
        self.gone(ready.task, None);
        let id = ready.task;
        self.admit(ready);
        self.put_in_line(id);
    }

    /// A task was taken before a restart; its instance may come back until then.
    pub fn taken(&mut self, ready: ReadyTask, instance: WorkerInstance, until: Time) {
        self.gone(ready.task, None);
        let (id, agent) = (ready.task, self.pool.agents.find(&ready.namespace, &instance.agent));
        self.admit(ready);
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.place = Place::Orphan { until: Some(until), instance: Arc::new(instance) };
        let (queue, group) = (task.queue, task.standing.group);
        self.occupy(queue, group, agent, false);
        self.orphaned += 1;
        self.orphans.insert((until, id));
    }

    fn admit(&mut self, ready: ReadyTask) {
        self.arrivals += 1;
        let (id, deadline) = (ready.task, ready.deadline.unwrap_or(Time(u64::MAX)));
        let order = Order { deadline, ready: ready.ready, arrival: self.arrivals };
        let group = match ready.concurrency {
            Some(limit) => {
                let gate = self.gates.find_or_make(&ready.namespace, LimitScope::Key(limit.key));
                self.gates.join(gate);
                GroupKey::Key(gate, limit.limit)
            }
            None => GroupKey::Run(id.run),
        };
        let (selector, sticky) = Selector::of(ready.route);
        let (namespace, capability, agent) = (ready.namespace, ready.capability, ready.agent);
        let target = Target { namespace, capability, agent, selector, pinned: None };
        let queue = self.queues.find_or_make(target, &mut self.pool, &self.gates);
        if let Some(queue) = self.queues.get(queue) {
            queue.gates.iter().flatten().for_each(|gate| self.gates.join(*gate));
        }
        let task = Task {
            token: ready.token,
            queue,
            standing: Standing { priority: Reverse(ready.priority), group, order },
            sticky: sticky.map(Box::from),
            effect: ready.effect,
            place: Place::Nowhere,
            given: None,
            shown: None,
        };
        self.tasks.insert(id, task);
    }

    /// An attempt is over, or was taken back. `token` is checked where it is given. Returns who held it.
    pub fn gone(&mut self, id: TaskId, token: Option<Token>) -> Option<InstanceId> {
        if self.tasks.get(&id).is_none_or(|task| token.is_some_and(|token| token != task.token)) {
            return None;
        }
        let holder = self.withdraw(id);
        if let Some(task) = self.tasks.remove(&id) {
            self.tails.end(task.shown);
            let gates = self.queues.get(task.queue).map(|queue| queue.gates).unwrap_or_default();
            gates.into_iter().flatten().for_each(|gate| self.gates.leave(gate));
            if let GroupKey::Key(gate, _) = task.standing.group {
                self.gates.leave(gate);
            }
            self.queues.leave(task.queue, &mut self.pool);
        }
        holder
    }

    /// Takes a task out of the place where it is, without putting it anywhere else. Returns who held it.
    fn withdraw(&mut self, id: TaskId) -> Option<InstanceId> {
        let task = self.tasks.get_mut(&id)?;
        let (queue, group) = (task.queue, task.standing.group);
        match std::mem::replace(&mut task.place, Place::Nowhere) {
            Place::Nowhere => None,
            Place::Queued => {
                self.out_of_line(id);
                None
            }
            Place::Aside => {
                if let Some(queue) = self.queues.get_mut(queue) {
                    queue.aside -= 1;
                }
                None
            }
            Place::Held(instance) => {
                self.held -= 1;
                self.pool.release(instance, id);
                let kind = self.pool.instance(instance).and_then(|instance| self.pool.kind(instance.kind));
                let agent = kind.map(|kind| kind.agent_id);
                self.vacate(queue, group, agent);
                Some(instance)
            }
            Place::Orphan { until, instance } => {
                self.orphaned -= 1;
                if let Some(until) = until {
                    self.orphans.remove(&(until, id));
                }
                let agent = self.agent_named(queue, &instance);
                self.vacate(queue, group, agent);
                None
            }
        }
    }

    /// The agent of an instance that is gone, where that matters.
    fn agent_named(&self, queue: QueueId, instance: &WorkerInstance) -> Option<AgentId> {
        let queue = self.queues.get(queue).filter(|_| self.gates.any_agent())?;
        self.pool.agents.find(&queue.target.namespace, &instance.agent)
    }

    /// Takes a task out of the order of its queue.
    fn out_of_line(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get(&id) else { return };
        let (queue, standing) = (task.queue, task.standing);
        let emptied = self.queues.take(queue, standing, id, false, &mut self.pool);
        if let (true, GroupKey::Key(gate, _)) = (emptied, standing.group) {
            self.gates.stop_waiting(gate, Waiter::Group(queue, standing.priority, standing.group));
        }
    }

    /// Counts a task as being with an instance.
    fn occupy(&mut self, queue: QueueId, group: GroupKey, agent: Option<AgentId>, fresh: bool) {
        let Some(queue) = self.queues.get_mut(queue) else { return };
        queue.taken += 1;
        for gate in queue.gates.into_iter().chain([gate_of(group), self.gate_of_agent(agent)]).flatten() {
            self.gates.take(gate, fresh);
        }
    }

    fn vacate(&mut self, queue: QueueId, group: GroupKey, agent: Option<AgentId>) {
        let Some(queue) = self.queues.get_mut(queue) else { return };
        queue.taken -= 1;
        for gate in queue.gates.into_iter().chain([gate_of(group), self.gate_of_agent(agent)]).flatten() {
            self.gates.free(gate);
        }
    }

    /// Puts a task into its queue, or aside where its run is held.
    fn put_in_line(&mut self, id: TaskId) {
        let aside = self.held_runs.contains(&id.run);
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if aside {
            task.place = Place::Aside;
            if let Some(queue) = self.queues.get_mut(task.queue) {
                queue.aside += 1;
            }
            return;
        }
        task.place = Place::Queued;
        let pinned = self.queues.get(task.queue).and_then(|queue| queue.target.pinned);
        if pinned.is_some_and(|instance| !self.pool.keeps_bound(instance)) {
            self.transfer(id, None);
        }
        let Some(task) = self.tasks.get(&id) else { return };
        let (queue, standing) = (task.queue, task.standing);
        self.queues.push(queue, standing, id, &mut self.pool);
        let parked = self.queues.get_mut(queue).and_then(|queue| queue.parked.as_mut());
        if let Some((gate, priority)) = parked.filter(|(_, priority)| standing.priority < *priority) {
            // The queue waits with more urgency from now on.
            *priority = standing.priority;
            self.gates.wait(*gate, Waiter::Queue(queue), u32::MAX, standing.priority);
        }
    }

    /// Gives a task that stands nowhere another queue: of its target, for any instance or for one only.
    fn transfer(&mut self, id: TaskId, pinned: Option<InstanceId>) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let Some(target) = self.queues.get(task.queue).map(|queue| Target { pinned, ..queue.target.clone() }) else {
            return;
        };
        let before = task.queue;
        // Both queues stand at the same gates.
        task.queue = self.queues.find_or_make(target, &mut self.pool, &self.gates);
        self.queues.leave(before, &mut self.pool);
    }

    /// Holds the tasks of a run back, or lets them go. Tasks that are with an instance stay there.
    pub fn hold(&mut self, run: RunId, held: bool) {
        let changed = if held { self.held_runs.insert(run) } else { self.held_runs.remove(&run) };
        if !changed {
            return;
        }
        let of_run: Vec<TaskId> = self.tasks.range(tasks_of(run)).map(|(id, _)| *id).collect();
        for id in of_run {
            if matches!(self.tasks.get(&id).map(|task| &task.place), Some(Place::Queued | Place::Aside)) {
                self.withdraw(id);
                self.put_in_line(id);
            }
        }
    }

    /// An attempt that an instance holds, or held, has ended. Tell before it is [`Dispatcher::gone`].
    pub fn ended(&mut self, id: TaskId, token: Token, outcome: Outcome, now: Time) {
        let Some(task) = self.tasks.get(&id).filter(|task| task.token == token) else { return };
        let holder = match task.place {
            Place::Held(instance) => Some(instance),
            Place::Orphan { .. } => None,
            _ => return,
        };
        self.revision += 1;
        if let Some(queue) = self.queues.get_mut(task.queue) {
            queue.ended.add(now);
        }
        let given = task.given;
        let took = given.filter(|_| outcome == Outcome::Completed).and_then(|given| Some(now.since(given.at?)));
        if let Some(given) = given {
            self.skills.count(given.skill, outcome);
        }
        let mut skill = given.and_then(|given| self.skills.get_mut(given.skill));
        let well = match outcome {
            Outcome::Completed => Some(true),
            Outcome::Failed { blamed: true } | Outcome::Expired => Some(false),
            Outcome::Failed { blamed: false } | Outcome::Lost | Outcome::Unknown => None,
        };
        let left_out = holder.is_some_and(|instance| {
            self.pool.judge(instance, |breaker| {
                if let Some(took) = took {
                    breaker.took(took, || skill.as_ref()?.took.percentile(50));
                }
                if let Some(well) = well {
                    breaker.ended(id, well, now);
                }
            })
        });
        if let (Some(took), Some(skill)) = (took, skill.as_mut()) {
            skill.took.add(took);
        }
        if let Some(instance) = holder.filter(|_| left_out) {
            self.unpin(instance);
        }
    }

    // What operators say.

    /// What an operator says about a version of an agent; `None` where nothing more.
    pub fn set_agent_state(&mut self, namespace: &str, agent: &str, version: &str, state: Option<AgentState>) {
        self.revision += 1;
        for kind in self.pool.set_state(namespace, agent, version, state) {
            self.queues.connect(kind, &mut self.pool);
            let members: Vec<InstanceId> = self.pool.members(kind).map(|(id, _)| id).collect();
            for id in members {
                if !self.pool.keeps_bound(id) {
                    self.unpin(id);
                }
            }
        }
    }

    /// Sets a limit; an empty one removes it.
    pub fn set_limit(&mut self, namespace: &str, scope: &LimitScope, limit: TaskLimit, now: Time) {
        let limit = Some(limit).filter(|limit| *limit != TaskLimit::default());
        let gate = match (self.gates.find(namespace, scope), limit) {
            (Some(known), _) => known,
            (None, Some(_)) => self.make_gate(namespace, scope),
            (None, None) => return,
        };
        self.gates.set(gate, limit, now);
        if limit.is_none() {
            self.gates.wake_all(gate).into_iter().for_each(|waiter| self.let_in(waiter));
            self.detach_gate(gate, namespace, scope);
            self.gates.forget_idle(gate);
        }
    }

    /// A gate for a scope that had none: it counts what is there already.
    fn make_gate(&mut self, namespace: &str, scope: &LimitScope) -> GateId {
        let gate = self.gates.find_or_make(namespace, scope.clone());
        match scope {
            LimitScope::Agent(name) => {
                let agent = self.pool.agents.find_or_make(namespace, name);
                self.pool.agents.set_gate(agent, Some(gate));
                let orphans = self.tasks.values().filter(|task| match &task.place {
                    Place::Orphan { instance, .. } => self.agent_named(task.queue, instance) == Some(agent),
                    _ => false,
                });
                let taken = self.pool.held_by(agent) + orphans.count();
                self.gates.count(gate, 0, taken);
            }
            LimitScope::Namespace | LimitScope::Capability(_) => {
                let (mut members, mut taken) = (0, 0);
                for (_, queue) in self.queues.iter_mut().filter(|(_, queue)| queue.target.namespace == namespace) {
                    queue.gates = self.gates.of_target(&queue.target);
                    if queue.gates.contains(&Some(gate)) {
                        members += queue.members;
                        taken += queue.taken;
                    }
                }
                self.gates.count(gate, members, taken);
            }
            // Tasks make the gate of their key themselves.
            LimitScope::Key(_) => {}
        }
        gate
    }

    fn detach_gate(&mut self, gate: GateId, namespace: &str, scope: &LimitScope) {
        if let LimitScope::Agent(name) = scope {
            let agent = self.pool.agents.find_or_make(namespace, name);
            self.pool.agents.set_gate(agent, None);
        } else if !matches!(scope, LimitScope::Key(_)) {
            for (_, queue) in self.queues.iter_mut() {
                queue.gates.iter_mut().filter(|known| **known == Some(gate)).for_each(|known| *known = None);
            }
        }
    }

    /// How many tasks wait, and how many may, where a limit on them is reached.
    pub fn queue_full(&self, namespace: &str, scope: &LimitScope) -> Option<(u32, u32)> {
        let gate = self.gates.get(self.gates.find(namespace, scope)?)?;
        let (waiting, max) = (gate.members.saturating_sub(gate.taken), gate.limit?.queue?);
        (waiting >= max).then_some((waiting, max))
    }

    /// Whether any capability of the namespace has a limit on the tasks that wait for it.
    pub fn limits_capability_queues(&self, namespace: &str) -> bool {
        self.gates.set_in(namespace).any(|gate| {
            matches!(gate.scope, LimitScope::Capability(_)) && gate.limit.is_some_and(|limit| limit.queue.is_some())
        })
    }

    // What is known of a task.

    /// Whom and what a task asks for: namespace, capability, agent.
    pub fn target(&self, id: TaskId) -> Option<(&str, Option<&str>, Option<&str>)> {
        let target = &self.queues.get(self.tasks.get(&id)?.queue)?.target;
        Some((&target.namespace, target.capability.as_deref(), target.agent.as_deref()))
    }

    /// Notes how live messages of a held task are labelled.
    pub fn show(&mut self, id: TaskId, step: &str, attempt: u32) {
        if let Some(task) = self.tasks.get_mut(&id) {
            self.tails.end(task.shown.replace(Box::new(Shown::new(step, attempt))));
        }
    }

    /// An attempt says something: kept for late watchers, and given out with its label. `None` where it is over.
    pub fn say(&mut self, id: TaskId, token: Token, live: Live) -> Option<Progress> {
        let task = self.tasks.get_mut(&id).filter(|task| task.token == token)?;
        let shown = task.shown.as_mut()?;
        self.tails.keep(shown, &live);
        Some(shown.label(id.run, live))
    }

    /// The end of what the attempts of a run have said.
    pub fn tail(&self, run: RunId) -> Vec<Progress> {
        let shown = self.tasks.range(tasks_of(run)).filter_map(|(_, task)| task.shown.as_ref());
        shown.flat_map(|shown| shown.tail(run)).collect()
    }

    /// Who holds the attempt.
    pub fn holder(&self, id: TaskId, token: Token) -> Option<InstanceId> {
        let task = self.tasks.get(&id).filter(|task| task.token == token)?;
        if let Place::Held(instance) = task.place { Some(instance) } else { None }
    }

    /// Whether the attempt's instance has not come back in time, and its loss is being recorded.
    pub fn is_being_lost(&self, id: TaskId, token: Token) -> bool {
        let task = self.tasks.get(&id).filter(|task| task.token == token);
        task.is_some_and(|task| matches!(task.place, Place::Orphan { until: None, .. }))
    }

    /// The effect class of the task's queue, where it was looked up since the agents last changed.
    pub fn class(&self, id: TaskId) -> Option<EffectClass> {
        self.queues.class(self.tasks.get(&id)?.queue)
    }

    /// Keeps the effect class of the task's queue.
    pub fn note_class(&mut self, id: TaskId, class: EffectClass) {
        if let Some(task) = self.tasks.get(&id) {
            self.queues.note_class(task.queue, class);
        }
    }

    /// The agents have changed: every effect class must be looked up again.
    pub fn forget_classes(&mut self) {
        self.queues.forget_classes();
    }

    /// The effect class that the task's step names.
    pub fn effect(&self, id: TaskId) -> Option<EffectClass> {
        self.tasks.get(&id)?.effect
    }

    // Numbers.

    /// Tasks that wait for an instance.
    pub fn queued(&self) -> usize {
        self.tasks.len() - self.held - self.orphaned
    }

    /// Tasks that instances hold.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Grows whenever something changes that agents are shown with.
    pub fn revision(&self) -> u64 {
        self.revision
    }
}

impl Dispatcher {
    fn gate_of_agent(&self, agent: Option<AgentId>) -> Option<GateId> {
        self.pool.agents.gate(agent?)
    }
}

fn gate_of(group: GroupKey) -> Option<GateId> {
    if let GroupKey::Key(gate, _) = group { Some(gate) } else { None }
}
