//! The reference: what may and what must be assigned, by the plainest means.
//!
//! For: checking every assignment, and every end of matching, against all tasks and all instances. Not for: speed.
//! Invariant: where the reference cannot know (a sticky key, a token, a breaker), it permits and does not demand.

use std::collections::{BTreeMap, BTreeSet};

use consort_dispatch::{Assignment, Claim, Dispatcher, Outcome, WorkerInstanceId};
use consort_types::{
    EffectClass, Locality, RunId, Span, StepInstanceId, Time, Token, WorkerInstance, limits,
    registry::{AgentState, LimitScope, Rate, TaskLimit},
    task::{ConcurrencyKey, ReadyTask},
    worker::{AgentDeclaration, CapabilityDeclaration, Hello, Route},
};

const NS: &str = "n";
const AGENTS: [&str; 2] = ["a", "b"];
const VERSIONS: [&str; 2] = ["1", "2"];
const CAPABILITIES: [&str; 2] = ["x", "y"];
const KEYS: [&str; 2] = ["k", "l"];
/// Worker processes; the first one is unnamed.
const WORKERS: [&str; 2] = ["", "w"];
/// Failures that are evidence about an instance, below which its breaker is surely closed.
const FAILURES_SURE: u32 = 5;

/// A call, or the passing of time. Picks choose among what is there.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Join {
        pick: u16,
        capacity: u32,
    },
    Disconnect {
        pick: u16,
        grace: u64,
    },
    DrainInstance {
        pick: u16,
    },
    SetCapacity {
        pick: u16,
        capacity: u32,
    },
    Read {
        pick: u16,
        slowly: bool,
    },
    Ready {
        pick: u64,
    },
    Restore {
        pick: u64,
    },
    Remove {
        pick: u16,
    },
    End {
        pick: u16,
        outcome: Outcome,
    },
    Requeue {
        pick: u16,
    },
    Claim {
        instance: u16,
        task: u16,
        current: bool,
        recovered: bool,
    },
    /// No task waits any longer for a version that is not connected.
    Release,
    Lost,
    Hold {
        run: u8,
        held: bool,
    },
    SetLimit {
        scope: u16,
        concurrency: Option<u32>,
        rate: Option<(u32, u64, u32)>,
    },
    SetState {
        pick: u16,
        weight: u32,
        draining: bool,
    },
    Pass {
        span: u64,
    },
    Assign,
}

#[derive(Clone, Debug, PartialEq)]
enum Place {
    Waiting,
    With(WorkerInstanceId),
    Disconnected { agent: &'static str, until: Time, reported: bool },
}

#[derive(Clone, Debug)]
struct Task {
    ready: ReadyTask,
    place: Place,
}

#[derive(Clone, Debug)]
struct Instance {
    agent: &'static str,
    version: &'static str,
    capabilities: Vec<&'static str>,
    capacity: u32,
    draining: bool,
    failures: u32,
    worker: &'static str,
    /// Whether as much waits for it as may.
    deaf: bool,
}

impl Instance {
    /// Whether it declares what the task requires.
    fn can(&self, ready: &ReadyTask) -> bool {
        ready.agent.as_ref().is_none_or(|agent| agent == self.agent)
            && ready.written_by.as_ref().is_none_or(|(agent, version)| agent == self.agent && version == self.version)
            && ready.capability.as_ref().is_none_or(|wanted| self.capabilities.contains(&wanted.as_str()))
    }

    /// Whether it is another connection of the same agent in the same worker.
    fn is_of_worker(&self, other: &Self) -> bool {
        !self.worker.is_empty() && (self.worker, self.agent) == (other.worker, other.agent)
    }
}

/// The dispatcher, and what the reference knows.
#[derive(Debug, Default)]
pub(crate) struct World {
    dispatcher: Dispatcher,
    now: Time,
    tokens: u64,
    tasks: BTreeMap<StepInstanceId, Task>,
    instances: BTreeMap<WorkerInstanceId, Instance>,
    held_runs: BTreeSet<RunId>,
    limits: BTreeMap<LimitScope, TaskLimit>,
    states: BTreeMap<(&'static str, &'static str), AgentState>,
    /// When tasks were assigned under each limit since it was set last.
    assigned_at: BTreeMap<LimitScope, Vec<Time>>,
    pub(crate) trace: Vec<Assignment>,
}

fn chosen<T: Copy>(from: &[T], pick: u16) -> Option<T> {
    from.get(usize::from(pick).checked_rem(from.len())?).copied()
}

/// A part of a pick, and what is left of it.
fn part(pick: &mut u64, of: u64) -> u64 {
    let part = *pick % of;
    *pick /= of;
    part
}

fn limit(concurrency: Option<u32>, rate: Option<(u32, u64, u32)>) -> TaskLimit {
    let rate = rate.map(|(tasks, per, burst)| Rate { tasks, per: Span(per), burst });
    TaskLimit { concurrency, rate, queue: None }
}

fn scope(pick: u16) -> LimitScope {
    let name = |names: [&str; 2]| names[usize::from(pick / 4 % 2)].to_owned();
    match pick % 4 {
        0 => LimitScope::Namespace,
        1 => LimitScope::Capability(name(CAPABILITIES)),
        2 => LimitScope::Agent(name(AGENTS)),
        _ => LimitScope::Key(name(KEYS)),
    }
}

pub(crate) fn hello(agent: &str, version: &str, capabilities: &[&str], capacity: u32) -> Hello {
    let capability = |name: &&str| CapabilityDeclaration {
        name: (*name).to_owned(),
        description: String::new(),
        effect: EffectClass::Idempotent,
        input_schema: true.into(),
        output_schema: true.into(),
        cost_hint_microdollars: None,
        time_hint: None,
    };
    Hello {
        namespace: NS.into(),
        agent: AgentDeclaration {
            name: agent.into(),
            version: version.into(),
            description: String::new(),
            capabilities: capabilities.iter().map(capability).collect(),
            subscriptions: Vec::new(),
            labels: BTreeMap::new(),
        },
        concurrency: capacity,
        held: Vec::new(),
        labels: BTreeMap::new(),
        client: String::new(),
        worker: String::new(),
    }
}

pub(crate) fn ready(run: u8, index: u32, token: u64) -> ReadyTask {
    ReadyTask {
        task: StepInstanceId { run: RunId([run; 16]), scope: 0, index },
        token: Token(token),
        namespace: NS.into(),
        capability: Some("x".into()),
        agent: None,
        priority: 0,
        ready: Time(0),
        concurrency: None,
        effect: None,
        route: None,
        deadline: None,
        written_by: None,
    }
}

/// The agent of the instance, where it matters.
fn scopes(task: &ReadyTask, agent: &str) -> Vec<LimitScope> {
    let mut scopes = vec![LimitScope::Namespace, LimitScope::Agent(agent.to_owned())];
    scopes.extend(task.capability.clone().map(LimitScope::Capability));
    scopes.extend(task.concurrency.as_ref().map(|limit| LimitScope::Key(limit.key.clone())));
    scopes
}

impl World {
    pub(crate) fn act(&mut self, op: &Op) {
        match *op {
            Op::Join { pick, capacity } => self.join(u64::from(pick), capacity),
            Op::Disconnect { pick, grace } => self.disconnect(pick, grace),
            Op::DrainInstance { pick } => {
                let Some(id) = self.pick_instance(pick) else { return };
                self.dispatcher.drain_instance(id);
                self.instances.get_mut(&id).unwrap().draining = true;
            }
            Op::SetCapacity { pick, capacity } => {
                let Some(id) = self.pick_instance(pick) else { return };
                self.dispatcher.set_capacity(id, capacity);
                self.instances.get_mut(&id).unwrap().capacity = capacity;
            }
            Op::Read { pick, slowly } => {
                let Some(id) = self.pick_instance(pick) else { return };
                self.read(id, slowly);
            }
            Op::Ready { pick } => {
                let ready = self.make_task(pick);
                self.dispatcher.ready(ready.clone());
                self.tasks.insert(ready.task, Task { ready, place: Place::Waiting });
            }
            Op::Restore { mut pick } => {
                let agent = AGENTS[part(&mut pick, 2) as usize];
                let (ready, until) = (self.make_task(pick), self.now.after(Span(20)));
                let (start, number) = (27, 1);
                let instance = WorkerInstance { locality: Locality::Remote, start, number, agent: agent.to_owned() };
                self.dispatcher.restore(ready.clone(), instance, until);
                let place = Place::Disconnected { agent, until, reported: false };
                self.tasks.insert(ready.task, Task { ready, place });
            }
            Op::Remove { pick } => {
                let Some(id) = self.pick_task(pick, |_| true) else { return };
                self.remove(id);
            }
            Op::End { pick, outcome } => self.end(pick, outcome),
            Op::Requeue { pick } => {
                let Some(id) = self.pick_task(pick, |_| true) else { return };
                let task = self.tasks.get_mut(&id).unwrap();
                self.dispatcher.requeue(id, task.ready.token);
                if matches!(task.place, Place::With(_)) {
                    task.place = Place::Waiting;
                }
            }
            Op::Claim { instance, task, current, recovered } => self.claim(instance, task, current, recovered),
            Op::Release => self.release(),
            Op::Lost => self.lost(),
            Op::Hold { run, held } => {
                let run = RunId([run; 16]);
                self.dispatcher.hold(run, held);
                if held {
                    self.held_runs.insert(run)
                } else {
                    self.held_runs.remove(&run)
                };
            }
            Op::SetLimit { scope: pick, concurrency, rate } => self.set_limit(scope(pick), limit(concurrency, rate)),
            Op::SetState { pick, weight, draining } => {
                let (agent, version) = (AGENTS[usize::from(pick % 2)], VERSIONS[usize::from(pick / 2 % 2)]);
                let state = AgentState { weight, draining };
                self.dispatcher.set_agent_state(NS, agent, version, Some(state));
                self.states.insert((agent, version), state);
            }
            Op::Pass { span } => self.now = self.now.after(Span(span)),
            Op::Assign => self.assign(),
        }
    }

    fn pick_instance(&self, pick: u16) -> Option<WorkerInstanceId> {
        chosen(&self.instances.keys().copied().collect::<Vec<_>>(), pick)
    }

    fn pick_task(&self, pick: u16, among: impl Fn(&Task) -> bool) -> Option<StepInstanceId> {
        let among: Vec<StepInstanceId> = self.tasks.iter().filter(|(_, task)| among(task)).map(|(id, _)| *id).collect();
        chosen(&among, pick)
    }

    fn join(&mut self, mut pick: u64, capacity: u32) {
        let (agent, version) = (AGENTS[part(&mut pick, 2) as usize], VERSIONS[part(&mut pick, 2) as usize]);
        let capabilities: Vec<&str> = match part(&mut pick, 3) {
            0 => CAPABILITIES.to_vec(),
            one => vec![CAPABILITIES[one as usize - 1]],
        };
        let worker = WORKERS[part(&mut pick, 2) as usize];
        let hello = Hello { worker: worker.to_owned(), ..hello(agent, version, &capabilities, capacity) };
        let id = self.dispatcher.join(&hello, Locality::Remote, 28, self.now);
        let (draining, failures, deaf) = (false, 0, false);
        let instance = Instance { agent, version, capabilities, capacity, draining, failures, worker, deaf };
        assert!(self.instances.insert(id, instance).is_none(), "numbers are never used again");
    }

    fn disconnect(&mut self, pick: u16, grace: u64) {
        let Some(id) = self.pick_instance(pick) else { return };
        let until = self.now.after(Span(grace));
        self.dispatcher.disconnect(id, until);
        let agent = self.instances.remove(&id).unwrap().agent;
        for task in self.tasks.values_mut().filter(|task| task.place == Place::With(id)) {
            task.place = Place::Disconnected { agent, until, reported: false };
        }
    }

    fn make_task(&mut self, mut pick: u64) -> ReadyTask {
        self.tokens += 1;
        let mut task = ready(part(&mut pick, 5) as u8, part(&mut pick, 8) as u32, self.tokens);
        task.priority = part(&mut pick, 3) as i32;
        task.ready = self.now;
        let target = part(&mut pick, 8) as usize;
        task.agent = (target >= 5).then(|| AGENTS[target % 2].to_owned());
        task.capability = (target != 7).then(|| CAPABILITIES[target % 2].to_owned());
        let key = part(&mut pick, 6) as usize;
        if let Some(key) = KEYS.get(key) {
            task.concurrency = Some(ConcurrencyKey { key: (*key).to_owned(), limit: 1 + part(&mut pick, 3) as u32 });
        }
        task.deadline = (part(&mut pick, 3) == 0).then(|| Time(part(&mut pick, 50)));
        let route = part(&mut pick, 8) as usize;
        if route > 5 {
            let writer = part(&mut pick, 4) as usize;
            let agent = task.agent.clone().unwrap_or_else(|| AGENTS[writer % 2].to_owned());
            task.written_by = Some((agent, VERSIONS[writer / 2].to_owned()));
        }
        task.route = match route {
            0 => Some(Route { sticky: Some("s".into()), ..Route::default() }),
            1 | 2 => Some(Route { version: Some(VERSIONS[route - 1].into()), ..Route::default() }),
            _ => None,
        };
        task
    }

    fn remove(&mut self, id: StepInstanceId) {
        let task = self.tasks.remove(&id).unwrap();
        let holder = if let Place::With(instance) = task.place { Some(instance) } else { None };
        assert_eq!(self.dispatcher.remove(id, Some(Token(0))), None, "an old attempt changes nothing");
        assert_eq!(self.dispatcher.remove(id, Some(task.ready.token)), holder);
    }

    fn end(&mut self, pick: u16, outcome: Outcome) {
        let Some(id) = self.pick_task(pick, |task| task.place != Place::Waiting) else { return };
        let task = &self.tasks[&id];
        self.dispatcher.ended(id, task.ready.token, outcome, self.now);
        if let (Place::With(instance), Outcome::Failed { blamed: true } | Outcome::Expired) = (&task.place, outcome) {
            self.instances.get_mut(instance).unwrap().failures += 1;
        }
        self.remove(id);
    }

    /// As much waits for an instance as may, or nothing.
    fn read(&mut self, id: WorkerInstanceId, slowly: bool) {
        let bytes = self.dispatcher.unread(id);
        self.dispatcher.take_unread(id, bytes);
        if slowly {
            self.dispatcher.add_unread(id, limits::INSTANCE_UNREAD_BYTES_MAX);
        }
        self.instances.get_mut(&id).unwrap().deaf = slowly;
    }

    fn claim(&mut self, instance: u16, task: u16, current: bool, recovered: bool) {
        let Some((instance, id)) = self.pick_instance(instance).zip(self.pick_task(task, |_| true)) else { return };
        let task = self.tasks.get_mut(&id).unwrap();
        let token = if current { task.ready.token } else { Token(0) };
        let own = &self.instances[&instance];
        let granted = |from, unrecorded| Claim::Granted { from, unrecorded };
        let expected = match &task.place {
            _ if !current => Claim::Refused { reason: "the attempt is over" },
            Place::Disconnected { reported: false, agent, .. } if *agent == own.agent => granted(None, false),
            Place::Waiting if recovered && own.can(&task.ready) => granted(None, true),
            Place::With(from) if own.is_of_worker(&self.instances[from]) => granted(Some(*from), true),
            _ => Claim::Refused { reason: "the attempt is not with this instance" },
        };
        assert_eq!(self.dispatcher.claim(instance, id, token, recovered, self.now), expected);
        if matches!(expected, Claim::Granted { .. }) {
            task.place = Place::With(instance);
        }
    }

    /// Tasks whose journals were written by a version that is not connected may go to any from now on.
    fn release(&mut self) {
        self.dispatcher.writers().release(self.now, Span::ZERO);
        for task in self.tasks.values_mut() {
            let is_held = self.held_runs.contains(&task.ready.task.run);
            let is_served = self.instances.values().any(|instance| instance.can(&task.ready));
            if task.place == Place::Waiting && !is_held && !is_served {
                task.ready.written_by = None;
            }
        }
    }

    fn lost(&mut self) {
        let lost: BTreeSet<StepInstanceId> = self.dispatcher.lost(self.now).into_iter().map(|lost| lost.task).collect();
        let mut expected = BTreeSet::new();
        for (id, task) in &mut self.tasks {
            if let Place::Disconnected { until, reported, .. } = &mut task.place
                && !*reported
                && *until <= self.now
            {
                *reported = true;
                expected.insert(*id);
            }
        }
        assert_eq!(lost, expected, "each attempt is lost once, when its time has come");
    }

    fn set_limit(&mut self, scope: LimitScope, limit: TaskLimit) {
        self.dispatcher.set_limit(NS, &scope, limit, self.now);
        self.assigned_at.remove(&scope);
        if limit == TaskLimit::default() {
            self.limits.remove(&scope);
        } else {
            self.limits.insert(scope, limit);
        }
    }

    fn assign(&mut self) {
        for assignment in self.dispatcher.assign(self.now) {
            self.check_assignment(&assignment);
            self.tasks.get_mut(&assignment.task).unwrap().place = Place::With(assignment.instance);
            self.trace.push(assignment);
        }
        for (id, task) in self.tasks.iter().filter(|(_, task)| self.is_waiting(task)) {
            let missed = self.instances.keys().find(|instance| self.must_fit(task, **instance));
            assert_eq!(missed, None, "{id} could be assigned");
        }
    }

    fn is_waiting(&self, task: &Task) -> bool {
        task.place == Place::Waiting && !self.held_runs.contains(&task.ready.task.run)
    }

    fn load(&self, id: WorkerInstanceId) -> u32 {
        self.tasks.values().filter(|task| task.place == Place::With(id)).count() as u32
    }

    /// Tasks that count towards a limit.
    fn acquired(&self, scope: &LimitScope) -> u32 {
        let counts = |task: &&Task| {
            let agent = match &task.place {
                Place::Waiting => return false,
                Place::With(instance) => self.instances[instance].agent,
                Place::Disconnected { agent, .. } => agent,
            };
            scopes(&task.ready, agent).contains(scope)
        };
        self.tasks.values().filter(counts).count() as u32
    }

    /// Whether the instance is free, and declares what the task requires.
    fn fits(&self, task: &Task, id: WorkerInstanceId) -> bool {
        let (ready, instance) = (&task.ready, &self.instances[&id]);
        let version = ready.route.as_ref().and_then(|route| route.version.as_deref());
        let state = self.states.get(&(instance.agent, instance.version)).copied().unwrap_or_default();
        let goes_on = ready.written_by.is_some();
        !instance.draining
            && !instance.deaf
            && instance.can(ready)
            && (goes_on || version.is_none_or(|version| version == instance.version))
            && (goes_on || !state.draining)
            && (goes_on || state.weight > 0 || version.is_some())
            && self.load(id) < instance.capacity
    }

    fn within_limits(&self, task: &Task, agent: &str) -> bool {
        let own = task.ready.concurrency.as_ref();
        let own = own.is_none_or(|limit| self.acquired(&LimitScope::Key(limit.key.clone())) < limit.limit);
        own && scopes(&task.ready, agent).iter().all(|scope| {
            let max = self.limits.get(scope).and_then(|limit| limit.concurrency);
            max.is_none_or(|max| self.acquired(scope) < max)
        })
    }

    /// Whether the task can be assigned to the instance for certain.
    fn must_fit(&self, task: &Task, id: WorkerInstanceId) -> bool {
        let instance = &self.instances[&id];
        let sticky = task.ready.route.as_ref().is_some_and(|route| route.sticky.is_some());
        let has_rate = |scope: &LimitScope| self.limits.get(scope).is_some_and(|limit| limit.rate.is_some());
        !sticky
            && instance.failures < FAILURES_SURE
            && self.fits(task, id)
            && self.within_limits(task, instance.agent)
            && !scopes(&task.ready, instance.agent).iter().any(has_rate)
    }

    fn check_assignment(&mut self, assignment: &Assignment) {
        let Assignment { task: id, token, instance } = assignment;
        let task = self.tasks.get(id).expect("a task that is assigned is known");
        assert_eq!(task.ready.token, *token, "the current attempt is assigned");
        assert!(self.is_waiting(task), "{id} is assigned while it is {:?}", task.place);
        assert!(self.instances.contains_key(instance), "{id} is assigned to a disconnected instance");
        assert!(self.fits(task, *instance), "{id} is assigned to an instance that cannot take it");
        let agent = self.instances[instance].agent;
        assert!(self.within_limits(task, agent), "{id} passes a limit");
        self.check_priority(task);
        for scope in scopes(&task.ready.clone(), agent) {
            self.check_rate(scope);
        }
    }

    /// No task overtakes one of a higher priority that no limit is set for.
    fn check_priority(&self, task: &Task) {
        let higher = self.tasks.values().filter(|other| other.ready.priority > task.ready.priority);
        for other in higher.filter(|other| self.is_waiting(other) && other.ready.concurrency.is_none()) {
            let overtaken = self.instances.iter().find(|(id, instance)| {
                let limited = scopes(&other.ready, instance.agent).iter().any(|scope| self.limits.contains_key(scope));
                !limited && self.must_fit(other, **id)
            });
            assert!(overtaken.is_none(), "{} overtakes {}", task.ready.task, other.ready.task);
        }
    }

    /// Over any stretch since the limit was set, no more tasks than the burst and what the rate gives.
    fn check_rate(&mut self, scope: LimitScope) {
        let Some(rate) = self.limits.get(&scope).and_then(|limit| limit.rate) else { return };
        let times = self.assigned_at.entry(scope).or_default();
        times.push(self.now);
        for (at, since) in times.iter().enumerate() {
            let (count, span) = ((times.len() - at) as u64, self.now.since(*since).0);
            let most = u64::from(rate.burst.max(1)) + span * u64::from(rate.tasks) / rate.per.0;
            assert!(count <= most, "{count} tasks in {span} µs pass {rate:?}");
        }
    }

    /// Every task is where the reference has it.
    pub(crate) fn check(&self) {
        let count = |of: fn(&Place) -> bool| self.tasks.values().filter(|task| of(&task.place)).count();
        assert_eq!(self.dispatcher.queued(), count(|place| *place == Place::Waiting));
        assert_eq!(self.dispatcher.held(), count(|place| matches!(place, Place::With(_))));
        for (id, task) in &self.tasks {
            let holder = if let Place::With(instance) = task.place { Some(instance) } else { None };
            assert_eq!(self.dispatcher.holder(*id, task.ready.token), holder, "{id}");
        }
        for view in self.dispatcher.views().limits(NS) {
            assert_eq!(view.taken, self.acquired(&view.scope), "{}", view.scope);
        }
    }

    /// With every hindrance removed, everything can be assigned and ended.
    pub(crate) fn finish(&mut self) {
        for scope in self.limits.keys().cloned().collect::<Vec<_>>() {
            self.set_limit(scope, TaskLimit::default());
        }
        (0..5).for_each(|run| self.act(&Op::Hold { run, held: false }));
        self.instances.keys().copied().collect::<Vec<_>>().into_iter().for_each(|id| self.read(id, false));
        for (pick, version) in VERSIONS.into_iter().flat_map(|version| [(0, version), (1, version)]) {
            let agent = AGENTS[pick];
            self.dispatcher.set_agent_state(NS, agent, version, None);
            self.states.remove(&(agent, version));
            let hello = hello(agent, version, &CAPABILITIES, 1_000);
            let id = self.dispatcher.join(&hello, Locality::Local, 28, self.now);
            let (capabilities, capacity, worker) = (CAPABILITIES.to_vec(), 1_000, WORKERS[0]);
            let (draining, failures, deaf) = (false, 0, false);
            let instance = Instance { agent, version, capabilities, capacity, draining, failures, worker, deaf };
            self.instances.insert(id, instance);
        }
        // Disconnected attempts hold their keys until they are over.
        while !self.tasks.is_empty() {
            self.now = self.now.after(Span::from_secs(120));
            let before = self.tasks.len();
            self.assign();
            for id in self.tasks.keys().copied().collect::<Vec<_>>() {
                if self.tasks[&id].place != Place::Waiting {
                    self.remove(id);
                }
            }
            assert!(self.tasks.len() < before, "some task can always be assigned");
        }
        assert_eq!((self.dispatcher.queued(), self.dispatcher.held()), (0, 0));
    }
}
