//! Gates: everything that can be full, for a while.
//!
//! For: counting what is with instances by namespace, capability, agent and concurrency key; token buckets; who waits
//! for room. Not for: what waits (queues and their groups do), or for which limits there are (the machine knows).
//! Invariant: whoever waits at a gate that has room is woken before hand-out ends; nothing is looked at in between.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use consort_types::{
    Time,
    registry::{LimitScope, Rate, TaskLimit},
};

use super::{
    order::GroupKey,
    pool::AgentId,
    queue::{QueueId, Target},
};

/// A gate. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GateId(u64);

/// Who waits for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Waiter {
    /// A whole queue.
    Queue(QueueId),
    /// Tasks of a queue that share a key.
    Group(QueueId, Reverse<i32>, GroupKey),
    /// All instances of an agent.
    Agent(AgentId),
}

/// Where a waiter stands: those with the widest limit of their own first (if it has no room, none has), then by
/// priority, then by age.
type Turn = (Reverse<u32>, Reverse<i32>, u64);

/// Tokens, in parts: one token is as many parts as the rate's span has microseconds, and each microsecond brings as
/// many parts as the rate has tasks. So no fraction is ever lost.
#[derive(Debug)]
struct Bucket {
    rate: Rate,
    parts: u128,
    at: Time,
}

impl Bucket {
    /// An empty one: who starts anew may have used up everything just before.
    fn new(rate: Rate, now: Time) -> Self {
        Self { rate, parts: 0, at: now }
    }

    fn token(&self) -> u128 {
        u128::from(self.rate.per.0.max(1))
    }

    fn fill(&mut self, now: Time) {
        let most = self.token() * u128::from(self.rate.burst.max(1));
        let came = u128::from(now.since(self.at).0) * u128::from(self.rate.tasks);
        self.parts = (self.parts + came).min(most);
        self.at = self.at.max(now);
    }

    fn has_token(&self) -> bool {
        self.parts >= self.token()
    }

    /// When the next token is there; `None` where none ever comes.
    fn due(&self) -> Option<Time> {
        let lacks = self.token().saturating_sub(self.parts);
        let tasks = u128::from(self.rate.tasks);
        (tasks > 0)
            .then(|| self.at.after(consort_types::Span(u64::try_from(lacks.div_ceil(tasks)).unwrap_or(u64::MAX))))
    }
}

/// Something that can be full.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) namespace: String,
    pub(super) scope: LimitScope,
    /// What an operator has set; a key has limits of its tasks' own besides.
    pub(super) limit: Option<TaskLimit>,
    /// Tasks that are with instances.
    pub(super) taken: u32,
    /// Tasks, wherever they are; not counted for agents.
    pub(super) members: u32,
    bucket: Option<Bucket>,
    waiting: BTreeMap<Turn, Waiter>,
    turns: BTreeMap<Waiter, Turn>,
    due: Option<Time>,
}

impl Gate {
    /// Whether one more may be taken, and if not, whether time alone will help.
    fn room(&mut self, own: u32, now: Time) -> Room {
        let most = self.limit.and_then(|limit| limit.concurrency).unwrap_or(u32::MAX).min(own);
        if self.taken >= most {
            return Room::Full;
        }
        let Some(bucket) = &mut self.bucket else { return Room::Free };
        bucket.fill(now);
        if bucket.has_token() { Room::Free } else { Room::Empty(bucket.due()) }
    }

    /// Why it has no room, in words.
    pub(super) fn reason(&self, own: u32) -> String {
        let limit = self.limit.unwrap_or_default();
        let most = limit.concurrency.unwrap_or(u32::MAX).min(own);
        match limit.rate {
            Some(rate) if self.taken < most => {
                format!("the limit `{}` of {} tasks in {} is reached", self.scope, rate.tasks, rate.per)
            }
            _ => format!("the limit `{}` of {most} tasks at once is reached", self.scope),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    Free,
    /// As many as may be are taken.
    Full,
    /// No token is there, until then.
    Empty(Option<Time>),
}

/// All gates.
#[derive(Debug, Default)]
pub(super) struct Gates {
    all: BTreeMap<GateId, Gate>,
    by_scope: BTreeMap<String, BTreeMap<LimitScope, GateId>>,
    /// Gates that may have room for someone who waits.
    hot: BTreeSet<GateId>,
    dues: BTreeSet<(Time, GateId)>,
    made: u64,
    stamps: u64,
    agents: usize,
    now: Time,
}

impl Gates {
    /// The time has come to `now`; whoever waited for a token may have it.
    pub(super) fn advance(&mut self, now: Time) {
        self.now = self.now.max(now);
        while let Some((due, id)) = self.dues.first().copied().filter(|(due, _)| *due <= self.now) {
            self.dues.remove(&(due, id));
            if let Some(gate) = self.all.get_mut(&id) {
                gate.due = None;
                self.hot.insert(id);
            }
        }
    }

    /// When the next token comes that somebody waits for.
    pub(super) fn next_due(&self) -> Option<Time> {
        self.dues.first().map(|(due, _)| *due)
    }

    pub(super) fn find(&self, namespace: &str, scope: &LimitScope) -> Option<GateId> {
        self.by_scope.get(namespace)?.get(scope).copied()
    }

    pub(super) fn get(&self, id: GateId) -> Option<&Gate> {
        self.all.get(&id)
    }

    /// Whether any agent has a limit.
    pub(super) fn any_agent(&self) -> bool {
        self.agents > 0
    }

    /// The gates of a namespace that an operator has set.
    pub(super) fn set_in(&self, namespace: &str) -> impl Iterator<Item = &Gate> {
        let ids = self.by_scope.get(namespace).into_iter().flat_map(BTreeMap::values);
        ids.filter_map(|id| self.all.get(id)).filter(|gate| gate.limit.is_some())
    }

    /// The gates at which all tasks of a target stand: of its namespace and of its capability.
    pub(super) fn of_target(&self, target: &Target) -> [Option<GateId>; 2] {
        let Some(known) = self.by_scope.get(&target.namespace) else { return [None; 2] };
        let capability = target.capability.as_ref();
        let capability = capability.and_then(|name| known.get(&LimitScope::Capability(name.clone())).copied());
        [known.get(&LimitScope::Namespace).copied(), capability]
    }

    pub(super) fn find_or_make(&mut self, namespace: &str, scope: LimitScope) -> GateId {
        if let Some(id) = self.find(namespace, &scope) {
            return id;
        }
        self.made += 1;
        let id = GateId(self.made);
        self.agents += usize::from(matches!(scope, LimitScope::Agent(_)));
        self.by_scope.entry(namespace.to_owned()).or_default().insert(scope.clone(), id);
        let gate = Gate {
            namespace: namespace.to_owned(),
            scope,
            limit: None,
            taken: 0,
            members: 0,
            bucket: None,
            waiting: BTreeMap::new(),
            turns: BTreeMap::new(),
            due: None,
        };
        self.all.insert(id, gate);
        id
    }

    /// Sets what an operator wants; a bucket that was there keeps its tokens.
    pub(super) fn set(&mut self, id: GateId, limit: Option<TaskLimit>, now: Time) {
        self.now = self.now.max(now);
        let Some(gate) = self.all.get_mut(&id) else { return };
        gate.limit = limit;
        let rate = limit.and_then(|limit| limit.rate);
        gate.bucket = rate.map(|rate| {
            let mut bucket = Bucket::new(rate, self.now);
            if let Some(mut before) = gate.bucket.take() {
                before.fill(self.now);
                // Tokens stay tokens, whatever they are made of.
                bucket.parts = before.parts / before.token() * bucket.token();
                bucket.fill(self.now);
            }
            bucket
        });
        self.hot.insert(id);
    }

    /// Counts tasks that were there before the gate was.
    pub(super) fn count(&mut self, id: GateId, members: usize, taken: usize) {
        let Some(gate) = self.all.get_mut(&id) else { return };
        gate.members += u32::try_from(members).unwrap_or(u32::MAX);
        gate.taken += u32::try_from(taken).unwrap_or(u32::MAX);
    }

    /// Forgets a gate that nobody set, and that no task stands at.
    pub(super) fn forget_idle(&mut self, id: GateId) {
        let idle = |gate: &Gate| match gate.scope {
            LimitScope::Key(_) => gate.members == 0 && gate.taken == 0,
            _ => true,
        };
        let Some(gate) = self.all.get(&id).filter(|gate| gate.limit.is_none() && idle(gate)) else { return };
        assert!(gate.waiting.is_empty(), "nobody waits at a gate that is given up");
        if let Some(known) = self.by_scope.get_mut(&gate.namespace) {
            known.remove(&gate.scope);
            if known.is_empty() {
                let namespace = gate.namespace.clone();
                self.by_scope.remove(&namespace);
            }
        }
        if let Some(due) = gate.due {
            self.dues.remove(&(due, id));
        }
        self.agents -= usize::from(matches!(gate.scope, LimitScope::Agent(_)));
        self.hot.remove(&id);
        self.all.remove(&id);
    }

    /// A task that stands at the gate is there.
    pub(super) fn join(&mut self, id: GateId) {
        if let Some(gate) = self.all.get_mut(&id) {
            gate.members += 1;
        }
    }

    /// A task that stood at the gate is over.
    pub(super) fn leave(&mut self, id: GateId) {
        let Some(gate) = self.all.get_mut(&id) else { return };
        assert!(gate.members > 0, "a task leaves a gate as often as it joined");
        gate.members -= 1;
        self.forget_idle(id);
    }

    /// Whether the gate has room for one more, whose own limit is `own`.
    pub(super) fn has_room(&mut self, id: GateId, own: u32) -> bool {
        self.all.get_mut(&id).is_none_or(|gate| gate.room(own, self.now) == Room::Free)
    }

    /// One is with an instance; `fresh` where it was handed out just now.
    pub(super) fn take(&mut self, id: GateId, fresh: bool) {
        let Some(gate) = self.all.get_mut(&id) else { return };
        gate.taken += 1;
        if let Some(bucket) = gate.bucket.as_mut().filter(|_| fresh) {
            bucket.fill(self.now);
            bucket.parts = bucket.parts.saturating_sub(bucket.token());
        }
    }

    /// One has come back. Who waited first has to be woken: see [`Gates::wake`].
    pub(super) fn free(&mut self, id: GateId) {
        let Some(gate) = self.all.get_mut(&id) else { return };
        assert!(gate.taken > 0, "a gate is given back as often as it was taken");
        gate.taken -= 1;
        if !gate.waiting.is_empty() {
            self.hot.insert(id);
        }
    }

    /// Somebody waits for room.
    pub(super) fn wait(&mut self, id: GateId, waiter: Waiter, own: u32, priority: Reverse<i32>) {
        self.stamps += 1;
        let Some(gate) = self.all.get_mut(&id) else { return };
        let turn = (Reverse(own), priority, self.stamps);
        if let Some(before) = gate.turns.insert(waiter, turn) {
            gate.waiting.remove(&before);
        }
        gate.waiting.insert(turn, waiter);
        let room = gate.room(own, self.now);
        self.note(id, room);
    }

    /// Somebody waits no more.
    pub(super) fn stop_waiting(&mut self, id: GateId, waiter: Waiter) {
        let Some(gate) = self.all.get_mut(&id) else { return };
        if let Some(turn) = gate.turns.remove(&waiter) {
            gate.waiting.remove(&turn);
        }
    }

    /// Remembers when time opens the gate.
    fn note(&mut self, id: GateId, room: Room) {
        let Some(gate) = self.all.get_mut(&id) else { return };
        match room {
            Room::Free => {
                self.hot.insert(id);
            }
            Room::Empty(Some(due)) if gate.due != Some(due) => {
                if let Some(before) = gate.due.replace(due) {
                    self.dues.remove(&(before, id));
                }
                self.dues.insert((due, id));
            }
            Room::Full | Room::Empty(_) => {}
        }
    }

    /// Takes out the first of those who wait at some gate that has room for them.
    pub(super) fn wake(&mut self) -> Option<Waiter> {
        while let Some(id) = self.hot.first().copied() {
            if let Some(waiter) = self.wake_at(id) {
                return Some(waiter);
            }
        }
        None
    }

    /// As [`Gates::wake`], one for each gate.
    pub(super) fn wake_each(&mut self) -> Vec<Waiter> {
        if self.hot.is_empty() {
            return Vec::new();
        }
        let hot: Vec<GateId> = self.hot.iter().copied().collect();
        hot.into_iter().filter_map(|id| self.wake_at(id)).collect()
    }

    fn wake_at(&mut self, id: GateId) -> Option<Waiter> {
        let first = self.all.get_mut(&id).and_then(|gate| {
            let (turn, waiter) = gate.waiting.first_key_value().map(|(turn, waiter)| (*turn, *waiter))?;
            Some((turn, waiter, gate.room(turn.0.0, self.now)))
        });
        match first {
            Some((_, waiter, Room::Free)) => {
                self.stop_waiting(id, waiter);
                Some(waiter)
            }
            other => {
                self.hot.remove(&id);
                if let Some((_, _, room)) = other {
                    self.note(id, room);
                }
                None
            }
        }
    }

    /// Takes out everybody who waits at a gate.
    pub(super) fn wake_all(&mut self, id: GateId) -> Vec<Waiter> {
        let Some(gate) = self.all.get_mut(&id) else { return Vec::new() };
        gate.turns.clear();
        std::mem::take(&mut gate.waiting).into_values().collect()
    }
}
