//! A worker instance: its connection, and the messages over it.
//!
//! For: connecting, reclaiming, heartbeats, lost and repeated messages, death. Not for: its work on tasks (see
//! `attempt`), or the right answer to one (see `answers`).
//! Invariant: an instance that behaves sends for each attempt one outcome, the right one.

use std::collections::{BTreeMap, BTreeSet};

use consort_core::{Command, command::RegisterAgent};
use consort_engine::Locality;
use consort_types::{
    Code, StepInstanceId, Token,
    worker::{FromWorker, Hello, ToWorker},
};

use crate::{
    answers,
    clock::SECOND,
    context::Context,
    event::{Event, Misbehaviour},
    plan::{Checked, InjectedBug, Violation},
    requests::Purpose,
    roster::{Identity, NAMESPACES},
    verdict::Held,
};

mod attempt;

use attempt::{Attempt, Behaviour, unanswered};

/// A worker instance.
#[derive(Debug)]
pub(crate) struct Worker {
    /// Its position in the roster.
    id: usize,
    identity: Identity,
    /// How many times slower than others it is.
    slowness: u64,
    session: Option<u64>,
    /// Takes tasks and says nothing at all.
    silent: bool,
    attempts: BTreeMap<StepInstanceId, Attempt>,
    /// Reports that could not be sent yet.
    unsent: Vec<FromWorker>,
}

impl Worker {
    pub(crate) fn new(id: usize, identity: Identity, slowness: u64) -> Self {
        Self { id, identity, slowness, session: None, silent: false, attempts: BTreeMap::new(), unsent: Vec::new() }
    }

    /// The session that it uses.
    pub(crate) fn session(&self) -> Option<u64> {
        self.session
    }

    /// The attempts that it works on.
    pub(crate) fn held(&self) -> impl Iterator<Item = Held> + '_ {
        let of = |attempt: &Attempt| Held { instance: self.id, task: attempt.offer.task, token: attempt.offer.token };
        self.attempts.values().map(of)
    }

    // Connecting.

    pub(crate) fn connect(&mut self, ctx: &mut Context) -> Checked {
        if self.session.is_some() {
            return Ok(());
        }
        let (namespace, declared) = (NAMESPACES[self.identity.namespace], self.declaration());
        let machine = ctx.host.partition.as_mut().and_then(|partition| partition.machine().ok());
        let known = machine.map(|machine| machine.registry().agent(namespace, &declared.name, &declared.version));
        match known {
            Some(Ok(Some(known))) if known == declared => self.attach(ctx),
            Some(Ok(_)) => {
                let command = RegisterAgent::new(namespace, &declared, self.identity.locality);
                ctx.request(Command::RegisterAgent(command), Purpose::Register { instance: self.id });
                // Should the reply get lost, it tries again.
                ctx.at(30 * SECOND, Event::Connect { instance: self.id });
                Ok(())
            }
            _ => {
                self.connect_later(ctx);
                Ok(())
            }
        }
    }

    fn declaration(&self) -> consort_types::worker::AgentDeclaration {
        answers::declaration(self.identity.agent, 1)
    }

    fn connect_later(&self, ctx: &mut Context) {
        let pause = ctx.random.span(SECOND / 10, 5 * SECOND);
        ctx.at(pause, Event::Connect { instance: self.id });
    }

    /// Attaches to the process that runs, with what it holds.
    pub(crate) fn attach(&mut self, ctx: &mut Context) -> Checked {
        if self.session.is_some() {
            return Ok(());
        }
        let (hello, now) = (self.hello(ctx), ctx.log_time());
        let locality = self.identity.locality;
        let attached = ctx.host.partition.as_mut().map(|partition| partition.attach(&hello, locality, now));
        let Some(Ok(attached)) = attached else {
            self.connect_later(ctx);
            return Ok(());
        };
        let session = ctx.network.open(self.id, ctx.host.incarnation, attached.instance);
        let (oracle, scene) = ctx.assignments();
        oracle.claims(&scene, self.id, session, &hello.held)?;
        self.session = Some(session);
        let unsent = std::mem::take(&mut self.unsent);
        let again: Vec<FromWorker> = self.attempts.values().flat_map(unanswered).collect();
        let unsent = unsent.into_iter().filter(|report| !matches!(report, FromWorker::Record { .. }));
        for report in unsent.chain(again) {
            self.send(ctx, report);
        }
        self.work_on(ctx);
        ctx.wake(10);
        Ok(())
    }

    fn hello(&mut self, ctx: &Context) -> Hello {
        let mut hello = Hello {
            namespace: NAMESPACES[self.identity.namespace].to_owned(),
            agent: self.declaration(),
            concurrency: self.identity.max_concurrent,
            held: self.claims(),
            client: String::new(),
            worker: format!("worker {}", self.id),
            labels: BTreeMap::new(),
        };
        match ctx.plan.injected {
            Some(InjectedBug::ReclaimTooLate) => {
                for (task, token) in &mut hello.held {
                    *token = ctx.fold.token(*task).unwrap_or(*token);
                    if let Some(attempt) = self.attempts.get_mut(task) {
                        attempt.offer.token = *token;
                    }
                }
            }
            Some(InjectedBug::CreditIgnored) => hello.concurrency *= 3,
            _ => {}
        }
        hello
    }

    /// The attempts that it claims when it reconnects: those that it works on, and those whose last report was not
    /// sent. Without the claim the engine would not expect that report, and would assign the attempt again.
    fn claims(&self) -> Vec<(StepInstanceId, Token)> {
        let last = |report: &&FromWorker| {
            matches!(report, FromWorker::Complete { .. } | FromWorker::Fail { .. } | FromWorker::Park { .. })
        };
        let reported = self.unsent.iter().filter(last).filter_map(FromWorker::attempt);
        let claims: BTreeSet<_> = self.held().map(|held| (held.task, held.token)).chain(reported).collect();
        claims.into_iter().collect()
    }

    /// Continues soon with everything that it holds.
    fn work_on(&self, ctx: &mut Context) {
        for Held { instance, task, token } in self.held() {
            ctx.at(SECOND, Event::Work { instance, task, token });
        }
    }

    /// The connection that it uses has ended.
    pub(crate) fn disconnected(&mut self, ctx: &mut Context) -> Checked {
        self.session = None;
        if self.identity.locality == Locality::Local {
            // It lived in the process.
            self.attempts.clear();
            self.unsent.clear();
        }
        let pause = ctx.random.span(SECOND / 100, 10 * SECOND);
        ctx.at(pause, Event::Connect { instance: self.id });
        Ok(())
    }

    /// The worker's side of the connection breaks; the engine notices later.
    fn break_connection(&mut self, ctx: &mut Context) {
        let Some(session) = self.session.take() else { return };
        ctx.figures.fault("broken connections");
        if let Some(known) = ctx.network.sessions.get_mut(&session) {
            known.open = false;
        }
        let local = self.identity.locality == Locality::Local;
        let pause = if local { 0 } else { ctx.random.span(1_000, 15 * SECOND) };
        ctx.at(pause, Event::Detach { session });
        let pause = if local { SECOND } else { ctx.random.span(1_000, 15 * SECOND) };
        ctx.at(pause, Event::Connect { instance: self.id });
    }

    // Misbehaving.

    /// The worker's process dies and is started again.
    fn die(&mut self, ctx: &mut Context) {
        ctx.figures.fault("dead instances");
        self.attempts.clear();
        self.unsent.clear();
        self.silent = false;
        self.break_connection(ctx);
    }

    /// Misbehaves as a whole.
    pub(crate) fn misbehave(&mut self, ctx: &mut Context, how: Misbehaviour) -> Checked {
        match how {
            Misbehaviour::Dies => self.die(ctx),
            Misbehaviour::LosesConnection => self.break_connection(ctx),
            Misbehaviour::FallsSilent => self.silent = true,
        }
        Ok(())
    }

    /// Behaves from here on.
    pub(crate) fn heal(&mut self, ctx: &mut Context) {
        self.silent = false;
        self.slowness = 1;
        for attempt in self.attempts.values_mut() {
            attempt.behaviour = Behaviour::Good;
        }
        self.work_on(ctx);
    }

    // Messages.

    pub(crate) fn beat(&mut self, ctx: &mut Context) -> Checked {
        ctx.at(10 * SECOND, Event::Beat { instance: self.id });
        if self.silent || self.session.is_none() {
            return Ok(());
        }
        let first = self.held().next();
        let report = first.map_or(FromWorker::Alive, |Held { task, token, .. }| FromWorker::Heartbeat {
            task,
            token,
            progress: Some("at it".to_owned()),
        });
        self.send(ctx, report);
        Ok(())
    }

    /// Messages arrive over its session.
    pub(crate) fn receive(&mut self, ctx: &mut Context, messages: Vec<ToWorker>) -> Checked {
        for message in messages {
            match message {
                ToWorker::Task(offer) => self.take(ctx, *offer)?,
                ToWorker::Cancel { task, token, .. } => self.cancelled(ctx, task, token),
                ToWorker::Recorded { task, index, entry } => self.recorded(ctx, task, index, entry),
                ToWorker::Refused { task, token, error } => {
                    if error.code == Code::JournalDiverged {
                        let what = format!("task {task} repeated its journal exactly, but {error}");
                        return Err(Violation::of(2, what));
                    }
                    if self.attempts.get(&task).is_some_and(|attempt| attempt.offer.token == token) {
                        self.attempts.remove(&task);
                    }
                }
                ToWorker::Drain => {}
            }
        }
        Ok(())
    }

    /// Sends a report: now, or as soon as it is connected again.
    fn send(&mut self, ctx: &mut Context, report: FromWorker) {
        if let FromWorker::Complete { task, token, .. } | FromWorker::Fail { task, token, .. } = &report {
            ctx.fold.note_sent(*task, *token);
        }
        let Some(session) = self.session else {
            if !matches!(report, FromWorker::Heartbeat { .. } | FromWorker::Alive) {
                self.unsent.push(report);
            }
            return;
        };
        let twice = !ctx.is_quiescent() && ctx.random.chance(ctx.faults.twice);
        for _ in 0..=u32::from(twice) {
            let delay = ctx.delay();
            let Some(known) = ctx.network.sessions.get_mut(&session) else { return };
            known.to_host = (ctx.now + delay).max(known.to_host + 1);
            let after = known.to_host - ctx.now;
            ctx.at(after, Event::Report { session, report: report.clone() });
        }
        if twice {
            ctx.figures.fault("messages twice");
        }
        if !ctx.is_quiescent() && ctx.random.chance(ctx.faults.breaks) {
            self.break_connection(ctx);
        }
    }
}
