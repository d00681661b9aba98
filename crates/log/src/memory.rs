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

/// Groups that a far log has in flight at once.
const FAR_DEPTH: usize = 4;

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
    /// Counts crashes and take-overs: a log opened before one refuses everything.
    generation: u64,
    /// The generation of the newest opening: earlier ones are fenced.
    fence: u64,
    /// Groups that were submitted and are neither durable nor refused, with the generation that sent them.
    in_flight: VecDeque<(u64, Vec<Record>)>,
    /// Whether submitted groups stay in flight until [`MemoryLogDisk::arrive`].
    far: bool,
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
        Ok(self.begin(&mut state))
    }

    fn begin(&self, state: &mut State) -> MemoryLog {
        state.open = true;
        state.fence = state.generation;
        let survivors = std::mem::take(&mut state.in_doubt);
        state.durable.extend(survivors);
        MemoryLog::of(self.clone(), state)
    }

    /// Opens the log while another opening may still use it, as a log does that several processes can reach: the other
    /// one is fenced from now on, and so are its groups in flight.
    pub fn take_over(&self) -> MemoryLog {
        let mut state = self.state();
        state.generation += 1;
        self.begin(&mut state)
    }

    /// Makes the log far: a submitted group stays in flight until [`MemoryLogDisk::arrive`].
    pub fn set_far(&self) {
        self.state().far = true;
    }

    /// The first group in flight arrives: it becomes durable, unless its opening was fenced meanwhile. Whether there
    /// was one, and it was appended.
    pub fn arrive(&self) -> bool {
        let mut state = self.state();
        let Some((generation, group)) = state.in_flight.pop_front() else { return false };
        let taken = generation >= state.fence;
        if taken {
            state.durable.extend(group);
        }
        taken
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
    /// The last record that was submitted.
    submitted: Seq,
    poisoned: Option<String>,
    bytes_written: u64,
}

impl MemoryLog {
    /// A log that is forgotten with the object.
    pub fn new() -> Self {
        let disk = MemoryLogDisk::new();
        Self::of(disk.clone(), &disk.state())
    }

    fn of(disk: MemoryLogDisk, state: &State) -> Self {
        Self { disk, generation: state.generation, submitted: state.last(), poisoned: None, bytes_written: 0 }
    }

    fn check_alive(&self, state: &State) -> Result<(), LogError> {
        if self.generation < state.fence {
            return Err(LogError::Fenced { epoch: self.generation, newest: state.generation });
        }
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
        self.submitted = state.last();
        Ok(self.submitted)
    }

    fn submit(&mut self, group: &[Record]) -> Result<Seq, LogError> {
        let disk = self.disk.clone();
        let mut state = disk.state();
        if !state.far {
            drop(state);
            return self.append(group);
        }
        self.check_alive(&state)?;
        self.bytes_written += frame::check_group(group)?;
        state.in_flight.push_back((self.generation, group.to_vec()));
        self.submitted = Seq(self.submitted.0 + group.len() as u64);
        Ok(self.submitted)
    }

    fn poll(&mut self) -> Result<Seq, LogError> {
        self.check_alive(&self.disk.state())?;
        Ok(self.last())
    }

    fn wait(&mut self) -> Result<Seq, LogError> {
        while self.last() < self.submitted {
            self.check_alive(&self.disk.state())?;
            self.disk.arrive();
        }
        self.poll()
    }

    fn depth(&self) -> usize {
        if self.disk.state().far { FAR_DEPTH } else { 1 }
    }

    fn epoch(&self) -> u64 {
        self.generation
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
