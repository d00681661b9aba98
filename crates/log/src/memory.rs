//! The log as a list in memory: the model that the others are compared with.
//!
//! For: tests, the simulator, and property tests of real logs. Not for: keeping anything past the process.
//! Invariant: whatever fault is set, an acknowledged group is still there after [`MemoryLogDisk::crash`].

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use consort_types::Seq;

use crate::{Log, LogError, Record, Records, frame};

/// What outlives a crash of the process: open a [`MemoryLog`] on it, crash it, open it again.
///
/// Every fault is set by the caller; nothing here is left to chance.
#[derive(Clone, Debug, Default)]
pub struct MemoryLogDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Records that were trimmed away.
    trimmed: u64,
    /// Acknowledged records.
    durable: VecDeque<Record>,
    /// The group whose append failed, of which a part may turn out to be durable.
    in_doubt: Vec<Record>,
    /// The damaged records.
    damaged: Vec<Seq>,
    /// Appends until one fails: 1 is the next.
    fail_in: Option<u64>,
    /// Counts crashes: a log opened before one is dead.
    generation: u64,
    /// Whether a log is open.
    open: bool,
}

impl State {
    fn last(&self) -> Seq {
        Seq(self.trimmed + self.durable.len() as u64)
    }
}

impl MemoryLogDisk {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked elsewhere must not hide its message behind a second panic here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the log; refused while another one is open.
    pub fn open(&self) -> Result<MemoryLog, LogError> {
        let mut state = self.state();
        if state.open {
            return Err(LogError::Locked { holder: "this process".to_owned() });
        }
        state.open = true;
        let survivors = std::mem::take(&mut state.in_doubt);
        state.durable.extend(survivors);
        Ok(MemoryLog { disk: self.clone(), generation: state.generation, poisoned: None, bytes_written: 0 })
    }

    /// Ends the process that has the log open. Of a group whose append failed either everything survives or
    /// nothing, as the caller decides: a group is never kept in part.
    pub fn crash(&self, keep_in_doubt: bool) {
        let mut state = self.state();
        state.generation += 1;
        state.open = false;
        if !keep_in_doubt {
            state.in_doubt.clear();
        }
    }

    /// Lets the `n`-th append from now fail (1 is the next one); the log is poisoned by it.
    pub fn fail_append(&self, n: u64) {
        assert!(n > 0, "appends are counted from 1");
        self.state().fail_in = Some(n);
    }

    /// Damages a stored record: reading it is [`LogError::Damaged`] from now on.
    pub fn damage(&self, seq: Seq) {
        self.state().damaged.push(seq);
    }
}

/// A log in memory.
#[derive(Debug)]
pub struct MemoryLog {
    disk: MemoryLogDisk,
    generation: u64,
    poisoned: Option<String>,
    bytes_written: u64,
}

impl MemoryLog {
    /// A log that is forgotten with the object.
    pub fn new() -> Self {
        let disk = MemoryLogDisk::new();
        Self { disk, generation: 0, poisoned: None, bytes_written: 0 }
    }

    fn check_alive(&self, state: &State) -> Result<(), LogError> {
        if state.generation != self.generation {
            return Err(LogError::Poisoned { why: "the process has crashed".to_owned() });
        }
        self.poisoned.as_ref().map_or(Ok(()), |why| Err(LogError::Poisoned { why: why.clone() }))
    }
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for MemoryLog {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.generation == self.generation {
            state.open = false;
        }
    }
}

impl Log for MemoryLog {
    fn append(&mut self, group: &[Record]) -> Result<Seq, LogError> {
        let bytes = frame::check_group(group)?;
        let disk = self.disk.clone();
        let mut state = disk.state();
        self.check_alive(&state)?;
        state.fail_in = state.fail_in.map(|n| n - 1);
        if state.fail_in == Some(0) {
            state.fail_in = None;
            state.in_doubt = group.to_vec();
            let why = "a planned failure of the sync".to_owned();
            self.poisoned = Some(why.clone());
            return Err(LogError::Poisoned { why });
        }
        state.durable.extend(group.iter().cloned());
        self.bytes_written += bytes;
        Ok(state.last())
    }

    fn read(&self, from: Seq) -> Records<'_> {
        let first = self.first();
        if from.max(Seq(1)) < first {
            return Box::new(std::iter::once(Err(LogError::Trimmed { first })));
        }
        let (disk, end) = (self.disk.clone(), self.last());
        let mut next = Some(from.max(Seq(1)));
        Box::new(std::iter::from_fn(move || {
            let seq = next.filter(|seq| *seq <= end)?;
            let state = disk.state();
            if state.damaged.contains(&seq) {
                next = None;
                return Some(Err(LogError::damaged("memory", seq.0, "a planned damage")));
            }
            next = Some(seq.next());
            let index = usize::try_from(seq.0.checked_sub(state.trimmed + 1)?).ok()?;
            state.durable.get(index).map(|record| Ok((seq, record.clone())))
        }))
    }

    fn first(&self) -> Seq {
        Seq(self.disk.state().trimmed + 1)
    }

    fn last(&self) -> Seq {
        self.disk.state().last()
    }

    fn trim(&mut self, before: Seq) -> Result<(), LogError> {
        let mut state = self.disk.state();
        self.check_alive(&state)?;
        let before = before.min(state.last().next());
        while state.trimmed + 1 < before.0 {
            state.durable.pop_front();
            state.trimmed += 1;
        }
        Ok(())
    }

    fn bytes_written(&self) -> u64 {
        self.bytes_written
    }
}
