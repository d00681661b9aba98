//! The machine: applies records one by one.
//!
//! For: the door to the core: `apply`, the changes to write, and what recovery needs. Not for: the rules
//! themselves (`command` and `run`).
//! Invariant: records are applied in order, without gaps, and log time never goes back.

use std::{collections::BTreeMap, sync::Arc};

use consort_types::{
    BlobHash, Code, Error, Payload, Result, RunId, Seq, Span, TaskId, Time, Token, WorkerInstance, limits,
    worker::TaskOffer,
};
use consort_workflow::{CompiledWorkflow, Definition};

use crate::{
    cache::{Cache, Documents},
    command::{Command, Reply},
    effect::{Effect, LiveTask},
    fold::{Fold, missing},
    keys::{NamedKey, TimerKey},
    next_timer::NextTimer,
    rows::{Meta, StepState},
    run::LateReport,
    state::Tables,
    tables::{Backing, Changes},
};

/// Bytes of parsed documents that are kept.
const DOCUMENT_CACHE_BYTES: usize = 24 * 1024 * 1024;
/// Bytes of parsed documents that are too large for that and are kept while their runs go on; one of them is kept
/// whatever it takes.
const LARGE_DOCUMENTS_BYTES: usize = 256 * 1024 * 1024;
/// Bytes of evaluated inputs that wait for hand-out.
const INPUT_CACHE_BYTES: usize = 24 * 1024 * 1024;
/// Bytes of normal forms whose definitions are kept (a definition weighs some ten times its normal form).
const DEFINITION_CACHE_BYTES: usize = 4 * 1024 * 1024;

/// What applying a record gave.
#[derive(Debug)]
pub struct Applied {
    /// The answer to the command: a reply, or a refusal that changed nothing.
    pub reply: Result<Reply>,
    /// What the shell is to do.
    pub effects: Vec<Effect>,
    /// Units of work done: see [`Applied::UNITS_MAX`].
    pub units: usize,
}

impl Applied {
    /// Units of work of one record at most. A record stops at [`limits::WORK_PER_RECORD_MAX`], and finishes what it has
    /// begun then: at worst the opening of a block, or the join of a fan-out, where 32 outputs count as one unit. (Only
    /// the list of what is to be compensated is made in one pass over all steps of a run, whatever their number.)
    pub const UNITS_MAX: usize = 2 * limits::WORK_PER_RECORD_MAX;
}

/// Rows to write to the store.
#[derive(Debug)]
pub struct Taken {
    /// To be given back to [`Machine::written`].
    pub generation: u64,
    /// The rows hold every record up to this one.
    pub applied: Seq,
    /// The rows.
    pub changes: Changes,
    /// Blobs that the rows refer to; they must be written before the rows.
    pub blobs: Vec<(BlobHash, Arc<[u8]>)>,
}

/// The state of a partition and the rules that change it.
pub struct Machine {
    pub(crate) tables: Tables,
    pub(crate) meta: Meta,
    pub(crate) backing: Arc<dyn Backing>,
    pub(crate) documents: Documents,
    pub(crate) inputs: Cache<(TaskId, Token), Payload>,
    definitions: Cache<BlobHash, Arc<Definition>>,
    /// Blobs made by the machine that are not in the backing yet, with the generation that carries them.
    new_blobs: BTreeMap<BlobHash, (Arc<[u8]>, u64)>,
    generation: u64,
    applied: Seq,
    pub(crate) units_max: usize,
    pub(crate) cost_max: u64,
    pub(crate) descendants_max: u32,
    pub(crate) next_timer: NextTimer,
    /// Blobs made since the machine was opened.
    pub(crate) blobs_made: u64,
}

impl Machine {
    /// The machine whose rows are in `backing`, at the record `applied`.
    pub fn open(backing: Arc<dyn Backing>, applied: Seq) -> Result<Self> {
        let mut tables = Tables::new(&backing);
        let meta = tables.read_meta()?;
        let next_timer = NextTimer::From(TimerKey::at(meta.timers_from));
        Ok(Self {
            tables,
            meta,
            backing,
            documents: Documents::new(DOCUMENT_CACHE_BYTES, LARGE_DOCUMENTS_BYTES),
            inputs: Cache::new(INPUT_CACHE_BYTES),
            definitions: Cache::new(DEFINITION_CACHE_BYTES),
            new_blobs: BTreeMap::new(),
            generation: 1,
            applied,
            units_max: limits::WORK_PER_RECORD_MAX,
            cost_max: limits::EXPRESSION_COST_MAX,
            descendants_max: limits::RUN_DESCENDANTS_MAX,
            next_timer,
            blobs_made: 0,
        })
    }

    /// Lets a record do less than [`limits::WORK_PER_RECORD_MAX`] and [`limits::EXPRESSION_COST_MAX`] say, so that a
    /// small test sees work go over many records. Whoever folds the same log must do it with the same numbers; with
    /// fewer than 4 units a record gets nowhere.
    pub fn limit_records(&mut self, units_max: usize, cost_max: u64) {
        (self.units_max, self.cost_max) = (units_max, cost_max);
    }

    /// Lets fewer runs be started below a run than [`limits::RUN_DESCENDANTS_MAX`] says, for tests as above.
    pub fn limit_descendants(&mut self, descendants_max: u32) {
        self.descendants_max = descendants_max;
    }

    /// Applies the record `seq`. An error halts the partition: the state can no longer be trusted.
    pub fn apply(&mut self, seq: Seq, time: Time, command: &Command) -> Result<Applied> {
        assert_eq!(seq, self.applied.next(), "records are applied in order, without gaps");
        if time < self.meta.now {
            let message = format!("record {seq} has time {time}, before its predecessor's {}", self.meta.now);
            return Err(Error::new(Code::Internal, message));
        }
        self.applied = seq;
        self.meta.now = time;
        let mut fold = Fold::new(self, seq, time);
        let reply = match command.apply(&mut fold) {
            Err(error) if halts(&error) => return Err(error),
            Err(error) => {
                fold.assert_untouched();
                Err(error)
            }
            Ok(reply) => {
                fold.settle()?;
                Ok(reply)
            }
        };
        let units = fold.units();
        let effects = fold.into_effects();
        let tasks = self.meta.tasks;
        assert_eq!(tasks.made, tasks.waiting + tasks.taken + tasks.done + tasks.dead, "tasks are conserved (law 8)");
        Ok(Applied { reply, effects, units })
    }

    /// Passes over the record `seq`, which an operator has refused: position and time move on, and nothing else.
    ///
    /// # Panics
    /// Where records are left out.
    pub fn refuse(&mut self, seq: Seq, time: Time) {
        assert_eq!(seq, self.applied.next(), "records are passed over in order, without gaps");
        self.applied = seq;
        self.meta.now = self.meta.now.max(time);
    }

    /// The last record that was applied.
    pub fn applied(&self) -> Seq {
        self.applied
    }

    /// Log time.
    pub fn now(&self) -> Time {
        self.meta.now
    }

    /// The earliest armed timer. When log time reaches it, a `Tick` belongs into the log.
    ///
    /// It may have to read; [`Machine::no_timer_before`] does not.
    pub fn next_timer(&mut self) -> Result<Option<Time>> {
        if let NextTimer::From(from) = self.next_timer {
            let first = self.tables.timers.range(&from, &TimerKey::at(Time(u64::MAX)), 1)?;
            self.next_timer.found(first.first().map(|(key, _)| *key));
        }
        Ok(self.next_timer.not_before())
    }

    /// No armed timer is due before this; `None` where none is armed. Reads nothing.
    pub fn no_timer_before(&self) -> Option<Time> {
        self.next_timer.not_before()
    }

    /// The first timers that are due now, at most `limit`. The marks pass them: each is to be fired, or to be given
    /// back with [`Machine::timer_armed`].
    pub(crate) fn pass_due_timers(&mut self, limit: usize) -> Result<Vec<TimerKey>> {
        let until = TimerKey::at(self.meta.now.after(Span(1)));
        let from = self.next_timer.start().unwrap_or(until);
        let due = self.tables.timers.range(&from, &until, limit)?;
        let passed = if due.len() < limit { until } else { due.last().map_or(until, |(last, _)| *last) };
        if passed >= from {
            self.next_timer.pass(passed);
        }
        // The durable mark follows from the records alone, not from what this process has happened to read.
        self.meta.timers_from = passed.due;
        Ok(due.into_iter().map(|(timer, _)| timer).collect())
    }

    pub(crate) fn timer_armed(&mut self, timer: TimerKey) {
        self.next_timer.armed(timer);
        self.meta.timers_from = self.meta.timers_from.min(timer.due);
    }

    pub(crate) fn timer_gone(&mut self, timer: TimerKey) {
        self.next_timer.gone(timer);
    }

    /// How many changed rows wait to be taken.
    pub fn changed(&self) -> usize {
        self.tables.changed()
    }

    /// Hands out every changed row, to be written to the store as one batch with the applied sequence number.
    pub fn take(&mut self) -> Taken {
        self.tables.meta.put((), self.meta.clone());
        let mut changes = Changes::default();
        let generation = self.tables.take(&mut changes);
        assert_eq!(generation, self.generation, "blobs and rows count generations alike");
        self.generation += 1;
        let fresh = self.new_blobs.iter().filter(|(_, (_, made))| *made == generation);
        let blobs = fresh.map(|(hash, (bytes, _))| (*hash, Arc::clone(bytes))).collect();
        Taken { generation, applied: self.applied, changes, blobs }
    }

    /// Notes that everything up to `generation` is in the store.
    pub fn written(&mut self, generation: u64) {
        self.tables.written(generation);
        self.new_blobs.retain(|_, (_, made)| *made > generation);
    }

    /// Tasks that are not over, in order, for rebuilding the dispatcher after recovery.
    pub fn live_tasks(&mut self, after: Option<TaskId>, limit: usize) -> Result<(Vec<LiveTask>, Option<TaskId>)> {
        let zero = TaskId { run: RunId([0; 16]), scope: 0, index: 0 };
        let from = after.map_or(zero, |task| TaskId { index: task.index.saturating_add(1), ..task });
        let end = TaskId { run: RunId([0xff; 16]), scope: u32::MAX, index: u32::MAX };
        let page = self.tables.live.range(&from, &end, limit)?;
        let last = if page.len() == limit { page.last().map(|(task, _)| *task) } else { None };
        let mut tasks = Vec::new();
        let (seq, now) = (self.applied, self.meta.now);
        for (task, _) in page {
            let step = self.tables.steps.get(&task)?;
            let Some(step) = step.filter(|step| matches!(step.state, StepState::Ready | StepState::Taken)) else {
                continue;
            };
            let ready = Fold::new(self, seq, now).ready_task(task, &step)?;
            tasks.push(match (step.state, step.instance, step.taken) {
                (StepState::Taken, Some(instance), Some(taken)) => LiveTask::Taken { task: ready, instance, taken },
                _ => LiveTask::Ready(ready),
            });
        }
        Ok((tasks, last))
    }

    /// The task as a worker sees it; `None` where it is over, or not handed out now.
    pub fn offer(&mut self, task: TaskId) -> Result<Option<TaskOffer>> {
        let (seq, now) = (self.applied, self.meta.now);
        Fold::new(self, seq, now).offer(task)
    }

    /// What a report of an instance is that does not hold the attempt; it changes nothing.
    ///
    /// # Errors
    /// [`Code::Fenced`] or [`Code::TaskNotFound`] where neither the instance's agent nor the namespace is the former
    /// holder's, or the attempt is over in another way.
    pub fn late_report(
        &mut self,
        namespace: &str,
        task: TaskId,
        token: Token,
        by: &WorkerInstance,
    ) -> Result<LateReport> {
        let (seq, now) = (self.applied, self.meta.now);
        Fold::new(self, seq, now).late_report(namespace, task, token, by)
    }

    /// Whether hand-out of the run's tasks is held back.
    pub fn is_held(&mut self, run: RunId) -> Result<bool> {
        Ok(self.tables.runs.get(&run)?.is_some_and(|run| run.is_held()))
    }

    /// Whether any row refers to the blob.
    pub fn blob_used(&self, hash: &BlobHash) -> Result<bool> {
        Ok(self.new_blobs.contains_key(hash) || self.tables.blobs.peek(hash)?.is_some_and(|uses| uses.rows > 0))
    }

    /// The bytes of a payload, wherever they are.
    pub fn payload_bytes(&self, payload: &Payload) -> Result<Arc<[u8]>> {
        match payload {
            Payload::Inline(bytes) => Ok(Arc::clone(bytes)),
            Payload::Blob { hash, .. } => self.find_blob(hash)?.ok_or_else(|| {
                Error::new(Code::Damaged, format!("blob `{hash}` is missing"))
                    .hint("restore the folder `blobs` from a backup")
            }),
        }
    }

    /// The bytes of a blob; `None` where it is not there.
    pub(crate) fn find_blob(&self, hash: &BlobHash) -> Result<Option<Arc<[u8]>>> {
        match self.new_blobs.get(hash) {
            Some((bytes, _)) => Ok(Some(Arc::clone(bytes))),
            None => Ok(self.backing.blob(hash)?.map(Arc::from)),
        }
    }

    /// Keeps a document: inline where it is short, else as a blob.
    pub(crate) fn keep(&mut self, bytes: Vec<u8>) -> Payload {
        let payload = Payload::inline(bytes);
        let Payload::Inline(bytes) = &payload else { return payload };
        if !payload.is_large() {
            return payload;
        }
        let hash = BlobHash::of(bytes);
        let len = bytes.len() as u64;
        self.blobs_made += 1;
        self.new_blobs.insert(hash, (Arc::clone(bytes), self.generation));
        Payload::Blob { hash, len }
    }

    /// The definition with this content hash.
    pub(crate) fn definition(&mut self, hash: BlobHash) -> Result<Arc<Definition>> {
        if let Some(definition) = self.definitions.get(&hash) {
            return Ok(definition);
        }
        let compiled = self.compiled(hash)?;
        let bytes = compiled.normal_form.len();
        Ok(self.keep_definition(hash, compiled.definition()?, bytes))
    }

    /// The workflow with this content hash, in its normal form.
    pub(crate) fn compiled(&self, hash: BlobHash) -> Result<CompiledWorkflow> {
        self.tables.workflows.peek(&hash)?.ok_or_else(|| missing("workflow", &hash))
    }

    pub(crate) fn keep_definition(&mut self, hash: BlobHash, definition: Definition, bytes: usize) -> Arc<Definition> {
        let definition = Arc::new(definition);
        self.definitions.put(hash, Arc::clone(&definition), bytes);
        definition
    }

    pub(crate) fn head(&mut self, namespace: &str, name: &str) -> Result<Option<crate::rows::Deployed>> {
        self.tables.deployed.get(&NamedKey { namespace: namespace.to_owned(), name: name.to_owned(), number: 0 })
    }
}

/// Whether an error means that the state can no longer be trusted, rather than that a command is refused.
fn halts(error: &Error) -> bool {
    matches!(error.code, Code::Damaged | Code::Disk | Code::BadFormat | Code::Internal | Code::Halted)
}
