//! The state of a partition: its tables, its counts, and what is kept in memory of them.
//!
//! For: look-ups that every concern needs, and documents. Not for: writing rows (see `context`), or rules.
//! Invariant: what is kept in memory beside the tables can be made again from them, and no answer depends on whether it
//! is there.

mod cache;
mod next_timer;
pub(crate) mod rows;
mod schema;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use consort_types::{BlobHash, Code, Error, Payload, Result, RunId, Seq, Span, StepInstanceId, Time, Token, limits};
use consort_workflow::{CompiledWorkflow, Definition};
use serde_json::Value;

use self::{
    cache::{Cache, Documents},
    next_timer::NextTimer,
    rows::Meta,
};
use crate::{
    run::{
        keys::{ScopeKey, TimerKey},
        rows::{
            run::{Run, RunStatus},
            step::{Scope, Step},
        },
    },
    space::oldest::OldestChanges,
    tables::{Backing, Changes},
};

pub use self::schema::{RowsOf, TABLES, TableSpec, TableSpecs, Until};
pub(crate) use self::{cache::Document, schema::Tables};

/// Bytes of parsed documents that are kept.
const DOCUMENT_CACHE_BYTES: usize = 24 * 1024 * 1024;
/// Bytes of parsed documents that are too large for that and are kept while their runs are active; one of them is kept
/// whatever it takes.
const LARGE_DOCUMENTS_BYTES: usize = 256 * 1024 * 1024;
/// Bytes of evaluated inputs that wait for assignment.
const INPUT_CACHE_BYTES: usize = 24 * 1024 * 1024;
/// Bytes of normal forms whose definitions are kept (a definition weighs some ten times its normal form).
const DEFINITION_CACHE_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of a document whose reading or writing costs as much as a unit of an expression.
const BYTES_PER_COST: usize = 16;
/// Documents shorter than this are read for nothing.
const FREE_DOCUMENT_BYTES: u64 = 4 * 1024;

/// Rows to write to the store.
#[derive(Debug)]
pub struct Taken {
    /// To be given back to [`Machine::written`](crate::Machine::written).
    pub generation: u64,
    /// The rows hold every record up to this one.
    pub applied: Seq,
    /// The rows.
    pub changes: Changes,
    /// Blobs that the rows refer to; they must be written before the rows.
    pub blobs: Vec<(BlobHash, Arc<[u8]>)>,
}

/// The state of a partition.
pub(crate) struct State {
    pub(crate) tables: Tables,
    pub(crate) meta: Meta,
    pub(crate) documents: Documents,
    pub(crate) inputs: Cache<(StepInstanceId, Token), Payload>,
    /// The changes of spaces that go next.
    pub(crate) oldest_changes: OldestChanges,
    pub(crate) units_max: usize,
    pub(crate) cost_max: u64,
    pub(crate) descendants_max: u32,
    /// The last record that was applied.
    pub(crate) applied: Seq,
    backing: Arc<dyn Backing>,
    definitions: Cache<BlobHash, Arc<Definition>>,
    /// Blobs made by the machine that are not in the backing yet, with the generation that carries them.
    new_blobs: BTreeMap<BlobHash, (Arc<[u8]>, u64)>,
    generation: u64,
    next_timer: NextTimer,
    /// Blobs made since the state was opened.
    blobs_made: u64,
    /// What reading has cost; there is one while a record is applied.
    meter: Option<Meter>,
}

/// What expressions and documents have cost a record.
#[derive(Default)]
struct Meter {
    cost: u64,
    /// Long documents that the record has paid for.
    read: BTreeSet<Document>,
}

/// Shows whether a record has changed the state, at the cost of a few additions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fingerprint {
    writes: u64,
    meta: Meta,
    blobs: u64,
    next_timer: NextTimer,
}

impl Fingerprint {
    pub(crate) fn of(state: &State) -> Self {
        Self {
            writes: state.tables.writes(),
            meta: state.meta.clone(),
            blobs: state.blobs_made,
            next_timer: state.next_timer,
        }
    }
}

impl State {
    /// The state whose rows are in `backing`, at the record `applied`.
    pub(crate) fn open(backing: Arc<dyn Backing>, applied: Seq) -> Result<Self> {
        let mut tables = Tables::new(&backing);
        let meta = tables.read_meta()?;
        let next_timer = NextTimer::From(TimerKey::at(meta.timers_from));
        Ok(Self {
            tables,
            meta,
            documents: Documents::new(DOCUMENT_CACHE_BYTES, LARGE_DOCUMENTS_BYTES),
            inputs: Cache::new(INPUT_CACHE_BYTES),
            oldest_changes: OldestChanges::default(),
            units_max: limits::WORK_PER_RECORD_MAX,
            cost_max: limits::EXPRESSION_COST_MAX,
            descendants_max: limits::RUN_DESCENDANTS_MAX,
            applied,
            backing,
            definitions: Cache::new(DEFINITION_CACHE_BYTES),
            new_blobs: BTreeMap::new(),
            generation: 1,
            next_timer,
            blobs_made: 0,
            meter: None,
        })
    }

    /// Forgets whatever can be read or made again.
    pub(crate) fn forget_caches(&mut self) {
        self.tables.forget_clean();
        self.documents.clear();
        self.inputs.clear();
        self.oldest_changes.clear();
        self.definitions.clear();
    }

    /// Returns every changed row, to be written to the store as one batch with the applied sequence number.
    pub(crate) fn take(&mut self) -> Taken {
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
    pub(crate) fn written(&mut self, generation: u64) {
        self.tables.written(generation);
        self.new_blobs.retain(|_, (_, made)| *made > generation);
    }

    // Rows.

    /// The run, unless there is none or it was deleted.
    pub(crate) fn run(&mut self, id: RunId) -> Result<Run> {
        match self.tables.runs.get(&id)? {
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

    pub(crate) fn step(&mut self, task: StepInstanceId) -> Result<Option<Step>> {
        self.tables.steps.get(&task)
    }

    /// A step instance that must be there: a missing one means that rows were lost.
    pub(crate) fn known_step(&mut self, task: StepInstanceId) -> Result<Step> {
        self.step(task)?.ok_or_else(|| missing("step", &task))
    }

    pub(crate) fn scope(&mut self, key: ScopeKey) -> Result<Scope> {
        let found = self.tables.scopes.get(&key)?;
        found.ok_or_else(|| missing("scope", &format_args!("{}.{}", key.run, key.scope)))
    }

    /// A scope, shared: for reading only.
    pub(crate) fn shared_scope(&mut self, key: ScopeKey) -> Result<Arc<Scope>> {
        let found = self.tables.scopes.get_shared(&key)?;
        found.ok_or_else(|| missing("scope", &format_args!("{}.{}", key.run, key.scope)))
    }

    // Definitions.

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
        self.tables.workflows.read_uncached(&hash)?.ok_or_else(|| missing("workflow", &hash))
    }

    pub(crate) fn keep_definition(&mut self, hash: BlobHash, definition: Definition, bytes: usize) -> Arc<Definition> {
        let definition = Arc::new(definition);
        self.definitions.put(hash, Arc::clone(&definition), bytes);
        definition
    }

    pub(crate) fn forget_definition(&mut self, hash: BlobHash) {
        drop(self.definitions.take(&hash));
    }

    // Documents.

    /// The document of a payload, parsed; large ones are kept parsed for a while.
    pub(crate) fn document(&mut self, of: Document, payload: &Payload) -> Result<Arc<Value>> {
        const WORTH_KEEPING_BYTES: u64 = 512;
        let key = if let Payload::Blob { hash, .. } = payload { Document::Blob(*hash) } else { of };
        let keep = payload.len() >= WORTH_KEEPING_BYTES;
        // Counted once in a record, whether it is in the cache or not: what a record does must not depend on that.
        if payload.len() >= FREE_DOCUMENT_BYTES && self.meter.as_mut().is_some_and(|meter| meter.read.insert(key)) {
            self.charge_bytes(payload.len() as usize);
        }
        if keep && let Some(value) = self.documents.get(&key, of.run()) {
            return Ok(value);
        }
        let bytes = self.payload_bytes(payload)?;
        let value: Value =
            serde_json::from_slice(&bytes).map_err(|_| Error::new(Code::Damaged, "a stored payload is not JSON"))?;
        let value = Arc::new(value);
        if keep {
            self.documents.put(key, &value, bytes.len(), of.run());
        }
        Ok(value)
    }

    /// The bytes of a payload, wherever they are.
    pub(crate) fn payload_bytes(&self, payload: &Payload) -> Result<Arc<[u8]>> {
        match payload {
            Payload::Inline(bytes) => Ok(Arc::clone(bytes)),
            Payload::Blob { hash, .. } => self.find_blob(hash)?.ok_or_else(|| {
                Error::new(Code::Damaged, format!("blob `{hash}` is missing"))
                    .hint("restore the folder `blobs` from a backup")
            }),
        }
    }

    /// Reads a payload as the JSON that it is; `what` names it in the error. Its bytes are counted.
    pub(crate) fn value_of(&mut self, what: &str, payload: &Payload) -> Result<Value> {
        let bytes = self.payload_bytes(payload)?;
        self.charge_bytes(bytes.len());
        serde_json::from_slice(&bytes).map_err(|_| Error::new(Code::Damaged, format!("{what} is not JSON")))
    }

    /// The bytes of a blob; `None` where it is not there.
    pub(crate) fn find_blob(&self, hash: &BlobHash) -> Result<Option<Arc<[u8]>>> {
        match self.new_blobs.get(hash) {
            Some((bytes, _)) => Ok(Some(Arc::clone(bytes))),
            None => Ok(self.backing.blob(hash)?.map(Arc::from)),
        }
    }

    /// Whether any row refers to the blob.
    pub(crate) fn blob_used(&self, hash: &BlobHash) -> Result<bool> {
        let in_rows = |uses: rows::BlobUse| uses.rows > 0;
        Ok(self.new_blobs.contains_key(hash) || self.tables.blobs.read_uncached(hash)?.is_some_and(in_rows))
    }

    /// Stores a document: inline where it is short, else as a blob.
    pub(crate) fn store_bytes(&mut self, bytes: Vec<u8>) -> Payload {
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

    // What reading costs.

    /// From here on, what is read and evaluated is counted.
    pub(crate) fn start_meter(&mut self) {
        self.meter = Some(Meter::default());
    }

    /// From here on, it is not.
    pub(crate) fn stop_meter(&mut self) {
        self.meter = None;
    }

    /// What has been counted.
    pub(crate) fn cost(&self) -> u64 {
        self.meter.as_ref().map_or(0, |meter| meter.cost)
    }

    /// Counts what an evaluation has cost.
    pub(crate) fn charge_cost(&mut self, cost: u64) {
        if let Some(meter) = &mut self.meter {
            meter.cost += cost;
        }
    }

    /// Counts a document that is written or copied.
    pub(crate) fn charge_bytes(&mut self, bytes: usize) {
        self.charge_cost((bytes / BYTES_PER_COST) as u64);
    }

    // Timers.

    /// The earliest armed timer; it may have to read.
    pub(crate) fn next_timer(&mut self) -> Result<Option<Time>> {
        if let NextTimer::From(from) = self.next_timer {
            let first = self.tables.timers.range(&from, &TimerKey::at(Time(u64::MAX)), 1)?;
            self.next_timer.found(first.first().map(|(key, _)| *key));
        }
        Ok(self.next_timer.not_before())
    }

    /// No armed timer is due before this; `None` where none is armed. Reads nothing.
    pub(crate) fn no_timer_before(&self) -> Option<Time> {
        self.next_timer.not_before()
    }

    /// The first timers that are due now, at most `limit`. The marks pass them: each is to be fired, or to be given
    /// back with [`State::timer_armed`].
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
}

fn not_in(namespace: &str, id: RunId) -> Error {
    Error::new(Code::RunNotFound, format!("there is no run `{id}` in namespace `{namespace}`"))
        .hint("`consort runs list` shows the runs of a namespace")
}

/// A row that must be there is not.
pub(crate) fn missing(what: &str, id: &dyn std::fmt::Display) -> Error {
    Error::new(Code::Damaged, format!("the row of {what} `{id}` is missing"))
        .hint("restore the store from a backup, or fold the log again")
}
