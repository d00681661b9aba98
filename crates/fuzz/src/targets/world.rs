//! A partition for targets: the machine, its rows, its log, and its assignments.
//!
//! For: sending commands as the engine does, and checking the laws afterwards. Not for: choosing commands.
//! Invariant: what recovery would find is what was assigned, after every record.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use consort_core::{Applied, Backing, Command, Effect, LiveTask, Machine, Reply, view};
use consort_types::{BlobHash, Code, Error, Result, RunId, Seq, StepInstanceId, Time, Token};

/// The namespace of most commands.
pub(super) const NAMESPACE: &str = "default";
/// Items of a page in checks.
const PAGE: usize = 1_000;
/// Runs that are checked one by one.
const RUNS_LOOKED_AT_MAX: usize = 300;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Default)]
pub(super) struct Memory {
    rows: Mutex<Rows>,
    blobs: Mutex<BTreeMap<BlobHash, Vec<u8>>>,
}

impl Memory {
    fn write(&self, machine: &mut Machine) {
        let taken = machine.take();
        let fresh = taken.blobs.into_iter().map(|(hash, bytes)| (hash, bytes.to_vec()));
        lock(&self.blobs).extend(fresh);
        let mut rows = lock(&self.rows);
        let changes = taken.changes.encode();
        rows.extend(changes.puts);
        for key in &changes.deletes {
            rows.remove(key);
        }
        drop(rows);
        machine.written(taken.generation);
    }
}

/// A panic of an input leaves the lock of its own memory behind, which is never taken again.
fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Backing for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(lock(&self.rows).get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        assert!(from <= to, "a scan goes forward");
        let rows = lock(&self.rows);
        Ok(rows.range(from.to_vec()..to.to_vec()).take(limit).map(|(key, row)| (key.clone(), row.clone())).collect())
    }

    fn blob(&self, hash: &BlobHash) -> Result<Option<Vec<u8>>> {
        Ok(lock(&self.blobs).get(hash).cloned())
    }
}

/// Whether each command is printed: `CONSORT_FUZZ_SHOW=1`, for looking at a finding.
fn shown() -> bool {
    static SHOWN: OnceLock<bool> = OnceLock::new();
    *SHOWN.get_or_init(|| std::env::var_os("CONSORT_FUZZ_SHOW").is_some())
}

/// A partition.
pub(super) struct World {
    pub(super) machine: Machine,
    memory: Arc<Memory>,
    log: Vec<(Time, Command)>,
    pub(super) now: Time,
    /// What is assigned, or waits to be.
    pub(super) open: BTreeMap<StepInstanceId, Token>,
    /// Every attempt that there ever was.
    pub(super) attempts: Vec<(StepInstanceId, Token)>,
    pub(super) runs: Vec<RunId>,
    known: BTreeSet<RunId>,
    /// How commands ended: their number and the code of the refusal, 0 for none.
    pub(super) outcomes: Vec<(u8, u16)>,
}

impl World {
    pub(super) fn new() -> Self {
        let memory = Arc::new(Memory::default());
        let machine = Machine::open(memory.clone(), Seq::ZERO).expect("a new partition opens");
        Self {
            machine,
            memory,
            log: Vec::new(),
            now: Time(1_000_000_000),
            open: BTreeMap::new(),
            attempts: Vec::new(),
            runs: Vec::new(),
            known: BTreeSet::new(),
            outcomes: Vec::new(),
        }
    }

    /// Puts a blob where the engine puts it before the command that names it.
    pub(super) fn add_blob(&self, bytes: &[u8]) -> BlobHash {
        let hash = BlobHash::of(bytes);
        lock(&self.memory.blobs).insert(hash, bytes.to_vec());
        hash
    }

    /// An id that no run has.
    pub(super) fn new_run(&self) -> RunId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&(self.log.len() as u64 + 1).to_be_bytes());
        RunId(id)
    }

    /// Applies a command as the log would: through its encoding. `None` where the partition halts.
    pub(super) fn apply(&mut self, command: &Command) -> Option<Result<Reply>> {
        let bytes = command.encode();
        let decoded = Command::decode(&bytes).expect("what was written is read back");
        assert_eq!(decoded.encode(), bytes, "a command has one form");
        let seq = self.machine.applied().next();
        if shown() {
            eprintln!("{seq} at {}: {decoded:?}", self.now);
        }
        let begun = std::time::Instant::now();
        let Applied { reply, effects, .. } = match self.machine.apply(seq, self.now, &decoded) {
            Ok(applied) => applied,
            Err(error) => {
                assert_eq!(error.code, Code::Damaged, "the partition halts: {error} on {command:?}");
                return None;
            }
        };
        if shown() {
            eprintln!("  after {:?}, {} effects: {reply:?}", begun.elapsed(), effects.len());
        }
        self.log.push((self.now, decoded));
        self.note(&effects);
        if let Ok(Reply::Run { run, existing: false }) = &reply {
            self.know(*run);
        }
        let code = reply.as_ref().map_or_else(|error: &Error| error.code.number(), |_| 0);
        self.outcomes.push((bytes.get(1).copied().unwrap_or_default(), code));
        if self.log.len().is_multiple_of(5) {
            self.memory.write(&mut self.machine);
        }
        Some(reply)
    }

    fn note(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Ready(ready) => {
                    self.attempts.push((ready.task, ready.token));
                    self.open.insert(ready.task, ready.token);
                }
                Effect::Gone { task, token, .. } if self.open.get(task) == Some(token) => {
                    self.open.remove(task);
                }
                Effect::Changed { run, .. } => self.know(*run),
                _ => {}
            }
        }
    }

    fn know(&mut self, run: RunId) {
        if self.known.insert(run) {
            self.runs.push(run);
        }
    }

    /// The laws that hold after any sequence of commands.
    pub(super) fn verify(&mut self) {
        self.verify_open();
        self.memory.write(&mut self.machine);
        let rows = lock(&self.memory.rows).clone();
        let half = self.log.len() / 2;
        assert!(self.folded(half) == rows, "replay with a snapshot at {half} gives other rows (law 4)");
        for run in self.runs.iter().take(RUNS_LOOKED_AT_MAX).copied().collect::<Vec<_>>() {
            self.verify_run(run);
        }
    }

    fn folded(&self, snapshot: usize) -> Rows {
        let memory = Arc::new(Memory::default());
        lock(&memory.blobs).extend(lock(&self.memory.blobs).clone());
        let mut machine = Machine::open(memory.clone(), Seq::ZERO).expect("a new partition opens");
        for (at, (time, command)) in self.log.iter().enumerate() {
            if at == snapshot {
                memory.write(&mut machine);
                machine = Machine::open(memory.clone(), machine.applied()).expect("a snapshot opens");
            }
            machine.apply(machine.applied().next(), *time, command).expect("what was applied is applied again");
        }
        memory.write(&mut machine);
        lock(&memory.rows).clone()
    }

    fn verify_open(&mut self) {
        let (live, _) = self.machine.live_tasks(None, 100_000).expect("live tasks can be read");
        let found = live.into_iter().map(|task| match task {
            LiveTask::Ready(task) | LiveTask::Taken { task, .. } => (task.task, task.token),
        });
        let found: BTreeMap<StepInstanceId, Token> = found.collect();
        assert_eq!(found, self.open, "recovery finds other tasks than were assigned");
        for task in found.keys() {
            self.machine.offer(*task).expect("an open task can be offered");
        }
    }

    fn verify_run(&mut self, run: RunId) {
        let Ok(journal) = self.machine.journal(NAMESPACE, run, None, PAGE) else { return };
        let steps = self.machine.steps(NAMESPACE, run, None, PAGE).expect("steps can be read");
        self.machine.run_tree(NAMESPACE, run).expect("a tree can be drawn");
        if journal.len() < PAGE && steps.next.is_none() {
            let told = view::replay(run, &journal, &steps.items);
            assert!(told.differences.is_empty(), "journal and state differ: {:?}", told.differences);
        }
    }

    /// Whether every run is over, and no task is assigned.
    pub(super) fn is_over(&mut self) -> bool {
        self.open.is_empty() && self.machine.run_counts().0 == 0
    }

    /// What the commands led to, in a few numbers.
    pub(super) fn trace(&self) -> u64 {
        let mut outcomes = self.outcomes.clone();
        outcomes.sort_unstable();
        outcomes.dedup();
        super::trace(outcomes)
    }

    /// Every stored row.
    pub(super) fn rows(&mut self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.memory.write(&mut self.machine);
        lock(&self.memory.rows).clone().into_iter().collect()
    }
}
