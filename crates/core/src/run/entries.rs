//! The journal of a task: entries recorded, answered, and the task parked while it waits.
//!
//! For: code-first work that survives its instance. Not for: what an agent does with it (the worker SDK).
//! Invariant: an entry is recorded once at its position; a task that parks wakes when one of the entries
//! that its code waits for is answered.

use consort_types::{
    Code, Error, Payload, Result, TaskId, Token, WorkerInstance, limits, replay, worker::JournalRequest,
};

use super::{asked::check_request, task::Current};
use crate::{
    effect::Effect,
    fold::Fold,
    keys::{EntryKey, TimerKind},
    rows::{Event, Step, StepState, TaskEntry},
};

impl Fold<'_> {
    pub(crate) fn task_record(
        &mut self,
        task: TaskId,
        token: Token,
        by: &WorkerInstance,
        index: u32,
        entry: &TaskEntry,
    ) -> Result<()> {
        let Current::Live(step) = self.reported(task, token, by)? else {
            return Err(Error::new(Code::Fenced, format!("task `{task}` has completed and records nothing more")));
        };
        if index < step.entries {
            return self.record_again(task, token, index, entry);
        }
        if index > step.entries {
            let message = format!("entry {index} of task `{task}` leaves a gap: the next one is {}", step.entries);
            return Err(Error::new(Code::JournalDiverged, message).hint("record entries in order, from 0"));
        }
        if step.entries >= limits::TASK_JOURNAL_ENTRIES_MAX {
            let message = format!("task `{task}` has {} journal entries, which is the limit", step.entries);
            return Err(Error::new(Code::LimitReached, message).hint("split the work into several tasks"));
        }
        self.append_entry(task, *step, entry)
    }

    /// The same entry again gets the first answer; another one at its place means that the code has changed.
    fn record_again(&mut self, task: TaskId, token: Token, index: u32, entry: &TaskEntry) -> Result<()> {
        let known = self.machine.tables.entries.get(&EntryKey { task, entry: index })?;
        let known = known.ok_or_else(|| crate::fold::missing("journal entry", &format_args!("{task}/{index}")))?;
        // An input that was asked for and not recorded is counted by no row: it may be gone where the log is replayed,
        // and the answer changes no row either.
        if !replay::is_same(&known.request, &entry.request, |hash| self.machine.find_blob(hash))? {
            let message = format!(
                "entry {index} of task `{task}` is `{}` in the journal, but the code now asks for `{}`",
                what(&known.request),
                what(&entry.request)
            );
            return Err(Error::new(Code::JournalDiverged, message)
                .hint("run the code that recorded the journal, or start a new run with the new code"));
        }
        let entry = self.journal_entry(&known)?;
        self.effect(Effect::Recorded { task, token, index, entry });
        Ok(())
    }

    fn append_entry(&mut self, task: TaskId, mut step: Step, entry: &TaskEntry) -> Result<()> {
        let index = step.entries;
        let request = &entry.request;
        let mut row = entry.clone();
        if !matches!(request, JournalRequest::Run { .. }) {
            row.output = None;
            row.error = None;
        } else if !row.is_answered() {
            return Err(Error::new(Code::BadRequest, "a `run` entry must bring its result"));
        }
        if let Some(output) = &row.output {
            self.retain(output)?;
        }
        if let JournalRequest::Call { input: asked, .. } | JournalRequest::Approval { detail: asked, .. } = request {
            self.retain(asked)?;
        }
        step.entries += 1;
        step.entries_pending += u32::from(!row.is_answered());
        self.machine.tables.entries.insert_new(EntryKey { task, entry: index }, row.clone());
        self.journal(task.run, Some(task), Event::TaskRecorded { entry: index, what: what(request) });
        let token = step.token;
        self.put_step(task, step);
        let shown = self.journal_entry(&row)?;
        self.effect(Effect::Recorded { task, token, index, entry: shown });
        if let Err(error) = check_request(request) {
            return self.answer(task, index, Err(error));
        }
        match request {
            JournalRequest::Run { .. } => Ok(()),
            JournalRequest::Call { .. } | JournalRequest::Approval { .. } => self.begin_call(task, index),
            JournalRequest::Sleep { span } => {
                self.arm(self.now.after(*span), task, TimerKind::Sleep, index);
                Ok(())
            }
            JournalRequest::Signal { name } => self.await_signal(task, Some(index), name),
        }
    }

    /// An entry got its result: tell the instance, or wake the parked task.
    pub(crate) fn answer(&mut self, task: TaskId, index: u32, result: Result<Payload, Error>) -> Result<()> {
        let Some(mut step) = self.step(task)?.filter(|step| !step.state.is_terminal()) else { return Ok(()) };
        let key = EntryKey { task, entry: index };
        let Some(mut row) = self.machine.tables.entries.get(&key)? else { return Ok(()) };
        if row.is_answered() {
            return Ok(());
        }
        match result {
            Ok(output) => {
                self.retain(&output)?;
                row.output = Some(output);
            }
            Err(error) => row.error = Some(error),
        }
        self.machine.tables.entries.put(key, row.clone());
        step.entries_pending -= 1;
        match step.state {
            StepState::Parked if step.parked_on.contains(&index) => {
                step.parked_on.clear();
                self.offer_again(task, step, None)
            }
            StepState::Ready | StepState::Taken => {
                let entry = self.journal_entry(&row)?;
                self.effect(Effect::Recorded { task, token: step.token, index, entry });
                self.put_step(task, step);
                Ok(())
            }
            _ => {
                self.put_step(task, step);
                Ok(())
            }
        }
    }

    /// The task leaves its instance until one of the entries that its code waits for is answered. Where one is
    /// answered already (the answer crossed the report), it is put up again at once.
    pub(crate) fn task_park(&mut self, task: TaskId, token: Token, by: &WorkerInstance, waiting: &[u32]) -> Result<()> {
        let Current::Live(mut step) = self.reported(task, token, by)? else { return Ok(()) };
        let mut answered = false;
        for entry in waiting {
            let row = self.machine.tables.entries.get(&EntryKey { task, entry: *entry })?;
            let Some(row) = row else {
                let message = format!("task `{task}` has no journal entry {entry} to wait for");
                return Err(Error::new(Code::BadRequest, message).hint("park on entries that were recorded"));
            };
            answered |= row.is_answered();
        }
        if waiting.is_empty() {
            let message = format!("task `{task}` waits for nothing and cannot park");
            return Err(Error::new(Code::BadRequest, message).hint("complete or fail the task"));
        }
        self.leave_unknown(task, &mut step)?;
        self.leave_instance(task, &mut step);
        step.taken = None;
        step.effect = None;
        if answered {
            return self.offer_again(task, *step, None);
        }
        step.parked_on = waiting.to_vec();
        self.set_state(task, &mut step, StepState::Parked);
        self.put_step(task, *step);
        Ok(())
    }

    /// A `sleep` is over.
    pub(crate) fn slept(&mut self, task: TaskId, entry: u32) -> Result<()> {
        self.answer(task, entry, Ok(Payload::null()))
    }
}

/// A request in a few words, for the journal of the run and for errors.
fn what(request: &JournalRequest) -> String {
    match request {
        JournalRequest::Run { name } => format!("run {name}"),
        JournalRequest::Call { capability, .. } => format!("call {capability}"),
        JournalRequest::Sleep { span } => format!("sleep {span}"),
        JournalRequest::Signal { name } => format!("wait for signal {name}"),
        JournalRequest::Approval { prompt, .. } => format!("approval {prompt}"),
    }
}
