//! One record being applied: the machine, the record's place and time, and what follows from it.
//!
//! For: the small operations that commands and run rules are made of. Not for: the rules.
//! Invariant: work that follows from a record is done in a fixed order from a queue, never by recursion, so
//! neither the depth of a run nor its width can overflow the stack; what is too much for one record is left to a
//! later one (see `run::later`).

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use consort_types::{Code, Error, Payload, Result, RunId, Seq, TaskId, Time, limits};
use consort_workflow::Definition;
use serde_json::Value;

use crate::{
    cache::Document,
    effect::Effect,
    keys::{JournalKey, ScopeKey, TimerKey, TimerKind},
    machine::Machine,
    rows::{BlobUse, Entry, Event, Mark, Run, RunStatus, Scope, Step, StepState},
};

/// How a step instance ended.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Completed(Payload),
    Failed(Error),
    Skipped { error: Option<Error>, tainted: bool },
    Cancelled(Error),
}

/// What is still to be done for the record.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// All that the instance needs has ended: decide whether it runs.
    Consider(TaskId),
    /// Begin the instance.
    Begin(TaskId),
    /// The instance has ended.
    Finish(TaskId, Outcome),
    /// The workflow's own block had closed, and the last run below it has ended.
    Close(ScopeKey),
    /// Start what may start now in a scope of items, iterations or compensations, or close it.
    Advance(ScopeKey),
    /// Cancel a run that a step has started.
    Cancel { run: RunId, reason: String, force: bool },
    /// Pause or resume a run that a step has started.
    Pause { run: RunId, paused: bool },
    /// Go on with what the run had left to a later record.
    GoOn(RunId),
}

/// Bytes of a document whose reading or writing costs as much as a unit of an expression.
const BYTES_PER_COST: usize = 16;
/// Documents shorter than this are read for nothing.
const FREE_DOCUMENT_BYTES: u64 = 4 * 1024;

pub(crate) struct Fold<'a> {
    pub(crate) machine: &'a mut Machine,
    pub(crate) seq: Seq,
    pub(crate) now: Time,
    effects: Vec<Effect>,
    /// Ends go before all other work, so that what they free is known before more is begun.
    ends: VecDeque<(TaskId, Outcome)>,
    work: VecDeque<Work>,
    /// Scopes that are in the queue to go on.
    advancing: BTreeSet<ScopeKey>,
    units: usize,
    cost: u64,
    /// Long documents that this record has paid for.
    read: BTreeSet<Document>,
    journaled: u32,
    changed: BTreeSet<RunId>,
}

impl<'a> Fold<'a> {
    pub(crate) fn new(machine: &'a mut Machine, seq: Seq, now: Time) -> Self {
        Self {
            machine,
            seq,
            now,
            effects: Vec::new(),
            ends: VecDeque::new(),
            work: VecDeque::new(),
            advancing: BTreeSet::new(),
            units: 0,
            cost: 0,
            read: BTreeSet::new(),
            journaled: 0,
            changed: BTreeSet::new(),
        }
    }

    /// A refusal changes nothing.
    pub(crate) fn assert_untouched(&self) {
        let untouched = self.effects.is_empty() && self.ends.is_empty() && self.work.is_empty() && self.journaled == 0;
        assert!(untouched, "a refused command has changed something");
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(crate) fn work(&mut self, work: Work) {
        match work {
            Work::Finish(task, outcome) => self.ends.push_back((task, outcome)),
            Work::Advance(key) if !self.advancing.insert(key) => {}
            work => self.work.push_back(work),
        }
    }

    /// Does everything that follows from the record, or leaves it to a later one.
    pub(crate) fn settle(&mut self) -> Result<()> {
        self.settle_ends()?;
        while let Some(work) = self.work.pop_front() {
            self.units += 1;
            if let Work::Advance(key) = &work {
                self.advancing.remove(key);
            }
            if self.must_wait(&work)? {
                self.leave(&work)?;
                continue;
            }
            match work {
                Work::Consider(task) => self.consider(task)?,
                Work::Begin(task) => self.begin(task)?,
                Work::Finish(task, outcome) => self.finish(task, outcome)?,
                Work::Close(root) => self.root_closed(root)?,
                Work::Advance(scope) => self.advance(scope)?,
                Work::Cancel { run, reason, force } => self.cancel_child(run, &reason, force)?,
                Work::Pause { run, paused } => self.pause_run(run, paused)?,
                Work::GoOn(run) => self.go_on(run)?,
            }
            self.settle_ends()?;
        }
        Ok(())
    }

    /// Ends everything whose end is decided.
    pub(crate) fn settle_ends(&mut self) -> Result<()> {
        while let Some((task, outcome)) = self.ends.pop_front() {
            self.units += 1;
            self.finish(task, outcome)?;
        }
        Ok(())
    }

    /// Whether what can wait should be left to the next record: this one has done its units of work, or its
    /// expressions and documents have cost as much as one evaluation may.
    pub(crate) fn is_long(&self) -> bool {
        self.units >= self.machine.units_max || self.cost >= self.machine.cost_max
    }

    /// How much more may be put in the queue for this record.
    pub(crate) fn room(&self) -> usize {
        if self.is_long() { 0 } else { self.machine.units_max.saturating_sub(self.units + self.work.len()) }
    }

    /// How many rows to read at once where work goes over many.
    pub(crate) fn page(&self) -> usize {
        const PAGE: usize = 128;
        self.machine.units_max.saturating_sub(self.units).clamp(1, PAGE)
    }

    /// Counts work that is not an item of the queue.
    pub(crate) fn charge(&mut self, units: usize) {
        self.units += units;
    }

    /// Counts what an evaluation has cost.
    pub(crate) fn charge_cost(&mut self, cost: u64) {
        self.cost += cost;
    }

    /// Counts a document that is written or copied.
    pub(crate) fn charge_bytes(&mut self, bytes: usize) {
        self.cost += (bytes / BYTES_PER_COST) as u64;
    }

    /// Units of work done for the record.
    pub(crate) fn units(&self) -> usize {
        self.units
    }

    pub(crate) fn into_effects(mut self) -> Vec<Effect> {
        let seq = self.seq;
        self.effects.extend(self.changed.into_iter().map(|run| Effect::Changed { run, seq }));
        self.effects
    }

    // Rows.

    /// The run, unless there is none or it was deleted.
    pub(crate) fn run(&mut self, id: RunId) -> Result<Run> {
        match self.machine.tables.runs.get(&id)? {
            Some(run) if run.status != RunStatus::Deleted => Ok(run),
            _ => Err(Error::new(Code::RunNotFound, format!("there is no run `{id}`"))
                .hint("`consort runs list` shows the runs; an ended one may have been deleted by its retention")),
        }
    }

    /// The run in this namespace: another namespace's runs do not exist for it.
    pub(crate) fn run_in(&mut self, namespace: &str, id: RunId) -> Result<Run> {
        let run = self.run(id)?;
        if run.namespace == namespace { Ok(run) } else { Err(not_in(namespace, id)) }
    }

    pub(crate) fn put_run(&mut self, id: RunId, mut run: Run) {
        run.changed = self.seq;
        self.changed.insert(id);
        self.machine.tables.runs.put(id, run);
    }

    pub(crate) fn step(&mut self, task: TaskId) -> Result<Option<Step>> {
        self.machine.tables.steps.get(&task)
    }

    /// A step instance that must be there: a missing one means that rows were lost.
    pub(crate) fn known_step(&mut self, task: TaskId) -> Result<Step> {
        self.step(task)?.ok_or_else(|| missing("step", &task))
    }

    pub(crate) fn put_step(&mut self, task: TaskId, step: Step) {
        self.changed.insert(task.run);
        self.machine.tables.steps.put(task, step);
    }

    pub(crate) fn scope(&mut self, key: ScopeKey) -> Result<Scope> {
        let found = self.machine.tables.scopes.get(&key)?;
        found.ok_or_else(|| missing("scope", &format_args!("{}.{}", key.run, key.scope)))
    }

    /// A scope, shared: for looking only.
    pub(crate) fn look_scope(&mut self, key: ScopeKey) -> Result<Arc<Scope>> {
        let found = self.machine.tables.scopes.look(&key)?;
        found.ok_or_else(|| missing("scope", &format_args!("{}.{}", key.run, key.scope)))
    }

    pub(crate) fn put_scope(&mut self, key: ScopeKey, scope: Scope) {
        self.machine.tables.scopes.put(key, scope);
    }

    pub(crate) fn definition(&mut self, run: &Run) -> Result<Arc<Definition>> {
        self.machine.definition(run.hash)
    }

    // State of a step instance, with the counts that follow from it.

    /// Moves an instance to another state. Terminal states are final (law 7).
    pub(crate) fn set_state(&mut self, task: TaskId, step: &mut Step, state: StepState) {
        assert!(!step.state.is_terminal(), "step {task} has ended as {:?} and cannot become {state:?}", step.state);
        let is_task = step.attempt > 0;
        if is_task {
            let was_counted = step.state != StepState::Pending;
            self.count(step.state, was_counted, state);
        }
        let live = |state: StepState| !state.is_terminal() && state != StepState::Pending;
        match (live(step.state), live(state)) {
            (false, true) => self.machine.tables.live.insert_new(task, Mark),
            (true, false) => self.machine.tables.live.delete(&task),
            _ => {}
        }
        step.state = state;
    }

    fn count(&mut self, from: StepState, counted: bool, to: StepState) {
        let tasks = &mut self.machine.meta.tasks;
        match from {
            _ if !counted => tasks.made += 1,
            StepState::Taken => tasks.taken -= 1,
            _ => tasks.waiting -= 1,
        }
        match to {
            StepState::Taken => tasks.taken += 1,
            StepState::Completed => tasks.done += 1,
            StepState::Failed | StepState::Cancelled | StepState::Skipped => tasks.dead += 1,
            _ => tasks.waiting += 1,
        }
    }

    // Journal, timers, blobs.

    pub(crate) fn journal(&mut self, run: RunId, step: Option<TaskId>, event: Event) {
        let key = JournalKey { run, seq: self.seq, n: self.journaled };
        self.journaled += 1;
        self.changed.insert(run);
        let entry = Entry { time: self.now, event, step: step.map(|task| (task.scope, task.index)) };
        self.machine.tables.journal.insert_new(key, entry);
    }

    /// A number that no other call for this record gets.
    pub(crate) fn next_ordinal(&mut self) -> u32 {
        self.journaled += 1;
        self.journaled
    }

    pub(crate) fn arm(&mut self, due: Time, task: TaskId, kind: TimerKind, entry: u32) {
        let timer = TimerKey { due, task, kind, entry };
        self.machine.timer_armed(timer);
        self.machine.tables.timers.put(timer, Mark);
    }

    pub(crate) fn disarm(&mut self, due: Option<Time>, task: TaskId, kind: TimerKind) {
        if let Some(due) = due {
            let timer = TimerKey { due, task, kind, entry: 0 };
            self.machine.timer_gone(timer);
            self.machine.tables.timers.delete(&timer);
        }
    }

    /// Counts one more row that refers to the payload, where it is a blob.
    pub(crate) fn retain(&mut self, payload: &Payload) -> Result<()> {
        if let Payload::Blob { hash, .. } = payload {
            let rows = self.machine.tables.blobs.get(hash)?.unwrap_or_default().rows + 1;
            self.machine.tables.blobs.put(*hash, BlobUse { rows });
        }
        Ok(())
    }

    /// Counts one row less that refers to the payload, where it is a blob.
    pub(crate) fn release(&mut self, payload: &Payload) -> Result<()> {
        let Payload::Blob { hash, .. } = payload else { return Ok(()) };
        let rows = self.machine.tables.blobs.get(hash)?.unwrap_or_default().rows;
        assert!(rows > 0, "blob {hash} is released more often than it was retained");
        if rows > 1 {
            self.machine.tables.blobs.put(*hash, BlobUse { rows: rows - 1 });
        } else {
            self.machine.tables.blobs.delete(hash);
            self.effect(Effect::BlobUnused(*hash));
        }
        Ok(())
    }

    // Documents.

    /// The document of a payload, parsed; large ones are kept parsed for a while.
    pub(crate) fn document(&mut self, of: Document, payload: &Payload) -> Result<Arc<Value>> {
        const WORTH_KEEPING_BYTES: u64 = 512;
        let key = if let Payload::Blob { hash, .. } = payload { Document::Blob(*hash) } else { of };
        let keep = payload.len() >= WORTH_KEEPING_BYTES;
        // Counted once in a record, whether it is in the cache or not: what a record does must not depend on that.
        if payload.len() >= FREE_DOCUMENT_BYTES && self.read.insert(key) {
            self.charge_bytes(payload.len() as usize);
        }
        if keep && let Some(value) = self.machine.documents.get(&key, of.run()) {
            return Ok(value);
        }
        let bytes = self.machine.payload_bytes(payload)?;
        let value: Value = serde_json::from_slice(&bytes)
            .map_err(|error| Error::new(Code::Damaged, format!("a stored payload is not JSON: {error}")))?;
        let value = Arc::new(value);
        if keep {
            self.machine.documents.put(key, &value, bytes.len(), of.run());
        }
        Ok(value)
    }

    /// Keeps a value as a payload, and counts the row that will refer to it.
    pub(crate) fn keep(&mut self, what: &str, bytes: Vec<u8>) -> Result<Payload> {
        let max = limits::PAYLOAD_BYTES_MAX;
        if bytes.len() > max {
            let message = format!("the {what} has {} bytes, the limit is {max}", bytes.len());
            return Err(Error::new(Code::PayloadTooLarge, message).hint("pass a reference instead of the document"));
        }
        self.charge_bytes(bytes.len());
        let payload = self.machine.keep(bytes);
        self.retain(&payload)?;
        Ok(payload)
    }
}

fn not_in(namespace: &str, id: RunId) -> Error {
    Error::new(Code::RunNotFound, format!("there is no run `{id}` in namespace `{namespace}`"))
        .hint("`consort runs list` shows the runs of a namespace")
}

pub(crate) fn missing(what: &str, id: &dyn std::fmt::Display) -> Error {
    Error::new(Code::Damaged, format!("the row of {what} `{id}` is missing"))
        .hint("restore the store from a backup, or fold the log again")
}
