//! One helper for all scenarios: a workflow, a script of what happens, and the state after it.
//!
//! For: testing the machine through its public interface. Not for: engines, clocks or threads.
//! Invariant: every scenario is also a test of law 4: its log folded again, whole and in parts, gives the same bytes.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex},
};

use consort_core::{
    Applied, Backing, Command, Effect, LiveTask, Machine, Reply,
    command::{
        Approve, AttemptLost, CancelRun, DeleteRun, Deploy, ForkRun, KeptJournal, PauseRun, RegisterAgent, Resolution,
        ResolveUnknown, SetRetention, SignalRun, StartRun, TaskComplete, TaskFail, TaskPark, TaskRecord, TaskTaken,
        Tick,
    },
    view::{self, accept_input},
};
use consort_types::{
    BlobHash, Code, EffectClass, Error, Locality, Payload, Result, RunId, Seq, Span, StepInstanceId, Time, Token,
    WorkerInstance, limits,
    worker::{AgentDeclaration, CapabilityDeclaration, JournalEntry, JournalRequest},
};

/// The instance that takes every task.
pub(crate) fn holder() -> WorkerInstance {
    WorkerInstance { locality: Locality::Remote, start: 1, number: 1, agent: "a".to_owned() }
}

pub(crate) const NS: &str = "default";

#[derive(Default)]
pub(crate) struct Memory {
    rows: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
    blobs: Mutex<BTreeMap<BlobHash, Vec<u8>>>,
}

impl Memory {
    fn write(&self, machine: &mut Machine) {
        let taken = machine.take();
        self.blobs.lock().unwrap().extend(taken.blobs.into_iter().map(|(hash, bytes)| (hash, bytes.to_vec())));
        let mut rows = self.rows.lock().unwrap();
        let changes = taken.changes.encode();
        rows.extend(changes.puts);
        for key in changes.deletes {
            rows.remove(&key);
        }
        drop(rows);
        machine.written(taken.generation);
    }

    pub(crate) fn dump(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.rows.lock().unwrap().clone()
    }
}

impl Backing for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.rows.lock().unwrap().get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let rows = self.rows.lock().unwrap();
        Ok(rows.range(from.to_vec()..to.to_vec()).take(limit).map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    fn blob(&self, hash: &BlobHash) -> Result<Option<Vec<u8>>> {
        Ok(self.blobs.lock().unwrap().get(hash).cloned())
    }
}

/// A partition under test.
pub(crate) struct World {
    pub(crate) machine: Machine,
    memory: Arc<Memory>,
    log: Vec<(Time, Vec<u8>)>,
    now: Time,
    /// Tasks that wait or are held, by path (of the run with the number before `:` where it is not the first).
    pub(crate) ready: BTreeMap<StepInstanceId, Token>,
    pub(crate) runs: Vec<RunId>,
    pub(crate) refusals: Vec<String>,
    pub(crate) effects: Vec<Effect>,
    /// Units of work of the last record.
    pub(crate) units: usize,
    /// Units after which a record leaves the rest to the next.
    units_max: usize,
    /// The same for what expressions and documents cost.
    cost_max: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::limited(limits::WORK_PER_RECORD_MAX, limits::EXPRESSION_COST_MAX)
    }

    /// A partition whose records do few units of work, so that little work goes over many records.
    pub(crate) fn limited(units_max: usize, cost_max: u64) -> Self {
        let memory = Arc::new(Memory::default());
        let mut machine = Machine::open(memory.clone(), Seq::ZERO).unwrap();
        machine.limit_records(units_max, cost_max);
        Self {
            machine,
            memory,
            log: Vec::new(),
            now: Time(1_000_000_000),
            ready: BTreeMap::new(),
            runs: Vec::new(),
            refusals: Vec::new(),
            effects: Vec::new(),
            units: 0,
            units_max,
            cost_max,
        }
    }

    /// Applies a command as the log would: through its encoding.
    pub(crate) fn apply(&mut self, command: &Command) -> Result<Reply> {
        let bytes = command.encode();
        self.now = self.now.after(Span(10));
        self.log.push((self.now, bytes.clone()));
        let seq = self.machine.applied().next();
        let applied = self.machine.apply(seq, self.now, &Command::decode(&bytes).unwrap()).unwrap();
        let Applied { reply, effects, units } = applied;
        assert!(units <= Applied::UNITS_MAX, "one record did {units} units of work");
        self.units = units;
        for effect in &effects {
            match effect {
                Effect::Ready(ready) => {
                    self.ready.insert(ready.task, ready.token);
                }
                Effect::Gone { task, token, .. } if self.ready.get(task) == Some(token) => {
                    self.ready.remove(task);
                }
                _ => {}
            }
        }
        self.effects.extend(effects);
        if self.log.len().is_multiple_of(3) {
            self.memory.write(&mut self.machine);
        }
        if let Err(error) = &reply {
            self.refusals.push(format!("{} {}", error.code, error.message));
        }
        reply
    }

    pub(crate) fn deploy(&mut self, source: &str) {
        let checked = consort_workflow_check::check(source).unwrap_or_else(|found| panic!("{found:?}\n{source}"));
        let deploy = Deploy { namespace: NS.to_owned(), workflow: checked.compiled };
        if let Err(error) = self.apply(&Command::Deploy(deploy)) {
            panic!("{error}\n{source}");
        }
    }

    fn new_id(&self) -> RunId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&(self.log.len() as u64 + 1).to_be_bytes());
        RunId(id)
    }

    pub(crate) fn start(&mut self, workflow: &str, input: &str, key: Option<&str>) -> Result<RunId> {
        let start = StartRun {
            idempotency_key: key.map(str::to_owned),
            ..StartRun::requested(self.new_id(), NS, workflow, Payload::inline(input.as_bytes()))
        };
        let start = self.machine.prepare_start(start, None).inspect_err(|error| {
            self.refusals.push(format!("{} {}", error.code, error.message));
        })?;
        match self.apply(&Command::StartRun(start))? {
            Reply::Run { run, existing } => {
                if !existing {
                    self.runs.push(run);
                }
                Ok(run)
            }
            other => panic!("{other:?}"),
        }
    }

    /// The input of a fork, as the door accepts it.
    fn accept_input(&mut self, from: RunId, input: &str) -> Result<Payload> {
        let definition = self.machine.run_definition(NS, from)?;
        let accepted = accept_input(&definition, input.as_bytes())?;
        Ok(Payload::inline(accepted.unwrap_or_else(|| input.as_bytes().to_vec())))
    }

    pub(crate) fn fork(&mut self, from: usize, step: Option<&str>, input: Option<&str>) -> Result<RunId> {
        let fork = ForkRun {
            run: self.new_id(),
            namespace: NS.to_owned(),
            from: self.runs[from],
            step: step.map(str::to_owned),
            input: input.map(|input| self.accept_input(self.runs[from], input)).transpose()?,
            journal: Some(KeptJournal::BeforeFailure),
        };
        self.apply(&Command::ForkRun(fork.clone()))?;
        self.runs.push(fork.run);
        Ok(fork.run)
    }

    /// One tick: what is due fires, as far as one record goes.
    pub(crate) fn tick_once(&mut self) {
        self.apply(&Command::Tick(Tick {})).unwrap();
    }

    /// Log time moves on, and everything that is due fires.
    pub(crate) fn tick(&mut self, span: Span) {
        let until = self.now.after(span);
        while let Some(due) = self.machine.next_timer().unwrap().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.apply(&Command::Tick(Tick {})).unwrap();
        }
        self.now = self.now.max(until);
    }

    /// Log time moves on, and nothing fires.
    pub(crate) fn advance_to(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    /// The state of a step instance.
    pub(crate) fn task_state(&mut self, run: usize, path: &str) -> &'static str {
        let task = self.task(run, path);
        let page = self.machine.steps(NS, self.runs[run], None, 1000).unwrap();
        page.items.iter().find(|step| step.task == task).unwrap().state.as_str()
    }

    /// Applies ticks until no deferred work is left. Returns how many records that took.
    pub(crate) fn go_on(&mut self) -> usize {
        let mut records = 0;
        while self.go_on_once() > 0 {
            records += 1;
        }
        records
    }

    /// The same for at most one record.
    pub(crate) fn go_on_once(&mut self) -> usize {
        let due = self.machine.next_timer().unwrap().is_some_and(|due| due <= self.now);
        if due {
            self.tick_once();
        }
        usize::from(due)
    }

    /// The partition is opened again from its rows.
    pub(crate) fn reopen(&mut self) {
        self.memory.write(&mut self.machine);
        self.machine = Machine::open(self.memory.clone(), self.machine.applied()).unwrap();
        self.machine.limit_records(self.units_max, self.cost_max);
    }

    /// The partition is opened again from rows that were changed, as another version may have left them.
    pub(crate) fn reopen_with(&mut self, change: impl FnOnce(&mut BTreeMap<Vec<u8>, Vec<u8>>)) {
        self.memory.write(&mut self.machine);
        change(&mut self.memory.rows.lock().unwrap());
        self.machine = Machine::open(self.memory.clone(), self.machine.applied()).unwrap();
        self.memory.write(&mut self.machine);
    }

    pub(crate) fn rows(&mut self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.memory.write(&mut self.machine);
        self.memory.dump()
    }

    /// The open task with this path; `2:a` is step `a` of the second run.
    pub(crate) fn find(&mut self, path: &str) -> (StepInstanceId, Token) {
        let (run, path) = path.split_once(':').filter(|(n, _)| n.parse::<usize>().is_ok()).unwrap_or(("", path));
        let open: Vec<_> = self.ready.iter().map(|(task, token)| (*task, *token)).collect();
        let mut seen = Vec::new();
        for (task, token) in open {
            let Some(offer) = self.machine.offer(task).unwrap() else { continue };
            let fits = run.parse::<usize>().map_or(true, |n| self.runs.get(n - 1) == Some(&task.run));
            if fits && offer.step == path {
                return (task, token);
            }
            seen.push(offer.step);
        }
        panic!("no open task `{path}`; there are {seen:?}");
    }

    /// Any step instance by path, open or not.
    pub(crate) fn task(&mut self, run: usize, path: &str) -> StepInstanceId {
        let id = self.runs[run];
        let page = self.machine.steps(NS, id, None, 1000).unwrap();
        page.items.iter().find(|step| step.path == path).unwrap_or_else(|| panic!("no step `{path}`")).task
    }

    pub(crate) fn taken(&mut self, path: &str, effect: EffectClass) {
        let (task, token) = self.find(path);
        let command =
            TaskTaken { task, token, instance: holder(), effect, at: self.now, version: Some("1".to_owned()) };
        self.apply(&Command::TaskTaken(command)).unwrap();
    }

    pub(crate) fn complete(&mut self, path: &str, output: &str) {
        let (task, token) = self.find(path);
        self.report(task, token, output).unwrap();
    }

    pub(crate) fn report(&mut self, task: StepInstanceId, token: Token, output: &str) -> Result<Reply> {
        let output = Payload::inline(output.as_bytes());
        self.apply(&Command::TaskComplete(TaskComplete {
            task,
            token,
            output,
            taken: None,
            by: holder(),
            version: None,
        }))
    }

    pub(crate) fn fail(&mut self, path: &str, retryable: bool) {
        let (task, token) = self.find(path);
        let error = Error::new(Code::AgentFailed, format!("{path} broke"));
        let by = holder();
        let fail = TaskFail {
            task,
            token,
            error,
            retryable,
            retry_after: None,
            taken: Some((by.clone(), self.now)),
            by,
            version: None,
        };
        self.apply(&Command::TaskFail(fail)).unwrap();
    }

    pub(crate) fn lose(&mut self, path: &str, died: Option<bool>) {
        let (task, token) = self.find(path);
        let lost = AttemptLost { task, token, reason: "killed".to_owned(), died };
        self.apply(&Command::AttemptLost(lost)).unwrap();
    }

    pub(crate) fn record(
        &mut self,
        path: &str,
        index: u32,
        request: JournalRequest,
        result: Option<&str>,
    ) -> Result<Reply> {
        let result = result.map(|json| Ok(Payload::inline(json.as_bytes())));
        self.record_entry(path, index, &JournalEntry { title: None, request, after: Vec::new(), result })
    }

    pub(crate) fn record_entry(&mut self, path: &str, index: u32, entry: &JournalEntry) -> Result<Reply> {
        let (task, token) = self.find(path);
        self.apply(&Command::TaskRecord(TaskRecord::new((task, token), (holder(), "1".to_owned()), index, entry)))
    }

    /// Puts a document into the blob store, as the engine does with a large one before it makes a command of it.
    pub(crate) fn put_blob(&self, bytes: &[u8]) -> Payload {
        let hash = BlobHash::of(bytes);
        self.memory.blobs.lock().unwrap().insert(hash, bytes.to_vec());
        Payload::Blob { hash, len: bytes.len() as u64 }
    }

    pub(crate) fn park(&mut self, path: &str, waiting: &[u32]) -> Result<Reply> {
        let (task, token) = self.find(path);
        self.apply(&Command::TaskPark(TaskPark { task, token, waiting: waiting.to_vec(), by: holder() }))
    }

    pub(crate) fn agent(&mut self, name: &str, capability: &str, effect: EffectClass) {
        let declaration = AgentDeclaration {
            name: name.to_owned(),
            version: "1".to_owned(),
            description: String::new(),
            capabilities: vec![CapabilityDeclaration {
                name: capability.to_owned(),
                description: String::new(),
                effect,
                input_schema: true.into(),
                output_schema: true.into(),
                cost_hint_microdollars: None,
                time_hint: None,
            }],
            labels: BTreeMap::new(),
            subscriptions: Vec::new(),
        };
        self.apply(&Command::RegisterAgent(RegisterAgent::new(NS, &declaration, Locality::Remote))).unwrap();
    }

    /// One line of a script.
    pub(crate) fn act(&mut self, line: &str) {
        let mut parts = line.splitn(3, ' ');
        let (verb, one, two) = (parts.next().unwrap(), parts.next().unwrap_or(""), parts.next());
        let namespace = NS.to_owned();
        let run = self.runs.first().copied();
        let this = || run.expect("a run was started");
        match verb {
            "start" => drop(self.start("w", if one.is_empty() { "{}" } else { one }, None)),
            "done" => self.complete(one, two.unwrap_or("null")),
            "fail" => self.fail(one, true),
            "fatal" => self.fail(one, false),
            "take" => self.taken(one, EffectClass::Idempotent),
            "write" => self.taken(one, EffectClass::Write),
            "lose" => self.lose(one, None),
            "die" => self.lose(one, Some(true)),
            "tick" => self.tick(one.parse().unwrap()),
            "cancel" | "force" => {
                let cancel = CancelRun { namespace, run: this(), reason: "test".into(), force: verb == "force" };
                drop(self.apply(&Command::CancelRun(cancel)));
            }
            "pause" | "resume" => {
                drop(self.apply(&Command::PauseRun(PauseRun { namespace, run: this(), paused: verb == "pause" })));
            }
            "signal" => {
                let payload = Payload::inline(two.unwrap_or("null").as_bytes());
                drop(self.apply(&Command::SignalRun(SignalRun { namespace, run: this(), name: one.into(), payload })));
            }
            "approve" | "reject" => {
                let task = self.task(0, one);
                let (by, comment) = ("ann".to_owned(), two.map(str::to_owned));
                let command = Approve { namespace, task, approved: verb == "approve", by, comment, value: None };
                drop(self.apply(&Command::Approve(command)));
            }
            "resolve" => {
                let task = self.task(0, one);
                let resolution = match two.unwrap() {
                    "retry" => Resolution::Retry,
                    "fail" => Resolution::Fail,
                    output => Resolution::Done(Payload::inline(output.as_bytes())),
                };
                let command = ResolveUnknown { namespace, task, resolution, by: "ann".to_owned(), comment: None };
                drop(self.apply(&Command::ResolveUnknown(command)));
            }
            "retention" => {
                let keep = Some(one.parse().unwrap());
                drop(self.apply(&Command::SetRetention(SetRetention { namespace, keep })));
            }
            "delete" => drop(self.apply(&Command::DeleteRun(DeleteRun { namespace, run: this() }))),
            "fork" => drop(self.fork(0, Some(one).filter(|one| !one.is_empty()), two)),
            other => panic!("no such verb `{other}`"),
        }
    }

    /// The state of every run, as text: a line for the run, and one for each step instance that has begun or ended.
    pub(crate) fn show(&mut self) -> String {
        let mut text = String::new();
        for id in self.runs.clone() {
            let Ok(run) = self.machine.run_view(NS, id) else {
                text.push_str("run gone\n");
                continue;
            };
            let _ = write!(text, "run {}", run.summary.status.as_str());
            if let Some(output) = &run.output {
                let bytes = self.machine.payload_bytes(output).unwrap();
                let _ = write!(text, " {}", String::from_utf8_lossy(&bytes));
            }
            if let Some(error) = &run.summary.error {
                let _ = write!(text, " {}", error.code);
            }
            text.push('\n');
            for step in self.machine.steps(NS, id, None, 1000).unwrap().items {
                let _ = write!(text, "  {} {}", step.path, step.state.as_str());
                if step.attempt > 1 {
                    let _ = write!(text, " attempt {}", step.attempt);
                }
                if step.copied {
                    text.push_str(" copied");
                }
                if let Some(error) = step.error.filter(|_| step.state.is_terminal()) {
                    let _ = write!(text, " {}", error.code);
                }
                text.push('\n');
            }
        }
        for refusal in &self.refusals {
            let named = self.runs.iter().enumerate();
            let refusal =
                named.fold(refusal.clone(), |text, (n, id)| text.replace(&id.to_string(), &format!("RUN{}", n + 1)));
            let _ = writeln!(text, "refused {refusal}");
        }
        text
    }

    /// The rows, by their keys.
    pub(crate) fn stored(&mut self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.memory.write(&mut self.machine);
        self.memory.dump()
    }

    /// Laws that hold after every scenario: replay, recovery, conservation, journal and rows agree.
    pub(crate) fn verify(&mut self) {
        self.memory.write(&mut self.machine);
        let rows = self.memory.dump();
        for cut in [0, self.log.len() / 2, self.log.len()] {
            assert!(
                self.fold_with_snapshot_at(cut) == rows,
                "replay with a snapshot at {cut} gives other bytes (law 4)"
            );
        }
        self.verify_live();
        for id in self.runs.clone() {
            let Ok(journal) = self.machine.journal(NS, id, None, 1000) else { continue };
            let steps = self.machine.steps(NS, id, None, 1000).unwrap();
            if journal.len() < 1000 && steps.next.is_none() {
                let told = view::replay(id, &journal, &steps.items);
                assert!(told.differences.is_empty(), "{:?}", told.differences);
            }
        }
    }

    fn fold_with_snapshot_at(&self, cut: usize) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let memory = Memory::default();
        // What came from outside is in the blob store before the log names it.
        memory.blobs.lock().unwrap().clone_from(&self.memory.blobs.lock().unwrap());
        let memory = Arc::new(memory);
        let mut machine = Machine::open(memory.clone(), Seq::ZERO).unwrap();
        machine.limit_records(self.units_max, self.cost_max);
        for (at, (time, bytes)) in self.log.iter().enumerate() {
            if at == cut {
                memory.write(&mut machine);
                machine = Machine::open(memory.clone(), machine.applied()).unwrap();
                machine.limit_records(self.units_max, self.cost_max);
            }
            let seq = machine.applied().next();
            machine.apply(seq, *time, &Command::decode(bytes).unwrap()).unwrap();
        }
        memory.write(&mut machine);
        memory.dump()
    }

    /// What recovery hands to the dispatcher is what is open.
    fn verify_live(&mut self) {
        let (live, _) = self.machine.live_tasks(None, 1000).unwrap();
        let found: BTreeMap<StepInstanceId, Token> = live
            .into_iter()
            .map(|task| match task {
                LiveTask::Ready(task) | LiveTask::Taken { task, .. } => (task.task, task.token),
            })
            .collect();
        assert_eq!(found, self.ready, "recovery finds other tasks than were assigned");
    }
}

/// Runs a script against a workflow named `w` and compares the state.
pub(crate) fn check(source: &str, script: &[&str], expected: &str) {
    check_with(source, &[], script, expected);
}

pub(crate) fn check_with(source: &str, others: &[&str], script: &[&str], expected: &str) {
    // Work that goes over many records ends as it does in one.
    for units_max in [limits::WORK_PER_RECORD_MAX, 8, 5] {
        check_limited(units_max, source, others, script, expected);
    }
}

fn check_limited(units_max: usize, source: &str, others: &[&str], script: &[&str], expected: &str) {
    let mut world = World::limited(units_max, limits::EXPRESSION_COST_MAX);
    for other in others {
        world.deploy(other);
    }
    world.deploy(source);
    for line in script {
        world.act(line);
        world.go_on();
    }
    let shown = world.show();
    let tidy =
        |text: &str| text.lines().map(str::trim_end).filter(|l| !l.trim().is_empty()).collect::<Vec<_>>().join("\n");
    let expected = unindent(expected);
    assert!(
        tidy(&shown) == tidy(&expected),
        "\n--- got, at {units_max} units a record\n{shown}--- expected\n{expected}"
    );
    world.verify();
}

/// Takes the common indentation off a raw string.
fn unindent(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let margin = lines.iter().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    lines.iter().flat_map(|line| [&line[margin..], "\n"]).collect()
}
