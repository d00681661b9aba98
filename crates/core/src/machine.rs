//! The machine: applies records one by one.
//!
//! For: the public face of the core: `apply`, the changes to write, and what recovery needs. Not for: the rules and the
//! views (each concern's folder has its own).
//! Invariant: records are applied in order, without gaps, and log time never goes back.

use std::sync::Arc;

use consort_types::{
    BlobHash, Code, Error, Payload, Result, RunId, Seq, StepInstanceId, Time, Token, WorkerInstance, limits,
    worker::TaskOffer,
};

use crate::{
    command::{Command, Reply},
    context::ApplyContext,
    effect::{Effect, LiveTask},
    fatal::is_fatal,
    quota::recount,
    run::{pending::drain_pending, rows::step::StepState},
    state::{State, Taken},
    tables::Backing,
    task::{
        attempt::{self, LateReport},
        offer,
    },
};

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

/// The state of a partition and the rules that change it.
pub struct Machine {
    pub(crate) state: State,
}

impl Machine {
    /// The machine whose rows are in `backing`, at the record `applied`.
    pub fn open(backing: Arc<dyn Backing>, applied: Seq) -> Result<Self> {
        let mut state = State::open(backing, applied)?;
        recount::recount(&mut state)?;
        Ok(Self { state })
    }

    /// Gives back the memory of everything that can be read or made again. Nothing that the machine does depends on it.
    pub fn forget_caches(&mut self) {
        self.state.forget_caches();
    }

    /// Limits the work of a record below [`limits::WORK_PER_RECORD_MAX`] and [`limits::EXPRESSION_COST_MAX`], so that a
    /// small test sees work spread over many records. Every machine that applies the same log must have the same
    /// numbers; with fewer than 4 units a record gets nowhere.
    pub fn limit_records(&mut self, units_max: usize, cost_max: u64) {
        (self.state.units_max, self.state.cost_max) = (units_max, cost_max);
    }

    /// Limits the runs below a run further than [`limits::RUN_DESCENDANTS_MAX`], for tests as above.
    pub fn limit_descendants(&mut self, descendants_max: u32) {
        self.state.descendants_max = descendants_max;
    }

    /// Applies the record `seq`. An error halts the partition: the state can no longer be trusted.
    pub fn apply(&mut self, seq: Seq, time: Time, command: &Command) -> Result<Applied> {
        assert_eq!(seq, self.state.applied.next(), "records are applied in order, without gaps");
        let last = self.state.meta.now;
        if time < last {
            let message = format!("record {seq} has time {time}, before its predecessor's {last}");
            return Err(Error::new(Code::Internal, message));
        }
        self.state.applied = seq;
        self.state.meta.now = time;
        let mut ctx = ApplyContext::new(&mut self.state, seq, time);
        let reply = match command.apply(&mut ctx) {
            Err(error) if is_fatal(&error) => return Err(error),
            Err(error) => {
                ctx.assert_untouched();
                Err(error)
            }
            Ok(reply) => {
                drain_pending(&mut ctx)?;
                Ok(reply)
            }
        };
        let units = ctx.units();
        let effects = ctx.into_effects();
        assert!(self.state.meta.tasks.is_conserved(), "tasks are conserved (law 8)");
        Ok(Applied { reply, effects, units })
    }

    /// Passes over the record `seq`, which an operator has refused: position and time advance, and nothing else.
    ///
    /// # Panics
    /// Where records are left out.
    pub fn refuse(&mut self, seq: Seq, time: Time) {
        assert_eq!(seq, self.state.applied.next(), "records are passed over in order, without gaps");
        self.state.applied = seq;
        self.state.meta.now = self.state.meta.now.max(time);
    }

    /// The last record that was applied.
    pub fn applied(&self) -> Seq {
        self.state.applied
    }

    /// Log time.
    pub fn now(&self) -> Time {
        self.state.meta.now
    }

    /// The earliest armed timer. When log time reaches it, a `Tick` belongs into the log.
    ///
    /// It may have to read; [`Machine::no_timer_before`] does not.
    pub fn next_timer(&mut self) -> Result<Option<Time>> {
        self.state.next_timer()
    }

    /// No armed timer is due before this; `None` where none is armed. Reads nothing.
    pub fn no_timer_before(&self) -> Option<Time> {
        self.state.no_timer_before()
    }

    /// How many changed rows wait to be taken.
    pub fn changed(&self) -> usize {
        self.state.tables.changed()
    }

    /// Returns every changed row, to be written to the store as one batch with the applied sequence number.
    pub fn take(&mut self) -> Taken {
        self.state.take()
    }

    /// Notes that everything up to `generation` is in the store.
    pub fn written(&mut self, generation: u64) {
        self.state.written(generation);
    }

    /// Tasks that are not over, in order, for rebuilding the dispatcher after recovery.
    pub fn live_tasks(
        &mut self,
        after: Option<StepInstanceId>,
        limit: usize,
    ) -> Result<(Vec<LiveTask>, Option<StepInstanceId>)> {
        let zero = StepInstanceId { run: RunId([0; 16]), scope: 0, index: 0 };
        let from = after.map_or(zero, |task| StepInstanceId { index: task.index.saturating_add(1), ..task });
        let end = StepInstanceId { run: RunId([0xff; 16]), scope: u32::MAX, index: u32::MAX };
        let page = self.state.tables.live.range(&from, &end, limit)?;
        let last = if page.len() == limit { page.last().map(|(task, _)| *task) } else { None };
        let mut tasks = Vec::new();
        for (task, _) in page {
            let step = self.state.step(task)?;
            let Some(step) = step.filter(|step| matches!(step.state, StepState::Ready | StepState::Taken)) else {
                continue;
            };
            let ready = offer::ready_task(&mut self.state, task, &step)?;
            tasks.push(match (step.state, step.instance, step.taken) {
                (StepState::Taken, Some(instance), Some(taken)) => LiveTask::Taken { task: ready, instance, taken },
                _ => LiveTask::Ready(ready),
            });
        }
        Ok((tasks, last))
    }

    /// The task as a worker sees it; `None` where it is over, or not assigned now.
    pub fn offer(&mut self, task: StepInstanceId) -> Result<Option<TaskOffer>> {
        offer::offer(&mut self.state, task)
    }

    /// How a report is to be answered by an instance that does not hold the attempt; it changes nothing.
    ///
    /// # Errors
    /// [`Code::Fenced`] or [`Code::TaskNotFound`] where neither the instance's agent nor the namespace is the former
    /// holder's, or the attempt is over in another way.
    pub fn late_report(
        &mut self,
        namespace: &str,
        task: StepInstanceId,
        token: Token,
        by: &WorkerInstance,
    ) -> Result<LateReport> {
        attempt::late_report(&mut self.state, namespace, task, token, by)
    }

    /// Whether the assignment of the run's tasks is paused.
    pub fn is_held(&mut self, run: RunId) -> Result<bool> {
        Ok(self.state.tables.runs.get(&run)?.is_some_and(|run| run.is_held()))
    }

    /// Whether any row refers to the blob.
    pub fn blob_used(&self, hash: &BlobHash) -> Result<bool> {
        self.state.blob_used(hash)
    }

    /// The bytes of a payload, wherever they are.
    pub fn payload_bytes(&self, payload: &Payload) -> Result<Arc<[u8]>> {
        self.state.payload_bytes(payload)
    }
}
