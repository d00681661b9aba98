//! Agents: instances that take tasks, and do with them what they should, or not.
//!
//! For: work, silence, death, lies and late answers. Not for: what the right answer is (see `answers`).
//! Invariant: an instance that behaves sends for each attempt one outcome, the right one.

use std::collections::{BTreeMap, BTreeSet};

use consort_engine::{InstanceId, Locality};
use consort_types::{
    Code, Error, Payload, TaskId, Token,
    worker::{FromWorker, Hello, JournalEntry, TaskOffer, ToWorker},
};
use serde_json::json;

use crate::{
    answers::{self, Answer, Next, answer, document, is_write, next},
    clients::{NAMESPACES, Purpose},
    plan::{Checked, Planted, Violation},
    random::Random,
    world::{Event, SECOND, World},
};

/// What becomes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conduct {
    Good,
    /// Reports a failure that may be repeated, before it has done anything.
    Fails,
    /// Says nothing, but lives.
    Silent,
    /// The instance dies before it reports.
    Dies,
    /// Reports, and then reports something else.
    Lies,
}

/// An attempt that an instance works on.
#[derive(Debug)]
struct Work {
    offer: TaskOffer,
    conduct: Conduct,
    /// The effect has happened.
    acted: bool,
    /// Entries that the engine has confirmed.
    confirmed: usize,
    /// What was asked, as far as it was sent.
    asked: Vec<JournalEntry>,
}

/// A worker's instance.
#[derive(Debug)]
pub(crate) struct Instance {
    namespace: usize,
    agent: usize,
    version: u32,
    locality: Locality,
    concurrency: u32,
    /// How many times slower than others.
    slowness: u64,
    session: Option<u64>,
    /// Takes tasks and says nothing at all.
    dead: bool,
    works: BTreeMap<TaskId, Work>,
    /// Reports that could not be sent yet.
    unsent: Vec<FromWorker>,
}

impl Instance {
    /// What it says that it holds when it comes back: what it works on, and what it has a last report of that was not
    /// sent. Of a report without its claim the engine would not know, and hand the attempt out again.
    fn holds(&self) -> Vec<(TaskId, Token)> {
        let last = |report: &&FromWorker| {
            matches!(report, FromWorker::Complete { .. } | FromWorker::Fail { .. } | FromWorker::Park { .. })
        };
        let reported = self.unsent.iter().filter(last).filter_map(FromWorker::attempt);
        let held: BTreeSet<_> =
            self.works.values().map(|work| (work.offer.task, work.offer.token)).chain(reported).collect();
        held.into_iter().collect()
    }
}

/// The instances of a world: every agent at least once in every namespace.
pub(crate) fn staff(random: &mut Random) -> Vec<Instance> {
    let mut staff = Vec::new();
    for namespace in 0..NAMESPACES.len() {
        for agent in 0..answers::AGENTS.len() {
            // The name of a local agent is reserved for such.
            let locality = if random.chance(250) { Locality::Local } else { Locality::Remote };
            for _ in 0..random.between(1, 2) {
                staff.push(Instance {
                    namespace,
                    agent,
                    version: 1,
                    locality,
                    concurrency: random.between(1, 6) as u32,
                    slowness: *random.pick(&[1, 1, 1, 20]),
                    session: None,
                    dead: false,
                    works: BTreeMap::new(),
                    unsent: Vec::new(),
                });
            }
        }
    }
    staff
}

impl World {
    // Connections.

    pub(crate) fn connect(&mut self, instance: usize) -> Checked {
        if self.instances[instance].session.is_some() {
            return Ok(());
        }
        let (namespace, declared) = {
            let own = &self.instances[instance];
            (NAMESPACES[own.namespace], answers::declaration(own.agent, own.version))
        };
        let locality = self.instances[instance].locality;
        let machine = self.host.partition.as_mut().and_then(|partition| partition.machine().ok());
        let known = machine.map(|machine| machine.registry().agent(namespace, &declared.name, &declared.version));
        match known {
            Some(Ok(Some(known))) if known == declared => self.attach(instance),
            Some(Ok(_)) => {
                let command = consort_core::command::RegisterAgent::new(namespace, &declared, locality);
                self.ask(consort_core::Command::RegisterAgent(command), Purpose::Register { instance });
                // Should the answer get lost, it tries again.
                self.at(30 * SECOND, Event::Connect { instance });
                Ok(())
            }
            _ => {
                let pause = self.random.span(SECOND / 10, 5 * SECOND);
                self.at(pause, Event::Connect { instance });
                Ok(())
            }
        }
    }

    pub(crate) fn attach(&mut self, instance: usize) -> Checked {
        let own = &self.instances[instance];
        if own.session.is_some() {
            return Ok(());
        }
        let hello = Hello {
            namespace: NAMESPACES[own.namespace].to_owned(),
            agent: answers::declaration(own.agent, own.version),
            concurrency: own.concurrency,
            held: own.holds(),
            client: String::new(),
            worker: format!("worker {instance}"),
            labels: BTreeMap::new(),
        };
        let locality = own.locality;
        let now = self.log_time();
        let mut hello = hello;
        self.plant_in_hello(instance, &mut hello);
        let held = hello.held.clone();
        let attached = self.host.partition.as_mut().map(|partition| partition.attach(&hello, locality, now));
        let Some(Ok(attached)) = attached else {
            let pause = self.random.span(SECOND / 10, 5 * SECOND);
            self.at(pause, Event::Connect { instance });
            return Ok(());
        };
        let session = self.new_session();
        let (incarnation, remote) = (self.host.incarnation, attached.instance);
        let opened = crate::world::Session { instance, incarnation, remote, open: true, to_host: 0, to_worker: 0 };
        self.sessions.insert(session, opened);
        self.claims(instance, session, &held)?;
        let own = &mut self.instances[instance];
        own.session = Some(session);
        let unsent = std::mem::take(&mut own.unsent);
        let again: Vec<FromWorker> = own.works.values().flat_map(unanswered).collect();
        let unsent = unsent.into_iter().filter(|report| !matches!(report, FromWorker::Record { .. }));
        for report in unsent.chain(again) {
            self.send(instance, report)?;
        }
        let works: Vec<_> = self.instances[instance].works.values().map(|w| (w.offer.task, w.offer.token)).collect();
        for (task, token) in works {
            self.at(SECOND, Event::Work { instance, task, token });
        }
        self.wake(10);
        Ok(())
    }

    /// Planted bugs in how an instance joins.
    fn plant_in_hello(&mut self, instance: usize, hello: &mut Hello) {
        match self.plan.planted {
            Some(Planted::ReclaimTooLate) => {
                for (task, token) in &mut hello.held {
                    *token = self.fold.token(*task).unwrap_or(*token);
                    if let Some(work) = self.instances[instance].works.get_mut(task) {
                        work.offer.token = *token;
                    }
                }
            }
            Some(Planted::CreditIgnored) => hello.concurrency *= 3,
            _ => {}
        }
    }

    /// The engine notices that a connection is gone.
    pub(crate) fn detach(&mut self, session: u64) -> Checked {
        let Some(gone) = self.sessions.remove(&session) else { return Ok(()) };
        let now = self.log_time();
        if let Some(partition) = self.host.partition.as_mut().filter(|_| gone.incarnation == self.host.incarnation) {
            partition.detach(gone.remote, now);
        }
        self.wake(10);
        Ok(())
    }

    /// The worker notices that its connection is gone.
    pub(crate) fn broken(&mut self, session: u64) -> Checked {
        let gone = self.sessions.get(&session).map(|session| session.instance);
        let of_dead_process = self.sessions.get(&session).is_some_and(|known| !known.open);
        let Some(instance) = gone else { return Ok(()) };
        if !of_dead_process {
            self.sessions.remove(&session);
        }
        if self.instances[instance].session != Some(session) {
            return Ok(());
        }
        self.instances[instance].session = None;
        if self.instances[instance].locality == Locality::Local {
            // It lived in the process.
            self.instances[instance].works.clear();
            self.instances[instance].unsent.clear();
        }
        let pause = self.random.span(SECOND / 100, 10 * SECOND);
        self.at(pause, Event::Connect { instance });
        Ok(())
    }

    /// The engine has dropped an instance that was silent for too long.
    pub(crate) fn dropped(&mut self, remote: InstanceId) {
        let found = self.session_of(remote);
        if let Some(session) = found {
            self.figures.fault("silent instances");
            let pause = self.random.span(SECOND / 100, SECOND);
            self.at(pause, Event::Broken { session });
        }
    }

    /// The connection of an instance of the process that runs.
    fn session_of(&self, remote: InstanceId) -> Option<u64> {
        let incarnation = self.host.incarnation;
        let found = self.sessions.iter().find(|(_, known)| known.remote == remote && known.incarnation == incarnation);
        found.map(|(session, _)| *session)
    }

    /// The worker's side of a connection breaks; the engine notices later.
    fn break_connection(&mut self, instance: usize) {
        let Some(session) = self.instances[instance].session.take() else { return };
        self.figures.fault("broken connections");
        if let Some(known) = self.sessions.get_mut(&session) {
            known.open = false;
        }
        let local = self.instances[instance].locality == Locality::Local;
        let pause = if local { 0 } else { self.random.span(1_000, 15 * SECOND) };
        self.at(pause, Event::Detach { session });
        let pause = if local { SECOND } else { self.random.span(1_000, 15 * SECOND) };
        self.at(pause, Event::Connect { instance });
    }

    /// The worker's process dies and is started again.
    fn die(&mut self, instance: usize) {
        self.figures.fault("dead instances");
        self.instances[instance].works.clear();
        self.instances[instance].unsent.clear();
        self.instances[instance].dead = false;
        self.break_connection(instance);
    }

    /// One of the instances misbehaves as a whole.
    pub(crate) fn misbehave(&mut self) -> Checked {
        let instance = self.random.below(self.instances.len() as u64) as usize;
        match self.random.below(3) {
            0 => self.die(instance),
            1 => self.break_connection(instance),
            _ => self.instances[instance].dead = true,
        }
        Ok(())
    }

    /// Everybody behaves from here on.
    pub(crate) fn heal(&mut self) -> Checked {
        for instance in 0..self.instances.len() {
            let own = &mut self.instances[instance];
            own.dead = false;
            own.slowness = 1;
            let mut works = Vec::new();
            for work in own.works.values_mut() {
                work.conduct = Conduct::Good;
                works.push((work.offer.task, work.offer.token));
            }
            for (task, token) in works {
                self.at(SECOND, Event::Work { instance, task, token });
            }
        }
        Ok(())
    }

    pub(crate) fn beat(&mut self, instance: usize) -> Checked {
        self.at(10 * SECOND, Event::Beat { instance });
        let own = &self.instances[instance];
        if own.dead || own.session.is_none() {
            return Ok(());
        }
        let Some(work) = own.works.values().next() else { return self.send(instance, FromWorker::Alive) };
        let (task, token) = (work.offer.task, work.offer.token);
        self.send(instance, FromWorker::Heartbeat { task, token, progress: Some("at it".to_owned()) })
    }

    // Messages.

    /// The engine has messages for an instance.
    pub(crate) fn tell(&mut self, remote: InstanceId, mut messages: Vec<ToWorker>) -> Checked {
        if let Some(partition) = &mut self.host.partition {
            partition.has_read(remote, messages.iter().map(ToWorker::weight).sum());
        }
        let found = self.session_of(remote);
        let Some(mut session) = found else { return Ok(()) };
        for message in &messages {
            self.check_offer(message)?;
            if let ToWorker::Task(offer) = message {
                self.handed_out(session, offer)?;
            }
        }
        self.hand_out_twice(session, &messages)?;
        match self.plan.planted {
            // A refused report tells an instance as well that its task is over.
            Some(Planted::CancelLost) => {
                messages.retain(|message| !matches!(message, ToWorker::Cancel { .. } | ToWorker::Refused { .. }));
            }
            Some(Planted::TaskLost) if self.random.chance(30) => {
                messages.retain(|message| !matches!(message, ToWorker::Task(_)));
            }
            Some(Planted::WrongNamespace) if self.random.chance(100) => {
                session = *self.random.pick(&self.sessions.keys().copied().collect::<Vec<_>>());
            }
            _ => {}
        }
        let delay = self.delay();
        let Some(known) = self.sessions.get_mut(&session) else { return Ok(()) };
        known.to_worker = (self.now + delay).max(known.to_worker + 1);
        let after = known.to_worker - self.now;
        self.at(after, Event::Tell { session, messages });
        Ok(())
    }

    /// A planted bug: another instance of the agent gets the same tasks.
    fn hand_out_twice(&mut self, session: u64, messages: &[ToWorker]) -> Checked {
        if self.plan.planted != Some(Planted::HandedOutTwice) || !self.random.chance(100) {
            return Ok(());
        }
        let Some(own) = self.sessions.get(&session).map(|known| &self.instances[known.instance]) else { return Ok(()) };
        let (namespace, agent) = (own.namespace, own.agent);
        let fits = |known: &crate::world::Session| {
            let other = &self.instances[known.instance];
            other.namespace == namespace && other.agent == agent
        };
        let other = self.sessions.iter().find(|(at, known)| **at != session && fits(known)).map(|(at, _)| *at);
        for message in messages {
            if let (ToWorker::Task(offer), Some(other)) = (message, other) {
                self.handed_out(other, offer)?;
            }
        }
        Ok(())
    }

    /// What the agent of an instance is called.
    pub(crate) fn agent_name(&self, instance: usize) -> String {
        answers::declaration(self.instances[instance].agent, 1).name
    }

    /// Whether two instances serve the same agent of the same namespace.
    pub(crate) fn is_same_agent(&self, one: usize, other: usize) -> bool {
        let of = |at: usize| (self.instances[at].namespace, self.instances[at].agent);
        of(one) == of(other)
    }

    /// Where an instance is, and how many tasks it asks for.
    pub(crate) fn place_and_credit(&self, instance: usize) -> (usize, usize) {
        (self.instances[instance].namespace, self.instances[instance].concurrency as usize)
    }

    /// A `write` task leaves only when its hand-out is durable.
    fn check_offer(&mut self, message: &ToWorker) -> Checked {
        let ToWorker::Task(offer) = message else { return Ok(()) };
        if is_write(&offer.capability)
            && !self.fold.is_taken(offer.task, offer.token)
            && self.fold.is_live(offer.task, offer.token)
        {
            let what = format!("write task {} was sent before its hand-out was durable", offer.task);
            return Err(Violation::of(1, what));
        }
        Ok(())
    }

    pub(crate) fn told(&mut self, session: u64, messages: Vec<ToWorker>) -> Checked {
        let Some(known) = self.sessions.get(&session).filter(|known| known.open) else { return Ok(()) };
        let instance = known.instance;
        if self.instances[instance].session != Some(session) {
            return Ok(());
        }
        for message in messages {
            match message {
                ToWorker::Task(offer) => self.take(instance, *offer)?,
                ToWorker::Cancel { task, token, .. } => self.cancelled(instance, task, token),
                ToWorker::Recorded { task, index, entry } => self.recorded(instance, task, index, entry),
                ToWorker::Refused { task, token, error } => {
                    if error.code == Code::JournalDiverged {
                        return Err(Violation::of(2, format!("task {task} asked what it had asked, but {error}")));
                    }
                    let works = &mut self.instances[instance].works;
                    if works.get(&task).is_some_and(|work| work.offer.token == token) {
                        works.remove(&task);
                    }
                }
                ToWorker::Drain => {}
            }
        }
        Ok(())
    }

    /// An instance reports: now, or as soon as it is connected again.
    pub(crate) fn send(&mut self, instance: usize, report: FromWorker) -> Checked {
        if let FromWorker::Complete { task, token, .. } | FromWorker::Fail { task, token, .. } = &report {
            self.fold.note_sent(*task, *token);
        }
        let Some(session) = self.instances[instance].session else {
            if !matches!(report, FromWorker::Heartbeat { .. } | FromWorker::Alive) {
                self.instances[instance].unsent.push(report);
            }
            return Ok(());
        };
        let twice = !self.calm && self.random.chance(self.faults.twice);
        for _ in 0..=u32::from(twice) {
            let delay = self.delay();
            let Some(known) = self.sessions.get_mut(&session) else { return Ok(()) };
            known.to_host = (self.now + delay).max(known.to_host + 1);
            let after = known.to_host - self.now;
            self.at(after, Event::Report { session, report: report.clone() });
        }
        if twice {
            self.figures.fault("messages twice");
        }
        if !self.calm && self.random.chance(self.faults.breaks) {
            self.break_connection(instance);
        }
        Ok(())
    }

    /// A report reaches the engine.
    pub(crate) fn reported(&mut self, session: u64, mut report: FromWorker) -> Checked {
        let current = self.sessions.get(&session).filter(|known| known.incarnation == self.host.incarnation);
        let Some(mut remote) = current.map(|known| known.remote) else { return Ok(()) };
        if self.plan.planted == Some(Planted::OldTokenAccepted) {
            remote = self.renew_token(remote, &mut report);
        }
        let now = self.log_time();
        let placed = match &mut report {
            FromWorker::Complete { output, .. } => Some(output),
            FromWorker::Record { entry, .. } => entry.result.as_mut().and_then(|result| result.as_mut().ok()),
            _ => None,
        };
        if let Some(payload) = placed {
            let inline = payload.clone();
            // A store that fails takes nothing; the worker hears of it, and of the halt that follows.
            let Some(placed) = self.place(inline) else { return Ok(()) };
            *payload = placed;
        }
        if let Some(partition) = &mut self.host.partition {
            partition.report(remote, report, now);
        }
        let pause = self.random.span(5, 500);
        self.wake(pause);
        Ok(())
    }

    /// Large documents go to the blob store first.
    pub(crate) fn place(&mut self, payload: Payload) -> Option<Payload> {
        if let Some(bytes) = payload.bytes().filter(|_| payload.is_large()) {
            self.fold.put_blob(consort_types::BlobHash::of(bytes), bytes);
        }
        self.host.admit(payload).ok()
    }

    /// A planted bug: a result counts for the attempt that is the current one, whoever holds it.
    fn renew_token(&mut self, remote: InstanceId, report: &mut FromWorker) -> InstanceId {
        let current = report.attempt().and_then(|(task, _)| Some((task, self.fold.token(task)?)));
        match (report, current) {
            (FromWorker::Complete { token, .. }, Some((task, current))) => {
                *token = current;
                self.holder(task, current).unwrap_or(remote)
            }
            _ => remote,
        }
    }

    // Tasks.

    fn take(&mut self, instance: usize, offer: TaskOffer) -> Checked {
        let namespace = NAMESPACES[self.instances[instance].namespace];
        let input = document(&offer.input);
        let of = input.get("ns").or_else(|| input.get("input").and_then(|input| input.get("ns")));
        if of.and_then(|of| of.as_str()).is_some_and(|of| of != namespace) {
            let what = format!("an instance of namespace `{namespace}` got task {} with {input}", offer.task);
            return Err(Violation::of(12, what));
        }
        let (task, token) = (offer.task, offer.token);
        if is_write(&offer.capability) {
            let again = input.get("again").is_some();
            self.service.open(task, again);
        }
        let conduct = self.conduct(instance, task);
        let asked = offer.journal.clone();
        let work = Work { offer, conduct, acted: false, confirmed: asked.len(), asked };
        self.instances[instance].works.insert(task, work);
        let pause = self.effort(instance);
        self.at(pause, Event::Work { instance, task, token });
        Ok(())
    }

    fn effort(&mut self, instance: usize) -> u64 {
        self.random.span(1_000, 3 * SECOND) * self.instances[instance].slowness
    }

    fn conduct(&mut self, instance: usize, task: TaskId) -> Conduct {
        if self.calm {
            return Conduct::Good;
        }
        if self.instances[instance].dead {
            return Conduct::Silent;
        }
        if !self.random.chance(self.faults.bad_attempts) {
            return Conduct::Good;
        }
        match self.random.below(8) {
            // Few enough failures for every retry policy.
            0..=2 if self.clients.may_fail(task) => Conduct::Fails,
            3 => Conduct::Silent,
            4 | 5 => Conduct::Dies,
            _ => Conduct::Lies,
        }
    }

    fn cancelled(&mut self, instance: usize, task: TaskId, token: Token) {
        let works = &mut self.instances[instance].works;
        let Some(work) = works.get(&task).filter(|work| work.offer.token == token) else { return };
        let zombie = work.conduct == Conduct::Lies;
        works.remove(&task);
        if zombie && !self.calm {
            self.figures.fault("answers after the end");
            let report = FromWorker::Complete { task, token, output: Payload::from_value(&json!({ "lie": "late" })) };
            let pause = self.random.span(SECOND, 60 * SECOND);
            self.at(pause, Event::Zombie { instance, report });
        }
    }

    fn recorded(&mut self, instance: usize, task: TaskId, index: u32, entry: JournalEntry) {
        let Some(work) = self.instances[instance].works.get_mut(&task) else { return };
        let at = index as usize;
        if let Some(own) = work.asked.get_mut(at) {
            if own.result.is_none() || at >= work.confirmed {
                own.result = entry.result;
            }
            work.confirmed = work.confirmed.max(at + 1);
        }
        let token = work.offer.token;
        let pause = self.effort(instance) / 50 + 1;
        self.at(pause, Event::Work { instance, task, token });
    }

    /// An agent that was told to stop reports all the same.
    pub(crate) fn zombie(&mut self, instance: usize, report: FromWorker) -> Checked {
        // Where it is the owner still, its word would count.
        match report.attempt() {
            Some((task, token)) if !self.fold.is_live(task, token) => self.send(instance, report),
            _ => Ok(()),
        }
    }

    /// An agent goes on with a task.
    pub(crate) fn work(&mut self, instance: usize, task: TaskId, token: Token) -> Checked {
        let own = &self.instances[instance];
        let Some(work) = own.works.get(&task).filter(|work| work.offer.token == token) else { return Ok(()) };
        if own.dead || work.conduct == Conduct::Silent {
            return Ok(());
        }
        let capability = work.offer.capability.clone();
        let input = document(&work.offer.input);
        if work.conduct == Conduct::Fails {
            return self.fail(instance, task, token, Error::new(Code::AgentFailed, "not this time"), true);
        }
        match if capability == "check" { self.settle(&input) } else { answer(&capability, &input) } {
            Answer::Fails(error) => self.fail(instance, task, token, error, false),
            Answer::Done(output) => self.carry_out(instance, task, token, &output),
            Answer::Journal(program) => self.go_on(instance, task, &program),
        }
    }

    /// What became of a lost attempt, as the service knows it.
    fn settle(&mut self, input: &serde_json::Value) -> Answer {
        let task = input.get("task").and_then(|task| task.as_str()).and_then(|task| task.parse::<TaskId>().ok());
        let token = task.and_then(|task| self.fold.token(task));
        let settled = task.zip(token).and_then(|(task, token)| self.service.settle(task, token));
        Answer::Done(match settled {
            Some(output) => json!({ "decision": "done", "output": output }),
            None => json!("retry"),
        })
    }

    fn carry_out(&mut self, instance: usize, task: TaskId, token: Token, output: &serde_json::Value) -> Checked {
        let Some(work) = self.instances[instance].works.get_mut(&task) else { return Ok(()) };
        let first = !std::mem::replace(&mut work.acted, true);
        let (conduct, writes) = (work.conduct, is_write(&work.offer.capability));
        if first && writes {
            if conduct == Conduct::Dies && self.random.chance(500) {
                self.die(instance);
                return Ok(());
            }
            if !self.service.happen(task, token, output) {
                // Turned away: somebody has decided that this attempt did not happen.
                self.instances[instance].works.remove(&task);
                return Ok(());
            }
            let pause = self.effort(instance);
            self.at(pause, Event::Work { instance, task, token });
            return Ok(());
        }
        if conduct == Conduct::Dies {
            self.die(instance);
            return Ok(());
        }
        self.instances[instance].works.remove(&task);
        let before = self.instances[instance].session;
        self.send(instance, FromWorker::Complete { task, token, output: Payload::from_value(output) })?;
        // Only where the truth is sure to arrive first, if anything does.
        if conduct == Conduct::Lies && before.is_some() && self.instances[instance].session == before {
            self.figures.fault("second answers");
            let lie = Payload::from_value(&json!({ "lie": self.random.below(1_000) }));
            self.send(instance, FromWorker::Complete { task, token, output: lie })?;
        }
        Ok(())
    }

    fn fail(&mut self, instance: usize, task: TaskId, token: Token, error: Error, retryable: bool) -> Checked {
        if retryable {
            self.figures.fault("failed attempts");
        }
        self.instances[instance].works.remove(&task);
        self.send(instance, FromWorker::Fail { task, token, error, retryable, retry_after: None })
    }

    /// Code that works by a journal goes on.
    fn go_on(
        &mut self,
        instance: usize,
        task: TaskId,
        program: &[Vec<consort_types::worker::JournalRequest>],
    ) -> Checked {
        let Some(work) = self.instances[instance].works.get_mut(&task) else { return Ok(()) };
        let token = work.offer.token;
        match next(program, &work.asked) {
            Next::Record(index, entry) => {
                work.asked.push(entry.clone());
                let conduct = work.conduct;
                self.send(instance, FromWorker::Record { task, token, index, entry })?;
                if conduct == Conduct::Dies && self.random.chance(300) {
                    self.die(instance);
                    return Ok(());
                }
                let pause = self.random.span(10, 50_000);
                self.at(pause, Event::Work { instance, task, token });
                Ok(())
            }
            Next::Wait(waiting) => {
                let confirmed = work.confirmed == work.asked.len();
                if confirmed && self.random.chance(600) {
                    self.instances[instance].works.remove(&task);
                    return self.send(instance, FromWorker::Park { task, token, waiting });
                }
                Ok(())
            }
            Next::Done(output) if work.confirmed == work.asked.len() => self.carry_out(instance, task, token, &output),
            Next::Done(_) => Ok(()),
        }
    }

    /// A planted bug: tasks that somebody holds are given to others too.
    pub(crate) fn take_leases_for_run_out(&mut self) -> Checked {
        let held: Vec<(usize, TaskOffer)> = self
            .instances
            .iter()
            .enumerate()
            .flat_map(|(at, own)| own.works.values().map(move |work| (at, work.offer.clone())))
            .filter(|(_, offer)| is_write(&offer.capability))
            .collect();
        for (holder, offer) in held {
            let (namespace, agent) = (self.instances[holder].namespace, self.instances[holder].agent);
            let fits =
                |(at, own): &(usize, &Instance)| *at != holder && own.namespace == namespace && own.agent == agent;
            let other = self.instances.iter().enumerate().find(fits).map(|(at, _)| at);
            if let Some(other) = other {
                self.take(other, offer)?;
            }
        }
        Ok(())
    }

    /// Attempts that instances hold: who, which, and whether they are connected.
    pub(crate) fn held(&self) -> Vec<(usize, TaskId, Token)> {
        let of = |(at, own): (usize, &Instance)| {
            own.works.values().map(|work| (at, work.offer.task, work.offer.token)).collect::<Vec<_>>()
        };
        self.instances.iter().enumerate().flat_map(of).collect()
    }
}

/// What must be asked again after a reconnect, as messages may have been lost.
fn unanswered(work: &Work) -> Vec<FromWorker> {
    let (task, token) = (work.offer.task, work.offer.token);
    let open = work.asked.iter().zip(0..).filter(|(entry, index)| entry.result.is_none() || *index >= work.confirmed);
    open.map(|(entry, index)| FromWorker::Record { task, token, index: index as u32, entry: entry.clone() }).collect()
}
