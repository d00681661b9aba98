//! Which instance gets which task.
//!
//! For: queues, priorities, fairness, concurrency keys, credit, and noticing that an instance is gone. Volatile: it is
//! rebuilt from the state after a restart. Not for: recording anything (the partition does), clocks or channels.
//! Invariant: a task is in exactly one place; the same calls in the same order give the same assignments.

mod keys;
mod pool;
mod queue;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use consort_core::ReadyTask;
use consort_types::{EffectClass, RunId, TaskId, Time, Token, limits, worker::Hello};

use crate::{Locality, handle::AgentStatus};
use keys::{KeyName, Keys};
use pool::Pool;
use queue::{QueueId, Queues, Rank, Target};

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
    /// The attempt is over, or a newer one has been made.
    Refused,
}

/// Where a task is.
#[derive(Clone, Debug)]
enum Place {
    /// In its queue.
    Queued,
    /// Waiting for its concurrency key.
    Blocked,
    /// Set aside while its run is held.
    Aside,
    /// With an instance.
    Held(InstanceId),
    /// Taken by an instance that is gone, and may come back until then; `None` once it is reported as lost.
    Orphan { until: Option<Time>, instance: Arc<str> },
}

#[derive(Clone, Debug)]
struct Task {
    token: Token,
    queue: QueueId,
    rank: Rank,
    key: Option<(Arc<KeyName>, u32)>,
    effect: Option<EffectClass>,
    place: Place,
    /// The step's path and the attempt, for live messages.
    shown: Option<(Box<str>, u32)>,
}

/// Which instance gets which task.
#[derive(Debug, Default)]
pub struct Dispatcher {
    tasks: BTreeMap<TaskId, Task>,
    queues: Queues,
    pool: Pool,
    keys: Keys,
    held_runs: BTreeSet<RunId>,
    orphans: BTreeSet<(Time, TaskId)>,
    arrivals: u64,
    held: usize,
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
        let (id, run) = (ready.task, ready.task.run);
        let task = self.admit(ready, Place::Queued);
        self.tasks.insert(id, task);
        if self.held_runs.contains(&run) {
            self.set_place(id, Place::Aside);
        } else {
            self.enqueue(id);
        }
    }

    /// A task was taken before a restart; its instance may come back until then.
    pub fn taken(&mut self, ready: ReadyTask, instance: &str, until: Time) {
        self.gone(ready.task, None);
        let id = ready.task;
        let task = self.admit(ready, Place::Orphan { until: Some(until), instance: Arc::from(instance) });
        if let Some((key, _)) = &task.key {
            self.keys.take(key);
        }
        self.tasks.insert(id, task);
        self.orphans.insert((until, id));
    }

    fn admit(&mut self, ready: ReadyTask, place: Place) -> Task {
        self.arrivals += 1;
        let rank = Rank { priority: Reverse(ready.priority), ready: ready.ready, arrival: self.arrivals };
        let key = ready.concurrency.map(|limit| {
            let name = self.keys.name(&ready.namespace, &limit.key);
            (name, limit.limit)
        });
        let target = Target { namespace: ready.namespace, capability: ready.capability, agent: ready.agent };
        let queue = self.queues.find_or_make(target, &self.pool);
        Task { token: ready.token, queue, rank, key, effect: ready.effect, place, shown: None }
    }

    /// An attempt is over, or was taken back. `token` is checked where it is given. Returns who held it.
    pub fn gone(&mut self, id: TaskId, token: Option<Token>) -> Option<InstanceId> {
        if self.tasks.get(&id).is_none_or(|task| token.is_some_and(|token| token != task.token)) {
            return None;
        }
        let holder = self.withdraw(id);
        if let Some(task) = self.tasks.remove(&id) {
            self.queues.leave(task.queue);
        }
        holder
    }

    /// Takes a task out of the place where it is, without putting it anywhere else. Returns who held it.
    fn withdraw(&mut self, id: TaskId) -> Option<InstanceId> {
        let task = self.tasks.get(&id)?;
        let (queue, rank, key) = (task.queue, task.rank, task.key.clone());
        match task.place.clone() {
            Place::Queued => {
                self.queues.remove(queue, rank, id, &mut self.pool);
                // It may have been the one that stood in the queue for its key.
                self.unblock(key.map(|(name, _)| name));
                None
            }
            Place::Blocked => {
                if let Some((name, _)) = key {
                    self.keys.remove_waiting(&name, queue, rank, id);
                }
                None
            }
            Place::Aside => None,
            Place::Held(instance) => {
                self.held -= 1;
                self.pool.release(instance, id);
                self.free_key(key.map(|(name, _)| name));
                Some(instance)
            }
            Place::Orphan { until, .. } => {
                if let Some(until) = until {
                    self.orphans.remove(&(until, id));
                }
                self.free_key(key.map(|(name, _)| name));
                None
            }
        }
    }

    fn set_place(&mut self, id: TaskId, place: Place) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.place = place;
        }
    }

    fn enqueue(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.place = Place::Queued;
        self.queues.push(task.queue, task.rank, id, &mut self.pool);
    }

    fn free_key(&mut self, key: Option<Arc<KeyName>>) {
        if let Some(name) = key {
            self.keys.free(&name);
            self.unblock(Some(name));
        }
    }

    /// Puts one task of each queue that waits for the key back into its queue. Where the key turns out to be full
    /// still, hand-out sends it back here.
    fn unblock(&mut self, key: Option<Arc<KeyName>>) {
        let Some(name) = key else { return };
        for id in self.keys.candidates(&name) {
            self.enqueue(id);
        }
    }

    /// Holds the tasks of a run back, or lets them go. Tasks that are with an instance stay there.
    pub fn hold(&mut self, run: RunId, held: bool) {
        let changed = if held { self.held_runs.insert(run) } else { self.held_runs.remove(&run) };
        if !changed {
            return;
        }
        let of_run: Vec<TaskId> = self.tasks.range(tasks_of(run)).map(|(id, _)| *id).collect();
        for id in of_run {
            match (held, self.tasks.get(&id).map(|task| task.place.clone())) {
                (true, Some(Place::Queued | Place::Blocked)) => {
                    self.withdraw(id);
                    self.set_place(id, Place::Aside);
                }
                (false, Some(Place::Aside)) => self.enqueue(id),
                _ => {}
            }
        }
    }

    // Hand-out.

    /// Hands no more out from now on.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether nothing is handed out any more.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Gives ready tasks to instances until one of the two runs out: by priority, then fairly between runs, then by
    /// age; to the least loaded instance.
    pub fn assign(&mut self) -> Vec<Assignment> {
        let mut assignments = Vec::new();
        while !self.draining {
            let Some(queue) = self.pool.next_queue() else { break };
            let Some(id) = self.queues.pop(queue, &mut self.pool) else { break };
            let Some(task) = self.tasks.get(&id) else { break };
            if let Some((name, limit)) = &task.key
                && self.keys.is_full(name, *limit)
            {
                self.keys.wait(&name.clone(), queue, task.rank, id);
                self.set_place(id, Place::Blocked);
                continue;
            }
            let Some(instance) = self.pool.least_loaded(self.queues.profiles(queue)) else {
                self.enqueue(id);
                break;
            };
            assignments.push(self.give(id, instance));
        }
        assignments
    }

    fn give(&mut self, id: TaskId, instance: InstanceId) -> Assignment {
        self.held += 1;
        self.pool.hold(instance, id);
        let task = self.tasks.get_mut(&id).filter(|task| !matches!(task.place, Place::Held(_)));
        let Some(task) = task else { unreachable!("a task is given once, and is known") };
        task.place = Place::Held(instance);
        let (token, effect, key) = (task.token, task.effect, task.key.clone());
        if let Some((name, limit)) = key {
            self.keys.take(&name);
            if !self.keys.is_full(&name, limit) {
                self.unblock(Some(name));
            }
        }
        Assignment { task: id, token, instance, effect }
    }

    /// Whom and what a task asks for: namespace, capability, agent.
    pub fn target(&self, id: TaskId) -> Option<(&str, Option<&str>, Option<&str>)> {
        let target = self.queues.target(self.tasks.get(&id)?.queue)?;
        Some((&target.namespace, target.capability.as_deref(), target.agent.as_deref()))
    }

    /// Notes how live messages of a held task are labelled.
    pub fn show(&mut self, id: TaskId, step: &str, attempt: u32) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.shown = Some((Box::from(step), attempt));
        }
    }

    /// How live messages of a held task are labelled: the step's path and the attempt.
    pub fn shown(&self, id: TaskId, token: Token) -> Option<(&str, u32)> {
        let task = self.tasks.get(&id).filter(|task| task.token == token)?;
        task.shown.as_ref().map(|(step, attempt)| (&**step, *attempt))
    }

    /// Who holds the attempt.
    pub fn holder(&self, id: TaskId, token: Token) -> Option<InstanceId> {
        let task = self.tasks.get(&id).filter(|task| task.token == token)?;
        if let Place::Held(instance) = task.place { Some(instance) } else { None }
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

    // Instances.

    /// An instance joins. Its name is `prefix`, its number and its agent, with colons between.
    pub fn join(&mut self, hello: &Hello, locality: Locality, prefix: &str, now: Time) -> InstanceId {
        let instance = self.pool.join(hello, locality, prefix, now);
        self.queues.connect(self.pool.profile_of(instance), &mut self.pool);
        instance
    }

    /// A task that was given, but never sent, waits again.
    pub fn put_back(&mut self, id: TaskId, token: Token) {
        if self.holder(id, token).is_none() {
            return;
        }
        self.withdraw(id);
        if self.held_runs.contains(&id.run) {
            self.set_place(id, Place::Aside);
        } else {
            self.enqueue(id);
        }
    }

    /// An instance leaves; the tasks that it holds wait until `until` for it to come back.
    pub fn leave(&mut self, instance: InstanceId, until: Time) {
        let Some(left) = self.pool.leave(instance) else { return };
        for id in left.held {
            self.held -= 1;
            self.orphans.insert((until, id));
            self.set_place(id, Place::Orphan { until: Some(until), instance: Arc::clone(&left.name) });
        }
        if let Some(profile) = left.last_of {
            self.queues.disconnect(profile);
        }
    }

    /// An instance gets no more tasks; it keeps those that it holds.
    pub fn give_no_more(&mut self, instance: InstanceId) {
        self.pool.give_no_more(instance);
    }

    /// How many tasks an instance wants to hold at once from now on; what it holds stays.
    pub fn set_credit(&mut self, instance: InstanceId, tasks: u32) {
        self.pool.set_credit(instance, tasks.min(limits::INSTANCE_CREDIT_MAX) as usize);
    }

    /// An instance claims a task that it holds from before a reconnect.
    pub fn claim(&mut self, instance: InstanceId, id: TaskId, token: Token) -> Claim {
        let Some(task) = self.tasks.get(&id).filter(|task| task.token == token) else { return Claim::Refused };
        let unrecorded = !matches!(task.place, Place::Orphan { .. });
        if let Place::Orphan { until: None, .. } = task.place {
            // It is being reported as lost; the fence moves.
            return Claim::Refused;
        }
        if self.pool.locality(instance).is_none() {
            return Claim::Refused;
        }
        let from = self.withdraw(id);
        self.set_place(id, Place::Aside);
        self.give(id, instance);
        Claim::Granted { from, unrecorded }
    }

    /// An instance was heard of.
    pub fn heard(&mut self, instance: InstanceId, now: Time) {
        self.pool.heard(instance, now);
    }

    /// Where an instance lives; `None` where it is not connected.
    pub fn locality(&self, instance: InstanceId) -> Option<Locality> {
        self.pool.locality(instance)
    }

    /// The name of a connected instance.
    pub fn name(&self, instance: InstanceId) -> Option<&Arc<str>> {
        self.pool.name(instance)
    }

    /// The connected instances, in the order in which they joined.
    pub fn instances(&self) -> Vec<InstanceId> {
        self.pool.instances().collect()
    }

    /// The connected instances of a version of an agent, in the order in which they joined.
    pub fn instances_of(&self, namespace: &str, agent: &str, version: &str) -> Vec<InstanceId> {
        self.pool.instances_of(namespace, agent, version)
    }

    /// How many instances are connected.
    pub fn instance_count(&self) -> usize {
        self.pool.instances().count()
    }

    /// Remote instances that hold tasks and were not heard of since `heard_before`.
    pub fn silent(&self, heard_before: Time) -> Vec<InstanceId> {
        self.pool.silent(heard_before)
    }

    /// When the instance that was silent for longest, and holds tasks, was last heard of (or later).
    pub fn longest_silence(&self) -> Option<Time> {
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

    // Numbers.

    /// Tasks that wait for an instance.
    pub fn queued(&self) -> usize {
        self.tasks.len() - self.held - self.orphaned()
    }

    /// Tasks that instances hold.
    pub fn held(&self) -> usize {
        self.held
    }

    fn orphaned(&self) -> usize {
        self.tasks.values().filter(|task| matches!(task.place, Place::Orphan { .. })).count()
    }

    /// The agents that are connected.
    pub fn agents(&self) -> Vec<AgentStatus> {
        self.pool.agents()
    }
}
