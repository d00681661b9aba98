//! A partition without thread, clock or channel.
//!
//! For: everything that the shell does, one step at a time: the loop thread and the simulator drive it alike. The only
//! I/O is through the log and the store that it was given; time is passed in. Not for: waiting, waking, or writing rows
//! back (the driver takes them with [`Partition::take`]).
//! Invariant: outputs of a record appear only after the group with that record was appended (law 1).

mod admission;
mod append;
mod commit;
mod deferred;
mod effects;
mod group;
mod handout;
mod live;
mod open;
mod pipeline;
mod positions;
mod refusal;
mod report;
mod views;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
};

use consort_core::{Command, LateReport, Machine, Reply, Taken, command::RetryDiverged, view::RefusedRecord};
use consort_dispatch::{Claim, Dispatcher};
use consort_log::LogError;
use consort_types::{
    BlobHash, Code, Error, Locality, Result, RunId, Seq, Span, StepInstanceId, Time, Token, WorkerInstance, limits,
    worker::{AgentDeclaration, Hello, Progress, ToWorker},
};

pub(crate) use refusal::broken;
pub use refusal::refuse_record;
pub use views::Views;

use crate::{Config, InstanceId, Observer, clock::STEP_MAX, observer::Observed, status::Status};
use deferred::DeferredRecords;
use effects::EffectClasses;
use group::{Group, Origin};
use live::LiveProgress;
use pipeline::Pipeline;

/// Identifies the receiver of an answer. The caller that submits chooses it; the partition returns it with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// An instance that has joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Its number, for reports.
    pub instance: InstanceId,
    /// Its name, for journals.
    pub name: WorkerInstance,
}

/// What is to be carried out. Each list is in the order in which things happened.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Answers, each to its ticket.
    pub replies: Vec<(Ticket, Result<Reply>)>,
    /// Messages to instances, at most one batch for each.
    pub to_workers: Vec<(InstanceId, Vec<ToWorker>)>,
    /// Runs that changed, each once, with the last record that changed it.
    pub changed: Vec<(RunId, Seq)>,
    /// Namespaces whose events or deliveries changed, each once, with the last record that changed them.
    pub events: Vec<(String, Seq)>,
    /// Live messages of attempts.
    pub progress: Vec<Progress>,
    /// Blobs that no row uses since that record. They may go once the store is synced up to it.
    pub unused: Vec<(Seq, BlobHash)>,
    /// Instances that were silent for too long and are no longer connected.
    pub dropped: Vec<InstanceId>,
}

struct Halt {
    error: Error,
    /// Whether the state still is the fold of the records applied.
    state_is_whole: bool,
}

#[derive(Clone, Copy, Default)]
struct Counters {
    groups: u64,
    records: u64,
    log_bytes_before: u64,
}

/// A partition: log, machine and dispatcher.
pub struct Partition {
    machine: Machine,
    dispatcher: Dispatcher,
    config: Config,
    /// This start, in the names of its instances.
    start: u64,
    /// The last record of earlier starts.
    recovered: Seq,
    group: Group,
    pipeline: Pipeline,
    observed: Observed,
    deferred: DeferredRecords,
    live: LiveProgress,
    effects: EffectClasses,
    /// The latest time that was passed in, or that the log had: log time never goes back.
    clock: Time,
    outputs: Outputs,
    outbox: BTreeMap<InstanceId, Vec<ToWorker>>,
    /// Instances whose backlog of unread messages is over its limit, and which are to be disconnected.
    overrun: BTreeSet<InstanceId>,
    changed: BTreeMap<RunId, Seq>,
    events_changed: BTreeMap<String, Seq>,
    halted: Option<Halt>,
    /// Until when an append that the disk refused is not tried again.
    retry_at: Option<Time>,
    ticking: bool,
    /// Whether log time has to be noted in the log now and then, because the wall clock cannot tell it after a restart.
    notes_time: bool,
    /// The record that the machine is applying: a panic in it names the record.
    applying: Option<Seq>,
    /// Records that operators had refused, as of the start: none is refused while a partition is open.
    refused: Vec<RefusedRecord>,
    written: Seq,
    counters: Counters,
}

impl Partition {
    /// Tells an observer what happens from now on.
    pub fn set_observer(&mut self, observer: Arc<dyn Observer>) {
        self.observed = Observed::by(observer);
    }

    /// Puts a command into the open group. Its answer, where a ticket is given, comes out of a later
    /// [`Partition::commit`].
    pub fn submit(&mut self, command: Command, ticket: Option<Ticket>) {
        let origin = ticket.map_or(Origin::Internal, Origin::Ticket);
        match admission::refusal(self, &command).filter(|_| ticket.is_some()) {
            Some(error) => self.refuse(origin, error),
            None => self.push(command, origin),
        }
    }

    fn push(&mut self, command: Command, origin: Origin) {
        let refused = match &self.halted {
            Some(halt) => Some(halt.error.clone()),
            None => self.group.push(command, origin).err(),
        };
        if let Some(error) = refused {
            self.refuse(origin, error);
        }
    }

    /// Answers something that was not appended.
    fn refuse(&mut self, origin: Origin, error: Error) {
        match origin {
            Origin::Ticket(ticket) => self.outputs.replies.push((ticket, Err(error))),
            Origin::Report(report) => self.refuse_report(&report, error),
            Origin::Handout(handout) => {
                self.dispatcher.take_unread(handout.instance, handout::HELD_BACK_BYTES);
                self.release_attempt(handout.task, handout.token);
            }
            Origin::Loss(..) | Origin::Internal => {}
        }
    }

    fn refuse_report(&mut self, report: &group::Report, error: Error) {
        if matches!(error.code, Code::Fenced | Code::TaskNotFound) {
            // No agent works on a task that is over: its credit is released, where it is still taken.
            self.release_attempt(report.task, report.token);
        }
        self.tell(report.instance, ToWorker::Refused { task: report.task, token: report.token, error });
    }

    /// The attempt is over, or was taken back: no instance holds it, and its progress is forgotten. Returns its holder.
    fn release_attempt(&mut self, task: StepInstanceId, token: Token) -> Option<InstanceId> {
        self.live.end(task, token);
        self.dispatcher.remove(task, Some(token))
    }

    fn tell(&mut self, instance: InstanceId, message: ToWorker) {
        if self.dispatcher.locality(instance).is_none() {
            return;
        }
        // Tasks stop coming long before; what is left are answers to reports of an instance that does not read them.
        if self.dispatcher.unread(instance) > limits::INSTANCE_BACKLOG_BYTES_MAX {
            self.overrun.insert(instance);
            return;
        }
        self.dispatcher.add_unread(instance, message.weight());
        self.outbox.entry(instance).or_default().push(message);
    }

    /// Notes that an instance has read messages of this weight (see [`ToWorker::weight`]): while too many bytes are
    /// unread, it is handed nothing more.
    pub fn has_read(&mut self, instance: InstanceId, bytes: usize) {
        self.dispatcher.take_unread(instance, bytes);
    }

    /// Sets the bytes of messages that may wait for an instance before it is handed nothing more;
    /// the default is [`limits::INSTANCE_UNREAD_BYTES_MAX`].
    pub fn set_unread_max(&mut self, instance: InstanceId, bytes: usize) {
        self.dispatcher.set_unread_max(instance, bytes);
    }

    /// Disconnects instances with too many unread bytes: they have to reconnect, and to read.
    fn drop_overrun(&mut self) {
        for instance in mem::take(&mut self.overrun) {
            if let Some(until) = self.grace_of(instance, self.clock) {
                self.disconnect(instance, until);
                self.outputs.dropped.push(instance);
            }
        }
    }

    /// An instance joins. Tasks that it still holds from before a reconnect stay with it, where their attempt is still
    /// the current one.
    pub fn attach(&mut self, hello: &Hello, locality: Locality, now: Time) -> Result<Attached> {
        if let Some(halt) = &self.halted {
            return Err(halt.error.clone());
        }
        let now = self.advance(now);
        self.check_known(hello, locality)?;
        let max = limits::INSTANCES_MAX;
        if self.dispatcher.instance_count() >= max {
            return Err(Error::new(Code::Overloaded, format!("`{max}` instances are connected, the limit is {max}"))
                .hint("let each instance hold more tasks instead; try again after `5s`"));
        }
        if let Some(retry) = retry_diverged(&self.machine, hello)? {
            self.push(retry, Origin::Internal);
        }
        let instance = self.dispatcher.join(hello, locality, self.start, now);
        for (task, token) in &hello.held {
            self.claim(instance, *task, *token, now);
        }
        if self.dispatcher.is_draining() && locality == Locality::Local {
            self.tell(instance, ToWorker::Drain);
        }
        match self.dispatcher.name(instance) {
            Some(name) => Ok(Attached { instance, name: WorkerInstance::clone(name) }),
            None => unreachable!("an instance that has joined has a name"),
        }
    }

    fn claim(&mut self, instance: InstanceId, task: StepInstanceId, token: Token, now: Time) {
        // The token is the record that made the attempt ready.
        let recovered = Seq(token.0) <= self.recovered;
        let about = group::Report { instance, task, token };
        match self.dispatcher.claim(instance, task, token, recovered, now) {
            // The outcome is unknown. To break a `write` attempt off is what would make its outcome truly unknown: it reports when it ends.
            Claim::Refused { .. } if matches!(admission::late_report(self, about), Ok(LateReport::Settles)) => {}
            Claim::Refused { reason } => {
                self.tell(instance, ToWorker::Cancel { task, token, reason: reason.to_owned() });
            }
            Claim::Granted { from, unrecorded } => self.claimed(instance, task, token, from, unrecorded, now),
        }
    }

    /// An instance leaves. A local one is dead at once; a remote one may reconnect within the grace.
    pub fn detach(&mut self, instance: InstanceId, now: Time) {
        let now = self.advance(now);
        if let Some(until) = self.grace_of(instance, now) {
            self.disconnect(instance, until);
        }
    }

    /// Until when the tasks of an instance that leaves now wait for it.
    fn grace_of(&self, instance: InstanceId, now: Time) -> Option<Time> {
        let locality = self.dispatcher.locality(instance)?;
        Some(if locality == Locality::Local { now } else { now.after(self.config.grace) })
    }

    /// An agent is registered before its instances join: otherwise the effect class of its attempts would be unknown.
    fn check_known(&mut self, hello: &Hello, locality: Locality) -> Result<()> {
        let (name, version) = (&hello.agent.name, &hello.agent.version);
        let known = self.machine.registry().knows_agent(&hello.namespace, &hello.agent, locality == Locality::Local)?;
        let declared = self.machine.registry().agent(&hello.namespace, name, version)?;
        let same = declared.as_ref().is_some_and(|declared| declared.difference(&hello.agent).is_none());
        let mut pending = self.group.commands().chain(self.pipeline.commands());
        if known && same && !pending.any(|command| changes(command, &hello.namespace, &hello.agent)) {
            return Ok(());
        }
        let connected = self.dispatcher.connected(&hello.namespace, name, Some(version));
        let clash = declared.filter(|_| connected > 0);
        if let Some(error) = clash.and_then(|declared| admission::clash(&declared, &hello.agent, connected)) {
            return Err(error);
        }
        let message = format!("version `{version}` of agent `{name}` was removed or declared otherwise meanwhile");
        Err(Error::new(Code::AgentNotFound, message).hint("connect again: it is then known again"))
    }

    /// A version of an agent was removed: its instances are told to finish, and are disconnected.
    fn disconnect_version(&mut self, namespace: &str, agent: &str, version: &str) {
        for instance in self.dispatcher.instances_of(namespace, agent, version) {
            let until = self.grace_of(instance, self.clock).unwrap_or(self.clock);
            self.disconnect(instance, until);
            self.outbox.insert(instance, vec![ToWorker::Drain]);
            self.outputs.dropped.push(instance);
        }
    }

    /// Disconnects an instance. What it was sent waits for it until then; what it was to be sent, once that would be
    /// durable, goes back into its queue.
    fn disconnect(&mut self, instance: InstanceId, until: Time) {
        for handout in self.group.take_back(instance) {
            self.dispatcher.requeue(handout.task, handout.token);
        }
        self.dispatcher.disconnect(instance, until);
        self.outbox.remove(&instance);
    }

    /// Hands nothing out any more, and tells the instances that end with this process to finish. Remote ones outlive
    /// it: they continue with what they hold, and connect to the process that follows.
    pub fn drain(&mut self) {
        if self.dispatcher.is_draining() {
            return;
        }
        self.dispatcher.drain();
        for instance in self.dispatcher.instances() {
            if self.dispatcher.locality(instance) == Some(Locality::Local) {
                self.tell(instance, ToWorker::Drain);
            }
        }
    }

    /// Whether the attempt was given to this instance, which may not have been told yet.
    pub fn is_holder(&self, instance: InstanceId, task: StepInstanceId, token: Token) -> bool {
        self.dispatcher.holder(task, token) == Some(instance)
    }

    /// Tasks that instances hold.
    pub fn held(&self) -> usize {
        self.dispatcher.held()
    }

    /// Log time as far as it was passed in; after the start, where it begins.
    pub fn clock(&self) -> Time {
        self.clock
    }

    /// How far log time leads the wall clock. A wall clock that is behind cannot say, at the next start, how much time
    /// passed, so with a lead a record notes log time now and then.
    pub fn set_lead(&mut self, lead: Span) {
        self.notes_time = lead > STEP_MAX;
    }

    /// Moves the clock on; it never goes back.
    pub(crate) fn advance(&mut self, now: Time) -> Time {
        self.clock = self.clock.max(now);
        self.clock
    }

    /// Everything that is to be carried out since the last call.
    pub fn outputs(&mut self) -> Outputs {
        let mut outputs = mem::take(&mut self.outputs);
        outputs.to_workers = mem::take(&mut self.outbox).into_iter().collect();
        outputs.changed = mem::take(&mut self.changed).into_iter().collect();
        outputs.events = mem::take(&mut self.events_changed).into_iter().collect();
        outputs
    }

    /// The state. An error where the partition has halted in a way that leaves it untrustworthy.
    pub fn machine(&mut self) -> Result<&mut Machine> {
        match &self.halted {
            Some(halt) if !halt.state_is_whole => Err(halt.error.clone()),
            _ => Ok(&mut self.machine),
        }
    }

    /// The last record that was applied.
    pub fn applied(&self) -> Seq {
        self.machine.applied()
    }

    /// Why the partition has halted, where it has.
    pub fn halted(&self) -> Option<&Error> {
        self.halted.as_ref().map(|halt| &halt.error)
    }

    /// Stops the partition for a reason from outside: rows could not be written, for example.
    pub fn halt(&mut self, error: Error) {
        self.halt_as(error, true);
    }

    /// Stops the partition because a law was broken in the middle of a change: its state is not to be trusted.
    pub fn halt_broken(&mut self, error: Error) {
        let error = match self.applying.take() {
            Some(seq) => refusal::stuck(seq, error),
            None => error,
        };
        self.halt_as(error, false);
    }

    /// Whether nothing waits to be appended, or to be applied.
    pub fn is_settled(&self) -> bool {
        self.group.is_empty() && self.pipeline.is_empty()
    }

    /// Whether records were applied since rows were last taken.
    pub fn has_unwritten(&self) -> bool {
        self.machine.applied() != self.written
    }

    fn halt_as(&mut self, why: Error, state_is_whole: bool) {
        if self.halted.is_some() {
            return;
        }
        let hint = why.hint.unwrap_or_else(|| "run `consort doctor`, look after the cause, and start again".to_owned());
        let message = format!("the partition has halted: {}", why.message);
        let error = Error::new(Code::Halted, message).hint(hint);
        self.halted = Some(Halt { error: error.clone(), state_is_whole });
        let in_flight = self.pipeline.take();
        self.refuse_all(in_flight);
        for origin in self.group.clear() {
            self.refuse(origin, error.clone());
        }
    }

    // Rows, for the driver, which writes them back.

    /// How many changed rows wait to be taken.
    pub fn rows_changed(&self) -> usize {
        self.machine.changed()
    }

    /// The changed rows, to be written to the store (see [`crate::write_rows`]) in the order in which they are taken.
    pub fn take(&mut self) -> Option<Taken> {
        if !self.has_unwritten() || self.halted.as_ref().is_some_and(|halt| !halt.state_is_whole) {
            return None;
        }
        let taken = self.machine.take();
        self.written = taken.applied;
        Some(taken)
    }

    /// Notes that everything taken up to `generation` is in the store.
    pub fn written(&mut self, generation: u64) {
        self.machine.written(generation);
    }

    /// Lets the log forget what a synced store holds, but for a margin.
    pub fn trim(&mut self, synced: Seq) {
        assert!(synced <= self.machine.applied(), "a store holds no record that was not applied");
        let before = synced.0.saturating_sub(self.config.trim_margin) + 1;
        if self.halted.is_some() || Seq(before) <= self.pipeline.log().first() {
            return;
        }
        match self.pipeline.trim(Seq(before)) {
            // What could not be removed now is tried again at the next trim.
            Ok(()) | Err(LogError::Io { .. }) => {}
            Err(error) => self.halt(error.into()),
        }
    }

    /// How the partition is doing, with the connected agents of a namespace where one is named; the driver adds what
    /// it knows of the store and its queue.
    pub fn status(&self, namespace: Option<&str>) -> Status {
        let (runs_active, _) = self.machine.run_counts();
        Status {
            now: self.machine.now(),
            applied: self.machine.applied(),
            log_first: self.pipeline.log().first(),
            log_last: self.pipeline.log().last(),
            store_written: self.written,
            store_synced: Seq::ZERO,
            log_bytes: self.pipeline.log().bytes_written() - self.counters.log_bytes_before,
            store_bytes: 0,
            groups: self.counters.groups,
            records: self.counters.records,
            commands_waiting: self.group.len() + self.pipeline.len(),
            rows_changed: self.machine.changed(),
            tasks: self.machine.task_counts(),
            runs_active,
            tasks_queued: self.dispatcher.queued(),
            halted: self.halted().cloned(),
            refused: self.refused.clone(),
            draining: self.dispatcher.is_draining(),
            instances: self.dispatcher.instance_count(),
            tasks_held: self.dispatcher.held(),
            agents: namespace.map(|namespace| self.dispatcher.views().agents(namespace)).unwrap_or_default(),
            clock_lead: Span::ZERO,
            clock_leap: Span::ZERO,
        }
    }
}

/// Whether a command removes the version of an agent that declares this, or has it declare something else.
fn changes(command: &Command, namespace: &str, agent: &AgentDeclaration) -> bool {
    match command {
        Command::RemoveAgent(removal) => {
            removal.namespace == namespace
                && removal.name == agent.name
                && removal.version.as_deref().is_none_or(|removed| removed == agent.version)
        }
        Command::RegisterAgent(registration) if registration.namespace == namespace => {
            let declared = registration.declaration.bytes().and_then(|bytes| serde_json::from_slice(bytes).ok());
            declared.is_some_and(|declared: AgentDeclaration| {
                (&declared.name, &declared.version) == (&agent.name, &agent.version)
                    && declared.difference(agent).is_some()
            })
        }
        _ => false,
    }
}

/// The code of an instance that joins may fit journals that other code has diverged from.
fn retry_diverged(machine: &Machine, hello: &Hello) -> Result<Option<Command>> {
    let (namespace, agent, version) = (&hello.namespace, &hello.agent.name, &hello.agent.version);
    if !machine.registry().has_diverged(namespace, agent)? {
        return Ok(None);
    }
    let (namespace, agent, version) = (namespace.clone(), agent.clone(), version.clone());
    Ok(Some(Command::RetryDiverged(RetryDiverged { namespace, agent, version, after: None })))
}
