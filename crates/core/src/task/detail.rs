//! One task in full: what it was given, and what its code has requested.
//!
//! For: reading the input of a step, its idempotency key, and its journal with the values. Not for: the shape of a run
//! (see `run::views`), or what a worker is sent (see `offer`).
//! Invariant: nothing here changes a row; an input is evaluated as it was for the attempt, not stored a second time.

use consort_types::{Code, EffectClass, Error, Payload, Result, RunId, StepInstanceId};

use crate::{
    fatal::split_fatal,
    machine::Machine,
    page::{Page, bad_cursor, bounded},
    run::{
        locate::{self, StepRef, locate},
        rows::step::Step,
        views::steps::StepView,
    },
    state::State,
    task::{effect_key::effect_key, keys::EntryKey, offer, rows::TaskEntry, task_spec},
};

/// A step instance with what it was given.
#[derive(Clone, Debug, PartialEq)]
pub struct StepDetail {
    /// The step instance.
    pub step: StepView,
    /// The capability or agent that is called.
    pub target: Option<String>,
    /// The input of its task, or of the run that it started; `None` where it has not begun, or takes none.
    pub input: Option<Payload>,
    /// The idempotency key of its task's effect; `None` where it is no task.
    pub idempotency_key: Option<String>,
    /// The effect class of the attempt that was last taken.
    pub effect: Option<EffectClass>,
    /// Attempts that failed.
    pub failures: u32,
    /// Attempts that were lost.
    pub losses: u32,
}

/// An entry of a task's journal at its position.
#[derive(Clone, Debug, PartialEq)]
pub struct EntryView {
    /// The position, from 0.
    pub index: u32,
    /// The request and its answer.
    pub entry: TaskEntry,
}

/// The tasks of runs, one by one.
pub struct Tasks<'a> {
    pub(super) state: &'a mut State,
}

impl Machine {
    /// The tasks of runs, one by one, and what of them waits for a person.
    pub fn tasks(&mut self) -> Tasks<'_> {
        Tasks { state: &mut self.state }
    }
}

impl Tasks<'_> {
    /// A step instance with what it was given.
    ///
    /// # Errors
    /// [`Code::RunNotFound`], [`Code::TaskNotFound`].
    pub fn detail(&mut self, namespace: &str, run: RunId, task: StepInstanceId) -> Result<StepDetail> {
        let step = self.step_of(namespace, run, task)?;
        let step_ref = locate(self.state, task)?;
        let (capability, agent) = task_spec::target(self.state, &step_ref, task)?;
        let path = locate::path(self.state, task)?;
        let is_task = step.attempt > 0;
        let idempotency_key = if is_task { Some(effect_key(self.state, &step_ref, task, &path)?) } else { None };
        let input = self.input_of(&step_ref, task, &step)?;
        let (effect, failures, losses) = (step.effect, step.failures, step.losses);
        let target = capability.or(agent);
        let step = StepView::new(task, path, step);
        Ok(StepDetail { step, target, input, idempotency_key, effect, failures, losses })
    }

    /// The input of a step instance.
    ///
    /// # Errors
    /// [`Code::RunNotFound`], [`Code::TaskNotFound`], [`Code::StepState`] where it has none.
    pub fn input(&mut self, namespace: &str, run: RunId, task: StepInstanceId) -> Result<Payload> {
        let step = self.step_of(namespace, run, task)?;
        let step_ref = locate(self.state, task)?;
        let state = step.state;
        self.input_of(&step_ref, task, &step)?.ok_or_else(|| {
            Error::new(Code::StepState, format!("the step has no input: it is {}", state.as_str()))
                .hint("a step that calls an agent or starts a run has one, from when it begins")
        })
    }

    /// The journal of a task in pages, from a position on.
    ///
    /// # Errors
    /// [`Code::RunNotFound`], [`Code::TaskNotFound`], [`Code::BadCursor`].
    pub fn journal(
        &mut self,
        namespace: &str,
        run: RunId,
        task: StepInstanceId,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<EntryView>> {
        self.step_of(namespace, run, task)?;
        let entry = match cursor {
            Some(cursor) => cursor.parse().map_err(|_| bad_cursor(cursor))?,
            None => 0,
        };
        let limit = bounded(limit);
        let (from, to) = (EntryKey { task, entry }, EntryKey { task, entry: u32::MAX });
        let mut rows = self.state.tables.entries.range(&from, &to, limit + 1)?;
        let next = if rows.len() > limit { rows.pop().map(|(key, _)| key.entry.to_string()) } else { None };
        let items = rows.into_iter().map(|(key, entry)| EntryView { index: key.entry, entry }).collect();
        Ok(Page { items, next })
    }

    fn step_of(&mut self, namespace: &str, run: RunId, task: StepInstanceId) -> Result<Step> {
        self.state.run_in(namespace, run)?;
        let found = if task.run == run { self.state.step(task)? } else { None };
        found.ok_or_else(|| Error::new(Code::TaskNotFound, format!("the run `{run}` has no step `{task}`")))
    }

    fn input_of(&mut self, step_ref: &StepRef, task: StepInstanceId, step: &Step) -> Result<Option<Payload>> {
        if step.attempt == 0 && step.child_run.is_none() {
            return Ok(None);
        }
        // One that cannot be evaluated has failed its step, whose error says why.
        Ok(split_fatal(offer::task_input(self.state, step_ref, task))?.ok())
    }
}
