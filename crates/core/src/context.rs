//! One record being applied: the state, the record's place and time, and what follows from it.
//!
//! For: the primitives that rules are made of: rows, effects, pending work, timers, history, blobs, budgets. Not for:
//! the rules (each concern's folder has its own), or look-ups (see `state`).
//! Invariant: work that follows from a record is done in a fixed order from a queue, never by recursion, so neither the
//! depth of a run nor its width can overflow the stack; what is too much for one record is left to a later one (see
//! `run::defer`).

use std::collections::{BTreeSet, VecDeque};

use consort_types::{Code, Error, Payload, Position, Result, RunId, Seq, StepInstanceId, Time, limits, state::SpaceId};

use crate::{
    bus::rows::NewEvent,
    effect::Effect,
    fatal::split_fatal,
    key::NamedKey,
    run::{
        keys::{HistoryKey, ScopeKey, TimerKey, TimerKind},
        rows::{
            history::{HistoryEntry, HistoryEvent},
            run::Run,
            step::{Scope, Step, StepState},
        },
    },
    state::rows::{BlobUse, Marker},
    state::{Fingerprint, State},
};

/// Rows that are only read or counted down, and that together count as one unit of work.
pub(crate) const LIGHT_PER_UNIT: usize = 32;

/// How a step instance ended.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Completed(Payload),
    Failed(Error),
    Skipped { error: Option<Error>, tainted: bool },
    Cancelled(Error),
}

impl Outcome {
    /// The end of an instance whose scope has this first error.
    pub(crate) fn of_error(error: Error) -> Self {
        if error.code == Code::Cancelled { Self::Cancelled(error) } else { Self::Failed(error) }
    }

    /// The end of an instance whose output was made, or could not be.
    pub(crate) fn of_output(output: Result<Payload>) -> Result<Self> {
        Ok(split_fatal(output)?.map_or_else(Self::Failed, Self::Completed))
    }
}

/// What is still to be done for the record.
#[derive(Clone, Debug)]
pub(crate) enum PendingWork {
    /// All that the instance needs has ended: decide whether it runs.
    Consider(StepInstanceId),
    /// Begin the instance.
    Begin(StepInstanceId),
    /// The instance has ended.
    Finish(StepInstanceId, Outcome),
    /// The workflow's own block had closed, and the last run below it has ended.
    Close(ScopeKey),
    /// Start what may start now in a scope of items, iterations or compensations, or close it.
    Advance(ScopeKey),
    /// Cancel a run that a step has started.
    Cancel { run: RunId, reason: String, force: bool },
    /// Pause or resume a run that a step has started.
    Pause { run: RunId, paused: bool },
    /// A run that a schedule may have started has ended.
    ScheduledEnded { run: RunId, namespace: String, schedule: String },
    /// Resume what the run had left to a later record.
    Resume(RunId),
    /// Publish an event of a space.
    Publish { namespace: String, event: Box<NewEvent> },
    /// Hand out what a subscription has for agents.
    HandOut(NamedKey),
    /// The run of an event that was handed out as a task has ended.
    DeliveryEnded(RunId),
}

/// One record being applied.
pub(crate) struct ApplyContext<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) seq: Seq,
    pub(crate) now: Time,
    effects: Vec<Effect>,
    /// Ends go before all other work, so that what they free is known before more is begun.
    ends: VecDeque<(StepInstanceId, Outcome)>,
    pending: VecDeque<PendingWork>,
    /// Scopes that are in the queue to be advanced.
    advancing: BTreeSet<ScopeKey>,
    /// Subscriptions that are in the queue to hand out what they have.
    handing: BTreeSet<NamedKey>,
    units: usize,
    recorded: u32,
    changed: BTreeSet<RunId>,
    /// Keys of shared state that the record has changed.
    written: BTreeSet<(SpaceId, String)>,
    /// The state before the record.
    before: Fingerprint,
}

impl<'a> ApplyContext<'a> {
    pub(crate) fn new(state: &'a mut State, seq: Seq, now: Time) -> Self {
        let before = Fingerprint::of(state);
        state.start_meter();
        Self {
            before,
            state,
            seq,
            now,
            effects: Vec::new(),
            ends: VecDeque::new(),
            pending: VecDeque::new(),
            advancing: BTreeSet::new(),
            handing: BTreeSet::new(),
            units: 0,
            recorded: 0,
            changed: BTreeSet::new(),
            written: BTreeSet::new(),
        }
    }

    /// A refusal changes nothing: no row, no count, no blob, no timer, and nothing follows from it.
    pub(crate) fn assert_untouched(&self) {
        let quiet = self.effects.is_empty() && self.ends.is_empty() && self.pending.is_empty();
        let silent = quiet && self.recorded == 0 && self.changed.is_empty();
        assert!(silent, "a refused command has caused something");
        let after = Fingerprint::of(self.state);
        assert!(after == self.before, "a refused command has changed the state");
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// The effects of the record, once nothing is pending.
    pub(crate) fn into_effects(mut self) -> Vec<Effect> {
        let seq = self.seq;
        self.state.stop_meter();
        self.effects.extend(self.changed.into_iter().map(|run| Effect::Changed { run, seq }));
        self.effects
    }

    // Pending work and budgets.

    pub(crate) fn enqueue(&mut self, work: PendingWork) {
        match work {
            PendingWork::Finish(task, outcome) => self.ends.push_back((task, outcome)),
            PendingWork::Advance(key) if !self.advancing.insert(key) => {}
            PendingWork::HandOut(key) if !self.handing.insert(key.clone()) => {}
            work => self.pending.push_back(work),
        }
    }

    /// The next end that is decided.
    pub(crate) fn next_end(&mut self) -> Option<(StepInstanceId, Outcome)> {
        let next = self.ends.pop_front();
        self.units += usize::from(next.is_some());
        next
    }

    /// The next of the other pending work.
    pub(crate) fn next_pending(&mut self) -> Option<PendingWork> {
        let next = self.pending.pop_front()?;
        self.units += 1;
        match &next {
            PendingWork::Advance(key) => drop(self.advancing.remove(key)),
            PendingWork::HandOut(key) => drop(self.handing.remove(key)),
            _ => {}
        }
        Some(next)
    }

    /// Whether what can wait should be left to the next record: this one has done its units of work, or its
    /// expressions and documents have cost as much as one evaluation may.
    pub(crate) fn is_long(&self) -> bool {
        self.units >= self.state.units_max || self.state.cost() >= self.state.cost_max
    }

    /// How much more may be put in the queue for this record.
    pub(crate) fn room(&self) -> usize {
        if self.is_long() { 0 } else { self.state.units_max.saturating_sub(self.units + self.pending.len()) }
    }

    /// How many rows to read at once where work goes over many.
    pub(crate) fn page(&self) -> usize {
        const PAGE: usize = 128;
        self.state.units_max.saturating_sub(self.units).clamp(1, PAGE)
    }

    /// Counts work that is not an item of the queue.
    pub(crate) fn charge(&mut self, units: usize) {
        self.units += units;
    }

    /// Units of work done for the record.
    pub(crate) fn units(&self) -> usize {
        self.units
    }

    // Rows.

    pub(crate) fn put_run(&mut self, id: RunId, mut run: Run) {
        run.changed = self.seq;
        self.changed.insert(id);
        self.state.tables.runs.put(id, run);
    }

    pub(crate) fn put_step(&mut self, task: StepInstanceId, step: Step) {
        self.changed.insert(task.run);
        self.state.tables.steps.put(task, step);
    }

    pub(crate) fn put_scope(&mut self, key: ScopeKey, scope: Scope) {
        self.state.tables.scopes.put(key, scope);
    }

    /// Moves an instance to another state, with the counts that follow from it. This is the only place that does, and
    /// [`StepState::may_become`] lists the legal moves.
    pub(crate) fn set_state(&mut self, task: StepInstanceId, step: &mut Step, state: StepState) {
        let from = step.state;
        assert!(from.may_become(state), "step {task} is {from:?} and cannot become {state:?}");
        if step.attempt > 0 {
            self.state.meta.tasks.moved(from, state);
        }
        let live = |state: StepState| !state.is_terminal() && state != StepState::Pending;
        match (live(from), live(state)) {
            (false, true) => self.state.tables.live.insert_new(task, Marker),
            (true, false) => self.state.tables.live.delete(&task),
            _ => {}
        }
        step.state = state;
    }

    // History, timers, blobs.

    pub(crate) fn record_history(&mut self, run: RunId, step: Option<StepInstanceId>, event: HistoryEvent) {
        let key = HistoryKey { run, seq: self.seq, n: self.recorded };
        self.recorded += 1;
        self.changed.insert(run);
        let entry = HistoryEntry { time: self.now, event, step: step.map(|task| (task.scope, task.index)) };
        self.state.tables.history.insert_new(key, entry);
    }

    /// A number that no other call for this record gets.
    pub(crate) fn next_ordinal(&mut self) -> u32 {
        self.recorded += 1;
        self.recorded
    }

    /// How many of those numbers were given out.
    pub(crate) fn ordinals(&self) -> u32 {
        self.recorded
    }

    /// A key of shared state is changed.
    pub(crate) fn note_written(&mut self, space: SpaceId, key: &str) {
        self.written.insert((space, key.to_owned()));
    }

    /// Whether the record has changed a key of shared state. A version is the record that wrote it, so no step writes such
    /// a key in the same record.
    pub(crate) fn has_written(&self, space: SpaceId, key: &str) -> bool {
        self.written.contains(&(space, key.to_owned()))
    }

    /// A position that nothing else has.
    pub(crate) fn next_position(&mut self) -> Position {
        Position { seq: self.seq, n: self.next_ordinal() }
    }

    pub(crate) fn arm(&mut self, due: Time, task: StepInstanceId, kind: TimerKind, entry: u32) {
        let timer = TimerKey { due, task, kind, entry };
        self.state.timer_armed(timer);
        self.state.tables.timers.put(timer, Marker);
    }

    pub(crate) fn disarm(&mut self, due: Option<Time>, task: StepInstanceId, kind: TimerKind) {
        self.disarm_entry(due, task, kind, 0);
    }

    /// The same of a timer of a journal entry.
    pub(crate) fn disarm_entry(&mut self, due: Option<Time>, task: StepInstanceId, kind: TimerKind, entry: u32) {
        if let Some(due) = due {
            let timer = TimerKey { due, task, kind, entry };
            self.state.timer_gone(timer);
            self.state.tables.timers.delete(&timer);
        }
    }

    /// Counts one more row that refers to the payload, where it is a blob.
    pub(crate) fn retain(&mut self, payload: &Payload) -> Result<()> {
        if let Payload::Blob { hash, .. } = payload {
            let rows = self.state.tables.blobs.get(hash)?.unwrap_or_default().rows + 1;
            self.state.tables.blobs.put(*hash, BlobUse { rows });
        }
        Ok(())
    }

    /// Counts one row less that refers to the payload, where it is a blob.
    pub(crate) fn release(&mut self, payload: &Payload) -> Result<()> {
        let Payload::Blob { hash, .. } = payload else { return Ok(()) };
        let rows = self.state.tables.blobs.get(hash)?.unwrap_or_default().rows;
        assert!(rows > 0, "blob {hash} is released more often than it was retained");
        if rows > 1 {
            self.state.tables.blobs.put(*hash, BlobUse { rows: rows - 1 });
        } else {
            self.state.tables.blobs.delete(hash);
            self.effect(Effect::BlobUnused(*hash));
        }
        Ok(())
    }

    /// Stores a document, and counts the row that will refer to it.
    pub(crate) fn store_payload(&mut self, what: &str, bytes: Vec<u8>) -> Result<Payload> {
        let max = limits::PAYLOAD_BYTES_MAX;
        if bytes.len() > max {
            let message = format!("the {what} has {} bytes, the limit is {max}", bytes.len());
            return Err(Error::new(Code::PayloadTooLarge, message).hint("pass a reference instead of the document"));
        }
        self.state.charge_bytes(bytes.len());
        let payload = self.state.store_bytes(bytes);
        self.retain(&payload)?;
        Ok(payload)
    }
}
