//! A partition in memory, with a clock that moves only when the test sets it.
//!
//! For: tests that drive `Partition` step by step. Not for: threads.
//! Invariant: nothing here depends on a clock or on chance.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use consort_core::{
    Command, Reply,
    command::{Deploy, RegisterAgent, StartRun},
};
use consort_engine::{Config, InstanceId, Locality, Outputs, Partition, Parts, Ticket, write_rows};
use consort_log::{Log, MemoryLogDisk};
use consort_store::{MemoryStore, Store};
use consort_types::{
    EffectClass, Error, Payload, Result, RunId, Seq, Span, StepInstanceId, Time, Token,
    worker::{AgentDeclaration, CapabilityDeclaration, FromWorker, Hello, TaskOffer, ToWorker},
};

pub(crate) const NS: &str = "default";

pub(crate) fn agent(name: &str, capabilities: &[(&str, EffectClass)]) -> AgentDeclaration {
    let capability = |(name, effect): &(&str, EffectClass)| CapabilityDeclaration {
        name: (*name).to_owned(),
        description: String::new(),
        effect: *effect,
        input_schema: true.into(),
        output_schema: true.into(),
        cost_hint_microdollars: None,
        time_hint: None,
    };
    AgentDeclaration {
        name: name.to_owned(),
        version: "1".into(),
        description: String::new(),
        capabilities: capabilities.iter().map(capability).collect(),
        labels: BTreeMap::new(),
        subscriptions: Vec::new(),
    }
}

pub(crate) fn hello(agent: AgentDeclaration, concurrency: u32, held: Vec<(StepInstanceId, Token)>) -> Hello {
    Hello {
        namespace: NS.into(),
        agent,
        concurrency,
        held,
        client: String::new(),
        labels: BTreeMap::new(),
        worker: "one".into(),
    }
}

pub(crate) fn json(text: &str) -> Payload {
    Payload::inline(text.as_bytes())
}

pub(crate) fn deploy_command(source: &str) -> Command {
    let workflow = consort_workflow_check::check(source).expect("a workflow without errors").compiled;
    Command::Deploy(Deploy { namespace: NS.into(), workflow })
}

pub(crate) fn start_command(run: u8, input: &str) -> Command {
    Command::StartRun(StartRun::requested(RunId([run; 16]), NS, "w", json(input)))
}

/// A partition, what it rests on, and what came out of it.
pub(crate) struct World {
    pub(crate) disk: MemoryLogDisk,
    pub(crate) store: MemoryStore,
    pub(crate) partition: Partition,
    pub(crate) now: Time,
    pub(crate) inbox: BTreeMap<InstanceId, Vec<ToWorker>>,
    pub(crate) replies: BTreeMap<Ticket, Result<Reply>>,
    pub(crate) dropped: Vec<InstanceId>,
    /// Instances that do not read what they are sent.
    pub(crate) deaf: BTreeSet<InstanceId>,
    tickets: u64,
    starts: u64,
}

pub(crate) fn parts(disk: &MemoryLogDisk, store: &MemoryStore) -> Parts {
    let log: Box<dyn Log> = Box::new(disk.open().unwrap());
    Parts { log, store: Arc::new(store.clone()), blobs: Arc::new(store.clone()) }
}

impl World {
    pub(crate) fn new() -> Self {
        let (disk, store) = (MemoryLogDisk::new(), MemoryStore::new());
        let now = Time(1_000_000_000_000);
        let partition = Partition::open(parts(&disk, &store), Config::default(), 1, now).unwrap();
        Self {
            disk,
            store,
            partition,
            now,
            inbox: BTreeMap::new(),
            replies: BTreeMap::new(),
            dropped: Vec::new(),
            deaf: BTreeSet::new(),
            tickets: 0,
            starts: 1,
        }
    }

    /// A partition with a deployed workflow.
    pub(crate) fn with(source: &str) -> Self {
        let mut world = Self::new();
        world.deploy(source);
        world
    }

    /// Ends the process without warning: only the durable log and `survivors` unsynced store batches are left.
    pub(crate) fn crash(&mut self, survivors: usize) {
        self.disk.crash(false);
        self.store.crash(survivors);
        self.starts += 1;
        self.inbox.clear();
        let parts = parts(&self.disk, &self.store);
        self.partition = Partition::open(parts, Config::default(), self.starts, self.now).unwrap();
        self.step();
    }

    /// Lets everything happen that happens now.
    pub(crate) fn step(&mut self) {
        loop {
            self.partition.poll(self.now);
            let due = self.partition.is_due(self.now);
            let outputs = self.partition.commit(self.now);
            self.keep(outputs);
            if !due {
                return;
            }
        }
    }

    pub(crate) fn keep(&mut self, outputs: Outputs) {
        self.replies.extend(outputs.replies);
        for (instance, messages) in outputs.to_workers {
            if !self.deaf.contains(&instance) {
                self.partition.has_read(instance, messages.iter().map(ToWorker::weight).sum());
            }
            self.inbox.entry(instance).or_default().extend(messages);
        }
        self.dropped.extend(outputs.dropped);
    }

    /// Moves the clock, then lets everything happen that is due.
    pub(crate) fn pass(&mut self, span: Span) {
        self.now = self.now.after(span);
        self.step();
    }

    /// Writes changed rows to the store, unsynced.
    pub(crate) fn flush(&mut self) {
        if let Some(taken) = self.partition.take() {
            let generation = taken.generation;
            write_rows(&self.store, &self.store, taken).unwrap();
            self.partition.written(generation);
        }
    }

    pub(crate) fn send(&mut self, command: Command) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let command = self.prepared(command);
        self.partition.submit(command, Some(ticket));
        ticket
    }

    /// A start as the handle prepares it; one that the handle would refuse is submitted unchanged.
    fn prepared(&mut self, command: Command) -> Command {
        let (Command::StartRun(start), Ok(machine)) = (&command, self.partition.machine()) else { return command };
        machine.prepare_start(start.clone(), None).map_or(command, Command::StartRun)
    }

    pub(crate) fn ask(&mut self, command: Command) -> Result<Reply> {
        let ticket = self.send(command);
        self.step();
        self.replies.remove(&ticket).expect("every ticket is answered")
    }

    pub(crate) fn deploy(&mut self, source: &str) {
        self.ask(deploy_command(source)).unwrap();
    }

    pub(crate) fn start(&mut self, run: u8) -> RunId {
        let command = start_command(run, "{}");
        self.ask(command).unwrap();
        RunId([run; 16])
    }

    pub(crate) fn join(&mut self, capabilities: &[(&str, EffectClass)], locality: Locality) -> InstanceId {
        let declaration = agent("a", capabilities);
        self.ask(Command::RegisterAgent(RegisterAgent::new(NS, &declaration, locality))).unwrap();
        self.attach(&hello(declaration, 8, Vec::new()), locality)
    }

    pub(crate) fn attach(&mut self, hello: &Hello, locality: Locality) -> InstanceId {
        let attached = self.partition.attach(hello, locality, self.now).unwrap();
        self.step();
        attached.instance
    }

    /// Everything that an instance was told since it was last asked.
    pub(crate) fn told(&mut self, instance: InstanceId) -> Vec<ToWorker> {
        self.inbox.remove(&instance).unwrap_or_default()
    }

    /// The tasks that an instance was given since it was last asked; it must have been told nothing else.
    pub(crate) fn given(&mut self, instance: InstanceId) -> Vec<TaskOffer> {
        let offer = |message| match message {
            ToWorker::Task(offer) => *offer,
            other => panic!("not a task: {other:?}"),
        };
        self.told(instance).into_iter().map(offer).collect()
    }

    /// The one task that an instance was given.
    pub(crate) fn one(&mut self, instance: InstanceId) -> TaskOffer {
        let mut given = self.given(instance);
        assert_eq!(given.len(), 1, "one task is given: {given:?}");
        given.remove(0)
    }

    pub(crate) fn complete(&mut self, instance: InstanceId, offer: &TaskOffer, output: &str) {
        let report = FromWorker::Complete { task: offer.task, token: offer.token, output: json(output) };
        self.partition.report(instance, report, self.now);
        self.step();
    }

    pub(crate) fn fail(&mut self, instance: InstanceId, offer: &TaskOffer) {
        let error = Error::new(consort_types::Code::AgentFailed, "no luck");
        let (task, token) = (offer.task, offer.token);
        let report = FromWorker::Fail { task, token, error, retryable: true, retry_after: None };
        self.partition.report(instance, report, self.now);
        self.step();
    }

    pub(crate) fn status(&mut self, run: RunId) -> String {
        let view = self.partition.machine().unwrap().run_view(NS, run).unwrap();
        let output = view.output.map(|output| String::from_utf8(output.bytes().unwrap().to_vec()).unwrap());
        format!("{} {}", view.summary.status.as_str(), output.unwrap_or_default()).trim_end().to_owned()
    }

    pub(crate) fn records(&self) -> u64 {
        self.partition.status(None).log_last.0
    }

    /// Every row of the store.
    pub(crate) fn rows(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.store.scan(&[0], &[0xff; 64], usize::MAX).unwrap()
    }

    pub(crate) fn applied(&self) -> Seq {
        self.partition.applied()
    }
}
