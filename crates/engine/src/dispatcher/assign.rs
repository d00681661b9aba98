//! Handing tasks out.
//!
//! For: choosing the next task, and the instance that gets it. Not for: keeping the orders that make both cheap.
//! Invariant: when hand-out ends, nothing more could be handed out: every task that waits is held back by its run, a
//! limit, or the lack of a free instance that fits.

use consort_types::{TaskId, Time};

use super::{
    Assignment, Dispatcher, Given, InstanceId, Place,
    gates::Waiter,
    order::GroupKey,
    pool::{AgentId, LotId, Slot},
    queue::{QueueId, Standing},
};

impl Dispatcher {
    /// Hands no more out from now on.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether nothing is handed out any more.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// When time alone lets something more be handed out: a token comes, or an instance is tried again.
    pub fn next_opening(&self) -> Option<Time> {
        if self.draining {
            return None;
        }
        [self.gates.next_due(), self.pool.next_try()].into_iter().flatten().min()
    }

    /// Gives ready tasks to instances until one of the two runs out: by priority, then fairly between runs and keys,
    /// then by deadline and age; to the least loaded instance, then to the fastest.
    pub fn assign(&mut self, now: Time) -> Vec<Assignment> {
        std::iter::from_fn(|| self.assign_one(now)).collect()
    }

    /// Gives the next ready task to an instance, where one may be given: what the caller learns of the instance
    /// between two calls counts for the next.
    pub fn assign_one(&mut self, now: Time) -> Option<Assignment> {
        if self.draining {
            return None;
        }
        self.gates.advance(now);
        self.pool.try_again(now);
        self.gates.wake_each().into_iter().for_each(|waiter| self.let_in(waiter));
        loop {
            if let Some(queue) = self.pool.next_queue() {
                if let Some(assignment) = self.give_first(queue, now) {
                    return Some(assignment);
                }
            } else {
                let waiter = self.gates.wake()?;
                self.let_in(waiter);
            }
        }
    }

    /// Whoever waited at a gate tries again.
    pub(super) fn let_in(&mut self, waiter: Waiter) {
        match waiter {
            Waiter::Queue(queue) => self.queues.park(queue, None, &mut self.pool),
            Waiter::Group(queue, priority, group) => {
                self.queues.park_group(queue, priority, group, false, &mut self.pool);
            }
            Waiter::Agent(agent) => self.pool.set_open(agent, true),
        }
    }

    /// Gives the first task of a queue to an instance. Where that cannot be, what stands in its way is put aside.
    fn give_first(&mut self, id: QueueId, now: Time) -> Option<Assignment> {
        let (standing, task) = self.queues.get(id)?.first()?;
        if self.park_queue(id, standing) || self.park_group(id, standing) || self.shut_agents(id) {
            return None;
        }
        let instance = if self.tasks.get(&task)?.sticky.is_some() {
            self.bound_instance(id, standing, task)?
        } else {
            self.choose(id)?
        };
        self.queues.take(id, standing, task, true, &mut self.pool);
        Some(self.give(task, instance, now, true))
    }

    fn park_queue(&mut self, id: QueueId, standing: Standing) -> bool {
        let Some(gates) = self.queues.get(id).map(|queue| queue.gates) else { return false };
        let full = gates.into_iter().flatten().find(|gate| !self.gates.has_room(*gate, u32::MAX));
        if let Some(gate) = full {
            self.gates.wait(gate, Waiter::Queue(id), u32::MAX, standing.priority);
            self.queues.park(id, Some((gate, standing.priority)), &mut self.pool);
        }
        full.is_some()
    }

    fn park_group(&mut self, id: QueueId, standing: Standing) -> bool {
        let GroupKey::Key(gate, own) = standing.group else { return false };
        if self.gates.has_room(gate, own) {
            return false;
        }
        self.gates.wait(gate, Waiter::Group(id, standing.priority, standing.group), own, standing.priority);
        self.queues.park_group(id, standing.priority, standing.group, true, &mut self.pool);
        true
    }

    /// Leaves out the agents of a queue that may take no more; whether there was one.
    fn shut_agents(&mut self, id: QueueId) -> bool {
        if !self.gates.any_agent() {
            return false;
        }
        let Some(queue) = self.queues.get(id) else { return false };
        let open = queue.lots.iter().filter(|lot| self.pool.first_free(**lot).is_some());
        let agents: Vec<AgentId> = open.filter_map(|lot| Some(self.pool.kind_of_lot(*lot)?.1.agent_id)).collect();
        let (mut shut, priority) = (false, queue.priority().unwrap_or_default());
        for agent in agents {
            let Some(gate) = self.pool.agents.gate(agent) else { continue };
            if !self.gates.has_room(gate, u32::MAX) {
                self.gates.wait(gate, Waiter::Agent(agent), u32::MAX, priority);
                self.pool.set_open(agent, false);
                shut = true;
            }
        }
        shut
    }

    /// The instance for a task with a sticky key: the one that the key is bound to, or a new one. Where the bound one
    /// is busy, the task waits for it alone.
    fn bound_instance(&mut self, id: QueueId, standing: Standing, task: TaskId) -> Option<InstanceId> {
        let target = &self.queues.get(id)?.target;
        if target.pinned.is_some() {
            return self.choose(id);
        }
        let (pool, text) = (&self.pool, self.tasks.get(&task)?.sticky.as_deref()?);
        let (serves, fits) = (|id| pool.keeps_bound(id), |id| pool.fits(id, target));
        match self.sticky.find(&target.namespace, text, serves, fits) {
            Some(instance) if self.pool.is_free(instance) => Some(instance),
            Some(instance) => {
                self.queues.take(id, standing, task, false, &mut self.pool);
                self.transfer(task, Some(instance));
                self.put_in_line(task);
                None
            }
            None => {
                let instance = self.choose(id)?;
                let target = &self.queues.get(id)?.target;
                let text = self.tasks.get(&task)?.sticky.as_deref()?;
                // An instance on probation is no place to stay.
                if self.pool.keeps_bound(instance) {
                    self.sticky.bind(&target.namespace, text, instance);
                }
                Some(instance)
            }
        }
    }

    /// Tasks that are bound to an instance may go to any, from now on.
    pub(super) fn unpin(&mut self, instance: InstanceId) {
        for queue in self.queues.pinned_to(instance) {
            let Some(levels) = self.queues.get(queue).map(|queue| &queue.levels) else { continue };
            let bound: Vec<TaskId> = levels.values().flat_map(|level| level.tasks().map(|(_, id)| id)).collect();
            for id in bound {
                self.withdraw(id);
                self.put_in_line(id);
            }
        }
    }

    /// The free instance that goes first for a queue. Among versions of its agent, the one whose turn it is.
    fn choose(&mut self, id: QueueId) -> Option<InstanceId> {
        let lots = &self.queues.get(id)?.lots;
        if lots.len() == 1 {
            return self.pool.first_free(*lots.first()?).map(|slot| slot.2);
        }
        let free = lots.iter().filter_map(|lot| Some((self.pool.first_free(*lot)?, *lot)));
        let free: Vec<(Slot, LotId)> = free.collect();
        let (first, lot) = *free.iter().min()?;
        let (_, kind) = self.pool.kind_of_lot(lot)?;
        let agent = kind.agent_id;
        let mut versions: Vec<(std::sync::Arc<str>, u32)> = Vec::new();
        for (_, lot) in &free {
            let Some((_, kind)) = self.pool.kind_of_lot(*lot).filter(|(_, kind)| kind.agent_id == agent) else {
                continue;
            };
            if !versions.iter().any(|(known, _)| *known == kind.version) {
                versions.push((kind.version.clone(), kind.state.weight));
            }
        }
        if versions.len() == 1 {
            return Some(first.2);
        }
        let versions: Vec<(&str, u32)> = versions.iter().map(|(version, weight)| (&**version, *weight)).collect();
        let Some(turn) = self.pool.agents.turn(agent, &versions) else { return Some(first.2) };
        let of_version = free.iter().filter(|(_, lot)| {
            self.pool.kind_of_lot(*lot).is_some_and(|(_, kind)| kind.agent_id == agent && *kind.version == *turn)
        });
        of_version.min().map(|(slot, _)| slot.2)
    }

    /// Puts a task that stands nowhere with an instance; `fresh` where it is handed out, not claimed.
    pub(super) fn give(&mut self, id: TaskId, instance: InstanceId, now: Time, fresh: bool) -> Assignment {
        self.revision += 1;
        self.held += 1;
        self.pool.hold(instance, id);
        let task = self.tasks.get_mut(&id).filter(|task| matches!(task.place, Place::Queued | Place::Nowhere));
        let Some(task) = task else { unreachable!("a task is given once, and is known") };
        task.place = Place::Held(instance);
        let (token, effect, queue, standing) = (task.token, task.effect, task.queue, task.standing);
        let kind = self.pool.instance(instance).map(|instance| instance.kind);
        let agent = kind.and_then(|kind| self.pool.kind(kind)).map(|kind| kind.agent_id);
        self.occupy(queue, standing.group, agent, fresh);
        let skill = kind.and_then(|kind| self.skill(queue, kind));
        if let (Some(skill), Some(task)) = (skill, self.tasks.get_mut(&id)) {
            let before = task.given.filter(|_| !fresh).and_then(|given| given.at);
            task.given = Some(Given { at: if fresh { Some(now) } else { before }, skill });
        }
        if fresh {
            if let Some(queue) = self.queues.get_mut(queue) {
                queue.handed_out.add(now);
            }
            if let Some(skill) = skill.and_then(|skill| self.skills.get_mut(skill)) {
                skill.queued.add(now.since(standing.order.ready));
            }
        }
        Assignment { task: id, token, instance, effect }
    }

    /// The skill that is observed when an instance of a kind does a task of a queue.
    fn skill(&mut self, queue: QueueId, kind: super::pool::KindId) -> Option<super::stats::SkillId> {
        let known = self.queues.get(queue)?;
        if let Some((_, skill)) = known.skill_of(kind) {
            return *skill;
        }
        let (capability, of) = (known.target.capability.as_deref().unwrap_or_default(), self.pool.kind(kind)?);
        let skill = self.skills.find_or_make(&of.namespace, &of.agent, &of.version, capability);
        self.queues.note_skill(queue, kind, skill);
        skill
    }
}
