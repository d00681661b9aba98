//! Clients and operators: what people and programs ask of the engine.
//!
//! For: deploying, starting, disturbing and deciding, and for holding the engine to its answers. Not for: agents.
//! Invariant: a client that gets no answer asks again where that is safe, and nowhere else.

use std::collections::{BTreeMap, BTreeSet};

use consort_core::{
    Command, Reply,
    command::{
        Approve, CancelRun, DeleteRun, Deploy, ForkRun, PauseRun, Resolution, ResolveUnknown, SetRetention, SignalRun,
        StartRun,
    },
    rows::Ask,
    view::RunFilter,
};
use consort_engine::Ticket;
use consort_types::{Code, Error, ErrorKind, Payload, Result, RunId, Span, TaskId, limits};
use serde_json::json;

use crate::{
    flows::Flow,
    oracle::signal_payload,
    plan::{Checked, Law, Planted, Violation},
    random::Random,
    world::{Event, SECOND, World},
};

/// The namespaces of the world.
pub(crate) const NAMESPACES: [&str; 2] = ["left", "right"];
/// How long a client waits for an answer of a process that lives.
const ANSWER_WITHIN: u64 = 600 * SECOND;

/// A command on its way to the engine.
#[derive(Debug)]
pub(crate) struct Request {
    ticket: Ticket,
    command: Command,
}

/// What an answer is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A workflow is deployed.
    Deploy { namespace: usize, flow: usize },
    /// A run is started.
    Start { index: usize },
    /// An agent is registered.
    Register { instance: usize },
    /// An operator has decided.
    Decide { task: TaskId },
    /// It must be refused with this code.
    Refuse(Code),
    /// Whatever comes is fine.
    Any,
}

#[derive(Debug)]
struct Pending {
    purpose: Purpose,
    since: u64,
    incarnation: u64,
    body: Option<[u8; 32]>,
}

/// A run that a client wants.
#[derive(Debug)]
struct Start {
    namespace: usize,
    workflow: String,
    input: String,
    key: String,
    run: Option<RunId>,
    pure: bool,
    /// It may be deleted, so the same key may start another run.
    deletable: bool,
}

/// All clients.
#[derive(Debug)]
pub(crate) struct Clients {
    to_deploy: BTreeSet<(usize, usize)>,
    starts: Vec<Start>,
    /// How many of them are wanted so far.
    wanted: usize,
    pending: BTreeMap<Ticket, Pending>,
    tickets: u64,
    acknowledged: Vec<[u8; 32]>,
    paused: BTreeSet<(usize, RunId)>,
    failed_once: BTreeSet<TaskId>,
    deciding: BTreeSet<TaskId>,
    retention: bool,
    pub(crate) calm_since: Option<u64>,
    settled_since: Option<u64>,
}

impl Clients {
    pub(crate) fn new(random: &mut Random, flows: &[Flow]) -> Self {
        let mut starts = Vec::new();
        for number in 0..random.between(5, 14) {
            let long = random.chance(60);
            let at = if long { flows.len() - 1 } else { random.below(flows.len() as u64 - 1) as usize };
            let namespace = random.below(2) as usize;
            let mut input = json!({ "ns": NAMESPACES[namespace], "n": random.below(10) });
            if random.chance(60) {
                input["pad"] = json!("y".repeat(34_000));
            }
            if random.chance(300) {
                input["items"] = json!((0..random.below(6)).collect::<Vec<_>>());
            }
            starts.push(Start {
                namespace,
                workflow: flows[at].name.clone(),
                input: input.to_string(),
                key: format!("{}-{number}", if long { "long" } else { "key" }),
                run: None,
                pure: flows[at].pure,
                deletable: false,
            });
        }
        let to_deploy = (0..2).flat_map(|namespace| (0..flows.len()).map(move |flow| (namespace, flow))).collect();
        Self {
            to_deploy,
            starts,
            wanted: 0,
            pending: BTreeMap::new(),
            tickets: 0,
            acknowledged: Vec::new(),
            paused: BTreeSet::new(),
            failed_once: BTreeSet::new(),
            deciding: BTreeSet::new(),
            retention: false,
            calm_since: None,
            settled_since: None,
        }
    }

    /// Whether an attempt of the task may report a failure: once for each task.
    pub(crate) fn may_fail(&mut self, task: TaskId) -> bool {
        self.failed_once.insert(task)
    }

    /// The process has died; its answers never come.
    pub(crate) fn forget_pending(&mut self) {
        self.pending.clear();
        self.deciding.clear();
    }

    /// Commands that wait for an answer.
    pub(crate) fn unsettled(&self) -> usize {
        self.pending.len() + self.starts.iter().filter(|start| start.run.is_none()).count()
    }

    /// Whether everything that is wanted has been started.
    pub(crate) fn is_settled(&self) -> bool {
        self.to_deploy.is_empty() && self.starts.iter().all(|start| start.run.is_some())
    }

    fn is_pending(&self, purpose: &Purpose) -> bool {
        self.pending.values().any(|pending| pending.purpose == *purpose)
    }
}

impl World {
    // Asking.

    /// Sends a command to the engine.
    pub(crate) fn ask(&mut self, command: Command, purpose: Purpose) {
        self.clients.tickets += 1;
        let ticket = Ticket(self.clients.tickets);
        let pending = Pending { purpose, since: self.now, incarnation: self.host.incarnation, body: None };
        self.clients.pending.insert(ticket, pending);
        let delay = self.delay();
        self.at(delay, Event::Request(Box::new(Request { ticket, command })));
    }

    /// A command reaches the engine.
    pub(crate) fn request(&mut self, request: Request) -> Checked {
        let Request { ticket, mut command } = request;
        let incarnation = self.host.incarnation;
        let reaches = self.clients.pending.get(&ticket).is_some_and(|pending| pending.incarnation == incarnation);
        if !reaches || self.host.partition.is_none() {
            self.clients.pending.remove(&ticket);
            return Ok(());
        }
        if let Command::StartRun(start) = &mut command {
            let machine = self.host.partition.as_mut().and_then(|partition| partition.machine().ok());
            match machine.map(|machine| machine.prepare_start(start.clone(), None)) {
                Some(Ok(prepared)) => *start = prepared,
                // The door refuses it, and nothing is logged.
                Some(Err(error)) => return self.replied(ticket, Err(error)),
                // A partition that has halted answers why.
                None => {}
            }
            let Some(placed) = self.place(start.input.clone()) else {
                // A store that fails takes nothing.
                self.clients.pending.remove(&ticket);
                return Ok(());
            };
            start.input = placed;
        }
        let body = *blake3::hash(&command.encode()).as_bytes();
        if let Some(pending) = self.clients.pending.get_mut(&ticket) {
            pending.body = Some(body);
        }
        let early = self.plan.planted == Some(Planted::ReplyBeforeDurable);
        let premature = match &command {
            Command::StartRun(start) if early => Some(Reply::Run { run: start.run, existing: false }),
            Command::CancelRun(_) if early => Some(Reply::Done),
            _ => None,
        };
        if let Some(partition) = &mut self.host.partition {
            partition.submit(command, Some(ticket));
        }
        if let Some(reply) = premature {
            self.replied(ticket, Ok(reply))?;
        }
        let pause = self.random.span(5, 500);
        self.wake(pause);
        Ok(())
    }

    /// The engine answers.
    pub(crate) fn replied(&mut self, ticket: Ticket, reply: Result<Reply>) -> Checked {
        if self.plan.planted == Some(Planted::ReplyLost) && self.random.chance(50) {
            return Ok(());
        }
        let Some(pending) = self.clients.pending.remove(&ticket) else {
            let expected = self.plan.planted == Some(Planted::ReplyBeforeDurable);
            return if expected { Ok(()) } else { Err(Violation::of(10, format!("{ticket:?} was answered twice"))) };
        };
        self.trace.note(self.now, format_args!("reply {ticket:?} {:?}: {reply:?}", pending.purpose));
        if reply.is_ok() {
            self.clients.acknowledged.extend(pending.body);
        }
        match (pending.purpose, reply) {
            (Purpose::Deploy { namespace, flow }, Ok(_)) => {
                self.clients.to_deploy.remove(&(namespace, flow));
                Ok(())
            }
            (Purpose::Start { index }, Ok(Reply::Run { run, .. })) => self.started(index, run),
            (Purpose::Register { instance }, Ok(_)) => self.attach(instance),
            (Purpose::Decide { task }, _) => {
                self.clients.deciding.remove(&task);
                Ok(())
            }
            (Purpose::Refuse(code), reply) => Self::check_refused(code, &reply),
            (Purpose::Any, Ok(_)) => Ok(()),
            (purpose, Err(error)) => check_error(&purpose, &error),
            (purpose, Ok(reply)) => Err(Violation::of(9, format!("{purpose:?} is answered with {reply:?}"))),
        }
    }

    fn check_refused(code: Code, reply: &Result<Reply>) -> Checked {
        match reply {
            Err(error) if error.code == code || error.kind() == ErrorKind::Unavailable => Ok(()),
            other => {
                let law = if code == Code::LimitReached { 10 } else { 12 };
                Err(Violation::of(law, format!("a command that is to be refused with {code} is answered: {other:?}")))
            }
        }
    }

    /// A start was acknowledged.
    fn started(&mut self, index: usize, run: RunId) -> Checked {
        let start = &mut self.clients.starts[index];
        let before = start.run.replace(run);
        if let Some(before) = before.filter(|before| *before != run)
            && !start.deletable
            && !self.clients.retention
        {
            let what = format!("key `{}` had started run {before}, and now has started {run}", start.key);
            return Err(Violation::of(1, what));
        }
        self.check_read(index, run)
    }

    /// What was acknowledged can be read.
    fn check_read(&mut self, index: usize, run: RunId) -> Checked {
        let start = &self.clients.starts[index];
        if start.deletable || self.clients.retention || self.plan.planted == Some(Planted::ReplyBeforeDurable) {
            return Ok(());
        }
        let namespace = NAMESPACES[start.namespace];
        let stale = self.plan.planted == Some(Planted::StaleRead);
        let found = if stale {
            let mut key = vec![b'r'];
            key.extend(run.0);
            let row = consort_store::Store::get(&self.host.store.memory, &key);
            row.ok().flatten().map(|_| ())
        } else {
            let Ok(partition) = self.host.partition() else { return Ok(()) };
            let Ok(machine) = partition.machine() else { return Ok(()) };
            let foreign = machine.run_view(NAMESPACES[1 - start.namespace], run);
            if foreign.is_ok() {
                return Err(Violation::of(12, format!("run {run} of `{namespace}` is seen from another namespace")));
            }
            match machine.run_view(namespace, run) {
                Err(error) if error.code == Code::RunNotFound => None,
                // A store that fails to read says nothing of what is there.
                _ => Some(()),
            }
        };
        found.ok_or_else(|| Violation::of(9, format!("run {run} was acknowledged, but a read does not find it")))
    }

    // Acting.

    /// Clients do something.
    pub(crate) fn act(&mut self) -> Checked {
        let pause = if self.calm { 5 * SECOND } else { self.random.span(10_000, 12 * SECOND) };
        self.at(pause, Event::Client);
        self.check_answers()?;
        if self.host.partition.is_none() {
            return Ok(());
        }
        let missing: Vec<_> = self.clients.to_deploy.iter().copied().collect();
        for (namespace, flow) in &missing {
            let purpose = Purpose::Deploy { namespace: *namespace, flow: *flow };
            if !self.clients.is_pending(&purpose) {
                let (namespace, workflow) = (NAMESPACES[*namespace].to_owned(), self.flows[*flow].compiled());
                self.ask(Command::Deploy(Deploy { namespace, workflow }), purpose);
            }
        }
        if !missing.is_empty() {
            return Ok(());
        }
        let all = self.clients.starts.len();
        self.clients.wanted = if self.calm { all } else { (self.clients.wanted + 1).min(all) };
        self.start_wanted();
        if self.calm {
            return self.act_calmly();
        }
        if self.random.chance(self.faults.disturb) { self.disturb() } else { self.help() }
    }

    /// A process that lives answers.
    fn check_answers(&mut self) -> Checked {
        let (now, incarnation) = (self.now, self.host.incarnation);
        let late = self.clients.pending.iter().find(|(_, pending)| {
            pending.incarnation == incarnation && pending.body.is_some() && now > pending.since + ANSWER_WITHIN
        });
        match late {
            Some((ticket, pending)) => {
                Err(Violation::of(10, format!("{ticket:?}, {:?}, was not answered", pending.purpose)))
            }
            None => Ok(()),
        }
    }

    fn start_wanted(&mut self) {
        for index in 0..self.clients.wanted {
            let start = &self.clients.starts[index];
            let again = start.run.is_some();
            if again && (self.calm || !self.random.chance(20)) {
                continue;
            }
            if self.clients.is_pending(&Purpose::Start { index }) && !self.random.chance(50) {
                continue;
            }
            let run = self.new_run();
            let start = &self.clients.starts[index];
            let command = StartRun {
                idempotency_key: Some(start.key.clone()),
                ..StartRun::requested(
                    run,
                    NAMESPACES[start.namespace],
                    &start.workflow,
                    Payload::inline(start.input.as_bytes()),
                )
            };
            self.ask(Command::StartRun(command), Purpose::Start { index });
        }
    }

    /// An id as the engine's door makes it: time in front, then chance.
    fn new_run(&mut self) -> RunId {
        let millis = (self.wall().0 / 1_000).to_be_bytes();
        let mut id = [0; 16];
        id[..6].copy_from_slice(&millis[2..]);
        id[6..14].copy_from_slice(&self.random.bits().to_be_bytes());
        id[14..].copy_from_slice(&(self.clients.tickets as u16).to_be_bytes());
        RunId(id)
    }

    /// Once all is calm, everything that waits gets what it waits for.
    fn act_calmly(&mut self) -> Checked {
        self.settle_registry();
        for (namespace, run) in self.fold.paused() {
            self.ask(Command::PauseRun(PauseRun { namespace, run, paused: false }), Purpose::Any);
        }
        for namespace in 0..NAMESPACES.len() {
            for run in self.waiting_for_signals(namespace) {
                self.signal(namespace, run);
            }
        }
        Ok(())
    }

    /// Runs with something that waits for a signal.
    fn waiting_for_signals(&self, namespace: usize) -> Vec<RunId> {
        let waiting = self.fold.waiting();
        let own = |run: &RunId| self.fold.namespace(*run).as_deref() == Some(NAMESPACES[namespace]);
        waiting.into_iter().filter(own).collect()
    }

    fn some_run(&mut self) -> Option<(usize, RunId)> {
        let namespace = self.random.below(2) as usize;
        let filter = RunFilter { children: true, ..RunFilter::default() };
        let partition = self.host.partition.as_mut()?;
        let page = partition.machine().ok()?.list_runs(NAMESPACES[namespace], &filter, None, 30).ok()?;
        if page.items.is_empty() {
            return None;
        }
        Some((namespace, self.random.pick(&page.items).run))
    }

    fn pause(&mut self, namespace: usize, run: RunId, paused: bool) {
        let command = PauseRun { namespace: NAMESPACES[namespace].to_owned(), run, paused };
        if paused {
            self.clients.paused.insert((namespace, run));
        }
        // An answer that got lost is asked for again by the next look at the paused runs.
        self.ask(Command::PauseRun(command), Purpose::Any);
    }

    fn signal(&mut self, namespace: usize, run: RunId) {
        let (namespace, name) = (NAMESPACES[namespace].to_owned(), "go".to_owned());
        self.ask(Command::SignalRun(SignalRun { namespace, run, name, payload: signal_payload() }), Purpose::Any);
    }

    /// What a run waits for.
    fn help(&mut self) -> Checked {
        let Some((namespace, run)) = self.some_run() else { return Ok(()) };
        if self.random.chance(300) {
            self.signal(namespace, run);
        }
        Ok(())
    }

    /// The run at the top of a run's tree, where a client started it, is no longer to be compared.
    fn mark(&mut self, run: RunId, deletable: bool) {
        let top = self.fold.top(run);
        let Some(key) = self.fold.started.get(&top).cloned() else { return };
        for start in self.clients.starts.iter_mut().filter(|start| start.key == key) {
            start.pure = false;
            start.deletable |= deletable;
        }
    }

    /// What people do to runs.
    fn disturb(&mut self) -> Checked {
        let Some((at, run)) = self.some_run() else { return Ok(()) };
        let namespace = NAMESPACES[at].to_owned();
        match self.random.below(15) {
            12..=14 => self.disturb_registry(),
            0..=2 => {
                self.mark(run, false);
                let reason = format!("reason {}", self.clients.tickets);
                let force = self.random.chance(300);
                self.ask(Command::CancelRun(CancelRun { namespace, run, reason, force }), Purpose::Any);
            }
            3 | 4 => self.pause(at, run, true),
            5 => {
                for (namespace, run) in std::mem::take(&mut self.clients.paused) {
                    self.pause(namespace, run, false);
                }
            }
            6 | 7 => {
                let step = self.random.chance(500).then(|| format!("s{}", self.random.below(4)));
                let fork = ForkRun { run: self.new_run(), namespace, from: run, step, input: None };
                self.ask(Command::ForkRun(fork), Purpose::Any);
            }
            8 => {
                self.mark(run, true);
                self.ask(Command::DeleteRun(DeleteRun { namespace, run }), Purpose::Any);
            }
            9 => {
                self.clients.retention = true;
                let keep = Some(Span(self.random.span(10 * SECOND, 3_600 * SECOND)));
                self.ask(Command::SetRetention(SetRetention { namespace, keep }), Purpose::Any);
            }
            10 => {
                let command = CancelRun {
                    namespace: NAMESPACES[1 - at].to_owned(),
                    run,
                    reason: "not mine".to_owned(),
                    force: false,
                };
                self.ask(Command::CancelRun(command), Purpose::Refuse(Code::RunNotFound));
            }
            _ if self.random.chance(100) => {
                let payload = Payload::inline(vec![b' '; limits::RECORD_BYTES_MAX + 1]);
                let command = SignalRun { namespace, run, name: "go".to_owned(), payload };
                self.ask(Command::SignalRun(command), Purpose::Refuse(Code::LimitReached));
            }
            _ => {}
        }
        Ok(())
    }

    // Deciding.

    /// An operator looks into the inbox.
    pub(crate) fn operate(&mut self) -> Checked {
        let pause = self.random.span(2 * SECOND, 40 * SECOND);
        self.at(pause, Event::Operator);
        for namespace in NAMESPACES {
            let machine = self.host.partition.as_mut().and_then(|partition| partition.machine().ok());
            let Some(Ok(page)) = machine.map(|machine| machine.inbox(namespace, None, 50)) else { return Ok(()) };
            for item in page.items {
                if self.clients.deciding.insert(item.task) {
                    self.decide(namespace, item.task, item.ask);
                }
            }
        }
        Ok(())
    }

    fn decide(&mut self, namespace: &str, task: TaskId, asked: Ask) {
        let odd = !self.calm && self.random.chance(self.faults.disturb / 4);
        if odd {
            self.mark(task.run, false);
        }
        let (namespace, by) = (namespace.to_owned(), "ann".to_owned());
        let command = match asked {
            Ask::Approval => Command::Approve(Approve { namespace, task, approved: !odd, by, comment: None }),
            Ask::UnknownOutcome => {
                let token = self.fold.token(task).unwrap_or_default();
                let resolution = match self.service.settle(task, token) {
                    Some(output) => Resolution::Done(Payload::from_value(&output)),
                    None if odd => Resolution::Fail,
                    None => Resolution::Retry,
                };
                self.figures.fault("unknown outcomes");
                Command::ResolveUnknown(ResolveUnknown { namespace, task, resolution, by, comment: None })
            }
        };
        self.ask(command, Purpose::Decide { task });
    }

    // Judging.

    /// Everything that was acknowledged is in the log (law 1).
    pub(crate) fn check_acknowledged(&mut self) -> Checked {
        for body in &self.clients.acknowledged {
            if !self.fold.has(body) {
                return Err(Violation::of(1, "a command was acknowledged, but is not in the log"));
            }
        }
        Ok(())
    }

    /// Runs that ended gave what they give undisturbed.
    pub(crate) fn compare_ended(&mut self) -> Checked {
        for ended in std::mem::take(&mut self.fold.ended) {
            self.figures.runs += 1;
            let Some(key) = self.fold.started.get(&ended.run) else { continue };
            let Some(start) = self.clients.starts.iter().find(|start| start.key == *key && start.pure) else {
                continue;
            };
            let broken = |error: Error| Violation { law: Law::Result, what: error.to_string() };
            let output = ended.output.as_ref().map(|output| self.fold.text(output)).transpose().map_err(broken)?;
            let expected = self.reference.result(&start.workflow, &start.input).map_err(broken)?;
            self.figures.compared += 1;
            if (ended.status, &output) != (expected.0, &expected.1) {
                let what = format!(
                    "run {} of `{}` with {:.200} ended as {:?} {output:.400?}, undisturbed it gives {:?} {:.400?}",
                    ended.run, start.workflow, start.input, ended.status, expected.0, expected.1
                );
                return Err(Violation { law: Law::Result, what });
            }
        }
        Ok(())
    }

    /// Whether all has been quiet for long enough to look at the end.
    pub(crate) fn is_quiet(&mut self, settled: bool) -> bool {
        if !settled {
            self.clients.settled_since = None;
            return false;
        }
        let since = *self.clients.settled_since.get_or_insert(self.now);
        self.now > since + 100 * SECOND
    }
}

/// Refusals that a client with a fair request may meet.
fn check_error(purpose: &Purpose, error: &Error) -> Checked {
    if error.code == Code::Internal {
        return Err(Violation { law: Law::Assertion, what: format!("{purpose:?} is answered with {error}") });
    }
    let fair = *purpose != Purpose::Any && error.kind() != ErrorKind::Unavailable;
    if fair {
        return Err(Violation::of(10, format!("{purpose:?} is refused: {error}")));
    }
    Ok(())
}
