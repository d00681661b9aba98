//! A second machine that folds every durable record, with its own rows, one record at a time.
//!
//! For: law 4 (its rows must equal those of the product, byte for byte) and the checks of each record's changes.
//! Not for: being fast; nothing of it is shared with the product.
//! Invariant: it has folded exactly the records of `history`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use consort_core::{
    Applied, Backing, Command, Effect, Machine, Reply, TABLES, TableSpec, Until,
    command::TaskComplete,
    keys::TimerKey,
    rows::{Run, RunStatus, Step, StepState},
};
use consort_log::Record;
use consort_store::{Batch, MemoryStore, Row, Store};
use consort_types::{BlobHash, Code, Error, Payload, Result, RunId, Seq, StepInstanceId, Time, Token};

use super::{
    auctions, ballots,
    bus::{self, BusOracle},
    flow,
    injected_bugs::tamper,
    locks::{self, Grants},
    rows::{self, Change, Context, Rows},
    schedules::ScheduleOracle,
    space::{self, SpaceOracle},
};
use crate::plan::{Checked, InjectedBug, Violation};

/// Attempts that lying workers choose from.
const GUESSES: usize = 64;

/// Rows and blobs of the second machine.
#[derive(Default)]
pub(crate) struct Memory {
    rows: Mutex<Rows>,
    blobs: Mutex<BTreeMap<BlobHash, Vec<u8>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Backing for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(lock(&self.rows).get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        if from >= to {
            return Ok(Vec::new());
        }
        let rows = lock(&self.rows);
        Ok(rows.range(from.to_vec()..to.to_vec()).take(limit).map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    fn blob(&self, hash: &BlobHash) -> Result<Option<Vec<u8>>> {
        Ok(lock(&self.blobs).get(hash).cloned())
    }
}

/// A run that has ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) run: RunId,
    pub(crate) status: RunStatus,
    pub(crate) output: Option<Payload>,
}

/// The second machine.
pub(crate) struct Fold {
    pub(crate) machine: Machine,
    memory: Arc<Memory>,
    pub(crate) history: Vec<Record>,
    bodies: BTreeSet<[u8; 32]>,
    injected: Option<InjectedBug>,
    fired: BTreeSet<TimerKey>,
    outcomes: BTreeSet<StepInstanceId>,
    /// Attempts under whose token an instance has reported an outcome.
    sent: BTreeSet<(StepInstanceId, Token)>,
    /// Which idempotency key made which run.
    pub(crate) started: BTreeMap<RunId, String>,
    /// Runs that have ended and were not looked at yet.
    pub(crate) ended: Vec<Ended>,
    /// The tops of runs in which a task failed because its workers died.
    pub(crate) worn_out: BTreeSet<RunId>,
    /// Who has published, got and acknowledged which event.
    bus: BusOracle,
    /// What schedules have done at their instants.
    schedules: ScheduleOracle,
    /// Bytes of rows that each completion in a long run wrote.
    costs: BTreeMap<RunId, Vec<usize>>,
    grants: Grants,
    pub(crate) steps: u64,
    /// What is known of shared state.
    pub(crate) spaces: SpaceOracle,
    /// Whether an injected bug has come into play.
    pub(crate) tampered: bool,
}

impl Fold {
    pub(crate) fn new(injected: Option<InjectedBug>) -> Result<Self> {
        let memory = Arc::new(Memory::default());
        Ok(Self {
            machine: Machine::open(Arc::clone(&memory) as Arc<dyn Backing>, Seq::ZERO)?,
            memory,
            history: Vec::new(),
            bodies: BTreeSet::new(),
            injected,
            fired: BTreeSet::new(),
            outcomes: BTreeSet::new(),
            sent: BTreeSet::new(),
            started: BTreeMap::new(),
            ended: Vec::new(),
            worn_out: BTreeSet::new(),
            bus: BusOracle::default(),
            schedules: ScheduleOracle::default(),
            costs: BTreeMap::new(),
            grants: Grants::default(),
            steps: 0,
            spaces: SpaceOracle::default(),
            tampered: false,
        })
    }

    /// The last grants of a lock.
    pub(crate) fn grants(&self, namespace: &str, name: &str) -> Vec<(String, Token)> {
        self.grants.of(namespace, name)
    }

    /// Whether no lock has a holder or a waiter.
    pub(crate) fn locks_are_idle(&self) -> bool {
        locks::is_idle(&self.rows())
    }

    /// A blob that came from outside.
    pub(crate) fn put_blob(&self, hash: BlobHash, bytes: &[u8]) {
        lock(&self.memory.blobs).insert(hash, bytes.to_vec());
    }

    /// An instance reports an outcome under this token.
    pub(crate) fn note_sent(&mut self, task: StepInstanceId, token: Token) {
        self.sent.insert((task, token));
    }

    /// The rows as they are.
    pub(crate) fn rows(&self) -> MutexGuard<'_, Rows> {
        lock(&self.memory.rows)
    }

    /// Folds the next record. `clock` is the latest time that any clock has shown.
    pub(crate) fn apply(&mut self, record: &Record, clock: Time) -> Checked {
        let seq = self.machine.applied().next();
        if record.time > clock {
            return Err(Violation::of(6, format!("record {seq} has time {}, no clock has shown it yet", record.time)));
        }
        if self.history.last().is_some_and(|last| last.time > record.time) {
            return Err(Violation::of(5, format!("record {seq} has time {}, before its predecessor's", record.time)));
        }
        let command =
            Command::decode(&record.body).map_err(|error| Violation::of(11, format!("record {seq}: {error}")))?;
        let stale = rows::is_stale(&self.rows(), &command);
        let second = rows::is_second(&self.rows(), &command);
        self.check_sender(seq, &command, stale)?;
        let applied = self.machine.apply(seq, record.time, &command);
        let mut applied =
            applied.map_err(|error| Violation::of(4, format!("record {seq} cannot be folded: {error}")))?;
        if self.injected == Some(InjectedBug::EndlessRecord) && matches!(command, Command::CancelRun(_)) {
            (applied.units, self.tampered) = (applied.units + Applied::UNITS_MAX, true);
        }
        check_units(seq, &applied)?;
        self.history.push(record.clone());
        self.bodies.insert(*blake3::hash(&record.body).as_bytes());
        self.note_started(&command, &applied.reply);
        let refused = applied.reply.is_err();
        let context = Context { seq, now: record.time, command: &command, stale, second, refused };
        let mut changes = self.take();
        if let Some(injected) = self.injected {
            let did = tamper(injected, &command, &mut changes, &self.rows());
            self.tampered |= did;
        }
        {
            let before = lock(&self.memory.rows);
            self.bus.observe((seq, record.time), &command, &applied.reply, &changes, &before)?;
        }
        self.schedules.observe((seq, record.time), &command, &changes)?;
        self.write(&changes);
        self.check(&context, &changes, &applied.effects)
    }

    /// A result that counts was reported by an instance that held the attempt.
    fn check_sender(&self, seq: Seq, command: &Command, stale: bool) -> Checked {
        let (Command::TaskComplete(TaskComplete { task, token, .. }), false) = (command, stale) else { return Ok(()) };
        if self.sent.contains(&(*task, *token)) {
            return Ok(());
        }
        let what =
            format!("record {seq}: a result for task {task} counts, but no instance has made one under token {token}");
        Err(Violation::of(3, what))
    }

    fn note_started(&mut self, command: &Command, reply: &Result<Reply>) {
        if let (Command::StartRun(start), Ok(Reply::Run { run, existing: false })) = (command, reply)
            && let Some(key) = &start.idempotency_key
        {
            self.started.insert(*run, key.clone());
        }
    }

    fn take(&mut self) -> Vec<Change> {
        let taken = self.machine.take();
        let encoded = taken.changes.encode();
        let rows = self.rows();
        let change = |key: Vec<u8>, new: Option<Vec<u8>>| Change { old: rows.get(&key).cloned(), key, new };
        let puts = encoded.puts.into_iter().map(|(key, row)| change(key, Some(row)));
        let mut changes: Vec<Change> = puts.collect();
        changes.extend(encoded.deletes.into_iter().map(|key| change(key, None)));
        drop(rows);
        lock(&self.memory.blobs).extend(taken.blobs.into_iter().map(|(hash, bytes)| (hash, bytes.to_vec())));
        self.machine.written(taken.generation);
        changes
    }

    fn write(&self, changes: &[Change]) {
        let mut rows = self.rows();
        for change in changes {
            match &change.new {
                Some(row) => rows.insert(change.key.clone(), row.clone()),
                None => rows.remove(&change.key),
            };
        }
    }

    fn check(&mut self, context: &Context<'_>, changes: &[Change], effects: &[Effect]) -> Checked {
        rows::check(context, changes, &lock(&self.memory.rows))?;
        flow::check(context, changes, &lock(&self.memory.rows))?;
        self.spaces.check(context, changes, &lock(&self.memory.rows))?;
        self.grants.check(context, changes, &lock(&self.memory.rows))?;
        ballots::check(context, changes, &self.rows())?;
        auctions::check(context, changes, &self.rows())?;
        for task in rows::outcomes(changes) {
            self.steps += 1;
            if !self.outcomes.insert(task) {
                let what = format!("record {}: the journal tells a second outcome of step {task}", context.seq);
                return Err(Violation::of(2, what));
            }
        }
        for timer in rows::fired(context, changes) {
            if !self.fired.insert(timer) {
                return Err(Violation::of(6, format!("record {}: timer {timer:?} fired again", context.seq)));
            }
        }
        if context.seq.0.is_multiple_of(16) {
            rows::check_counts(&self.rows())?;
            space::check_counts(&self.rows())?;
            bus::check_rows(&self.rows())?;
            flow::check_waits(&self.rows())?;
        }
        if let Some(task) = Self::handed_out(effects).find(|task| self.outcomes.contains(task)) {
            return Err(Violation::of(2, format!("record {}: task {task} has ended and is handed out", context.seq)));
        }
        self.note_costs(context, changes)?;
        self.note_worn_out(changes);
        self.note_ended(changes);
        Ok(())
    }

    /// Tasks that a record makes ready and leaves so.
    fn handed_out(effects: &[Effect]) -> impl Iterator<Item = StepInstanceId> + use<> {
        let mut ready = BTreeSet::new();
        for effect in effects {
            match effect {
                Effect::Ready(task) => drop(ready.insert((task.task, task.token))),
                Effect::Gone { task, token, .. } => drop(ready.remove(&(*task, *token))),
                _ => {}
            }
        }
        ready.into_iter().map(|(task, _)| task)
    }

    /// A task whose workers died too often fails, as it would not undisturbed.
    fn note_worn_out(&mut self, changes: &[Change]) {
        for change in changes.iter().filter(|change| TABLES.steps.has(&change.key)) {
            let row = change.new.as_deref().and_then(rows::decode::<Step>);
            let (Some(task), Some(step)) = (rows::key_of::<StepInstanceId>(&change.key), row) else { continue };
            let lost = step.error.is_some_and(|error| error.code == Code::InstanceLost);
            if step.state == StepState::Failed && lost && step.deaths.is_some() {
                let top = self.top(task.run);
                self.worn_out.insert(top);
            }
        }
    }

    fn note_ended(&mut self, changes: &[Change]) {
        for change in changes.iter().filter(|change| TABLES.runs.has(&change.key)) {
            let was = change.old.as_deref().and_then(rows::decode::<Run>).is_some_and(|run| run.status.is_terminal());
            let row = change.new.as_deref().and_then(rows::decode::<Run>);
            let (Some(run), Some(row)) = (rows::key_of::<RunId>(&change.key), row) else { continue };
            if !was && row.status.is_terminal() {
                self.ended.push(Ended { run, status: row.status, output: row.output });
            }
        }
    }

    /// A step of a long run costs as much at its end as at its beginning (law 13).
    fn note_costs(&mut self, context: &Context<'_>, changes: &[Change]) -> Checked {
        let Command::TaskComplete(report) = context.command else { return Ok(()) };
        if context.stale {
            return Ok(());
        }
        let run = report.task.run;
        let bytes = changes.iter().filter_map(|change| Some(change.key.len() + change.new.as_ref()?.len())).sum();
        let long = self.started.get(&run).is_some_and(|key| key.starts_with("long"));
        if !long {
            return Ok(());
        }
        let costs = self.costs.entry(run).or_default();
        costs.push(bytes);
        let mean = |costs: &[usize]| costs.iter().sum::<usize>() / costs.len();
        // The last completion also closes the loop and the run.
        if costs.len() == 39 {
            let (early, late) = (mean(&costs[2..10]), mean(&costs[31..39]));
            if late > early + early / 4 {
                let what = format!("a step of run {run} writes {late} bytes late, {early} bytes early");
                return Err(Violation::of(13, what));
            }
        }
        Ok(())
    }

    /// Timers that should have fired by now.
    pub(crate) fn overdue(&self, now: Time) -> Option<TimerKey> {
        let rows = self.rows();
        let first = rows::table(&rows, TABLES.timers).next().and_then(|(key, _)| rows::key_of::<TimerKey>(key));
        first.filter(|timer| timer.due < now)
    }

    /// Runs that have not ended.
    pub(crate) fn active(&self) -> Vec<RunId> {
        let rows = self.rows();
        let open = rows::table(&rows, TABLES.runs)
            .filter(|(_, row)| rows::decode::<Run>(row).is_some_and(|run| !run.status.is_terminal()));
        open.filter_map(|(key, _)| rows::key_of(key)).collect()
    }

    /// How many ballots are open.
    pub(crate) fn open_ballots(&self) -> usize {
        ballots::open(&self.rows())
    }

    /// The state of a step and the token of its current attempt.
    pub(crate) fn token(&self, task: StepInstanceId) -> Option<Token> {
        rows::step(&self.rows(), task).map(|step| step.token)
    }

    /// Whether a record with a body of this hash is in the log.
    pub(crate) fn has(&self, body: &[u8; 32]) -> bool {
        self.bodies.contains(body)
    }

    /// Whether the attempt's hand-out is recorded.
    pub(crate) fn is_taken(&self, task: StepInstanceId, token: Token) -> bool {
        rows::step(&self.rows(), task).is_some_and(|step| step.token == token && step.state == StepState::Taken)
    }

    /// The agent that is recorded as having the task's attempt, or its last one.
    pub(crate) fn recorded_agent(&self, task: StepInstanceId) -> Option<String> {
        Some(rows::step(&self.rows(), task)?.instance?.agent)
    }

    /// Some attempts that are not over, with the tokens that a worker might guess.
    pub(crate) fn guessable(&self) -> Vec<(StepInstanceId, Token)> {
        let rows = self.rows();
        let live =
            rows::table(&rows, TABLES.live).filter_map(|(key, _)| rows::key_of::<StepInstanceId>(key)).take(GUESSES);
        live.filter_map(|task| Some((task, rows::step(&rows, task)?.token))).collect()
    }

    /// Whether the attempt is one that an instance may hold now, recorded or not yet.
    pub(crate) fn is_out(&self, task: StepInstanceId, token: Token) -> bool {
        let with = |state| matches!(state, StepState::Ready | StepState::Taken);
        rows::step(&self.rows(), task).is_some_and(|step| step.token == token && with(step.state))
    }

    /// Runs with something that waits for a signal.
    pub(crate) fn waiting(&self) -> BTreeSet<RunId> {
        let rows = self.rows();
        rows::table(&rows, TABLES.waiters).filter_map(|(key, _)| Some(RunId(*key.get(1..)?.first_chunk()?))).collect()
    }

    /// Runs that are held back, with their namespaces.
    pub(crate) fn paused(&self) -> Vec<(String, RunId)> {
        let rows = self.rows();
        let held = rows::table(&rows, TABLES.runs).filter_map(|(key, row)| {
            let run = rows::decode::<Run>(row).filter(|run| run.paused && !run.status.is_terminal())?;
            Some((run.namespace, rows::key_of(key)?))
        });
        held.collect()
    }

    fn run(&self, run: RunId) -> Option<Run> {
        rows::decode(self.rows().get(&rows::key_bytes(TABLES.runs, &run))?)
    }

    /// The namespace of a run.
    pub(crate) fn namespace(&self, run: RunId) -> Option<String> {
        self.run(run).map(|run| run.namespace)
    }

    /// The run at the top of a run's tree.
    pub(crate) fn top(&self, run: RunId) -> RunId {
        let mut top = run;
        while let Some(parent) = self.run(top).and_then(|run| run.parent) {
            top = parent.run;
        }
        top
    }

    /// Whether the attempt is the current one of a task that has not ended.
    pub(crate) fn is_live(&self, task: StepInstanceId, token: Token) -> bool {
        rows::step(&self.rows(), task).is_some_and(|step| step.token == token && !step.state.is_terminal())
    }

    /// Steps that completed, of a run.
    pub(crate) fn completed(&self) -> Vec<StepInstanceId> {
        let rows = self.rows();
        let done = rows::table(&rows, TABLES.steps).filter(|(_, row)| {
            rows::decode::<Step>(row).is_some_and(|step| step.state == StepState::Completed && !step.copied)
        });
        done.filter_map(|(key, _)| rows::key_of(key)).collect()
    }

    /// Compares the rows of the product, at the same record, with these (law 4).
    pub(crate) fn compare(&self, store: &MemoryStore, when: &str) -> Checked {
        if self.tampered {
            // The injected bug is in these rows, not in the product's.
            return Ok(());
        }
        let failed = |error: Error| Violation::of(4, format!("{when}: the store cannot be read: {error}"));
        let applied = store.applied().map_err(|error| failed(error.into()))?;
        if applied != self.machine.applied() {
            let (own, at) = (self.machine.applied(), applied);
            return Err(Violation::of(4, format!("{when}: the store is at record {at}, the log at {own}")));
        }
        let theirs = dump(store).map_err(failed)?;
        let ours = self.rows();
        if theirs.len() == ours.len() && theirs.iter().zip(ours.iter()).all(|((a, x), (b, y))| a == b && x == y) {
            return Ok(());
        }
        let theirs: Rows = theirs.into_iter().collect();
        let differs = |key: &&Vec<u8>| theirs.get(*key) != ours.get(*key);
        let key = theirs.keys().chain(ours.keys()).find(differs).cloned().unwrap_or_default();
        let (a, b) = (theirs.get(&key), ours.get(&key));
        let table = TABLES.all().find(|table| table.has(&key)).map_or("unknown", |table| table.name);
        let what = format!("{when}: row {key:02x?} of table `{table}` is {a:02x?} in the store, {b:02x?} in the fold");
        Err(Violation::of(4, what))
    }

    /// Folds the whole history once more without a pause, and compares (law 4).
    pub(crate) fn check_replay(&self) -> Checked {
        let memory = Arc::new(Memory::default());
        lock(&memory.blobs).clone_from(&lock(&self.memory.blobs));
        let broken = |error: Error| Violation::of(4, format!("the log cannot be folded again: {error}"));
        let mut machine = Machine::open(Arc::clone(&memory) as Arc<dyn Backing>, Seq::ZERO).map_err(broken)?;
        for record in &self.history {
            let command = Command::decode(&record.body).map_err(broken)?;
            machine.apply(machine.applied().next(), record.time, &command).map_err(broken)?;
        }
        let store = MemoryStore::new();
        let taken = machine.take();
        let changes = taken.changes.encode();
        let batch = Batch { puts: changes.puts, deletes: changes.deletes, applied: taken.applied };
        store.write(batch).map_err(|error| broken(error.into()))?;
        self.compare(&store, "folded in one go")
    }

    /// Every event was acknowledged and acted on.
    pub(crate) fn check_events(&self) -> Checked {
        self.bus.finish()
    }

    /// Of a run that was deleted nothing is left, and of those that have ended nothing is pending.
    pub(crate) fn check_deleted(&self) -> Checked {
        let rows = self.rows();
        let known = |run: &RunId| rows.contains_key(&rows::key_bytes(TABLES.runs, run));
        for table in TABLES.all().filter(|table| table.until().is_some_and(|until| until != Until::Due)) {
            let runs = rows::table(&rows, table).filter_map(|(key, _)| table.run_of(key));
            if let Some(run) = runs.into_iter().find(|run| !known(run)) {
                let what = format!("run {run} was deleted, but table `{}` has a row of it", table.name);
                return Err(Violation::of(7, what));
            }
        }
        rows::check_counts(&rows)?;
        bus::check_rows(&rows)?;
        drop(rows);
        self.check_idle()
    }

    /// Where no run is active, the tables of what is pending are empty.
    fn check_idle(&self) -> Checked {
        if !self.active().is_empty() {
            return Ok(());
        }
        let rows = self.rows();
        let pending = |table: &TableSpec| matches!(table.until(), Some(Until::Ended | Until::Idle));
        for table in TABLES.all().filter(pending) {
            if let Some((key, _)) = rows::table(&rows, table).next() {
                let (name, run) = (table.name, table.run_of(key));
                return Err(Violation::of(7, format!("no run is active, but table `{name}` has a row of run {run:?}")));
            }
        }
        Ok(())
    }

    /// The bytes of a payload, as text.
    pub(crate) fn text(&self, payload: &Payload) -> Result<String> {
        let bytes = self.machine.payload_bytes(payload)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| Error::new(Code::BadJson, "a payload is not UTF-8"))
    }
}

/// Every row of a store.
pub(crate) fn dump(store: &MemoryStore) -> Result<Vec<Row>> {
    Ok(store.scan(&[0], &[0xff; 64], usize::MAX)?)
}

/// Other runs wait for a record as long as it takes, so its work is bounded.
fn check_units(seq: Seq, applied: &Applied) -> Checked {
    let (units, max) = (applied.units, Applied::UNITS_MAX);
    if units <= max {
        return Ok(());
    }
    Err(Violation::of(13, format!("record {seq} did {units} units of work, the bound is {max}")))
}
