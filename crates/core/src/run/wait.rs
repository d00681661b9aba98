//! Waits: for a time, a signal, a person.
//!
//! For: steps and journal entries that wait for something from outside. Not for: back-off.
//! Invariant: a signal is read by exactly one waiter, first come, first served.

use consort_types::{Code, Error, Payload, Result, RunId, Seq, Span, TaskId};
use consort_workflow::{Approve, Wait, span_of, time_of};
use serde_json::{Value, json};

use super::{Place, Role, step::in_expression};
use crate::{
    fold::{Fold, Outcome, Work},
    keys::{EntryKey, InboxKey, SignalKey, TimerKind},
    rows::{Ask, Event, InboxItem, Signal, Step, StepState, TaskEntry, Waiter},
};

impl Fold<'_> {
    pub(crate) fn begin_wait(&mut self, place: &Place, task: TaskId, mut step: Step, wait: &Wait) -> Result<()> {
        let wake = match wait {
            Wait::For(template) => {
                let value = self.evaluate(place, task, template).map_err(|error| in_expression("wait", error))?;
                Some(self.now.after(span_of(&value)?))
            }
            Wait::Until(template) => {
                let value = self.evaluate(place, task, template).map_err(|error| in_expression("wait", error))?;
                Some(time_of(&value)?.max(self.now))
            }
            Wait::Signal { .. } => None,
        };
        step.began = Some(self.now);
        step.wake_at = wake;
        if let Some(due) = wake {
            self.arm(due, task, TimerKind::Wake, 0);
        }
        let own = if let Wait::Signal { timeout, .. } = wait { *timeout } else { None };
        self.limit_wait(place, task, &mut step, own);
        self.set_state(task, &mut step, StepState::Waiting);
        self.journal(task.run, Some(task), Event::StepBegan);
        self.put_step(task, step);
        match wait {
            Wait::Signal { name, .. } => self.await_signal(task, None, name),
            _ => Ok(()),
        }
    }

    fn limit_wait(&mut self, place: &Place, task: TaskId, step: &mut Step, own: Option<Span>) {
        let shortest = [own, place.step().timeout].into_iter().flatten().min();
        if let Some(span) = shortest {
            let due = self.now.after(span);
            step.timeout_at = Some(due);
            self.arm(due, task, TimerKind::Timeout, 0);
        }
    }

    pub(crate) fn begin_approve(
        &mut self,
        place: &Place,
        task: TaskId,
        mut step: Step,
        approve: &Approve,
    ) -> Result<()> {
        let title = self.evaluate(place, task, &approve.title).map_err(|error| in_expression("title", error))?;
        let details = match &approve.details {
            Some(template) => {
                let value = self.evaluate(place, task, template).map_err(|error| in_expression("details", error))?;
                Some(Payload::from_value(&value))
            }
            None => None,
        };
        let title = title.as_str().map_or_else(|| title.to_string(), str::to_owned);
        self.limit_wait(place, task, &mut step, approve.timeout);
        self.ask_approval(place, task, step, title, details);
        Ok(())
    }

    /// Puts a question into the inbox; the instance waits for the answer.
    pub(crate) fn ask_approval(
        &mut self,
        place: &Place,
        task: TaskId,
        mut step: Step,
        title: String,
        details: Option<Payload>,
    ) {
        let item = InboxItem { since: self.now, ask: Ask::Approval, title, details };
        let namespace = place.run.namespace.clone();
        self.machine.tables.inbox.put(InboxKey { namespace, task }, item);
        step.began = Some(self.now);
        self.set_state(task, &mut step, StepState::Approval);
        self.journal(task.run, Some(task), Event::StepBegan);
        self.put_step(task, step);
    }

    pub(crate) fn approve(&mut self, task: TaskId, approved: bool, by: &str, comment: Option<&str>) -> Result<()> {
        if self.step(task)?.is_none_or(|step| step.state != StepState::Approval) {
            return Err(Error::new(Code::StepState, format!("`{task}` does not wait for an approval"))
                .hint("`consort inbox` shows what waits for a decision"));
        }
        let decision = if approved { "approved" } else { "rejected" };
        let event =
            Event::Decided { decision: decision.to_owned(), by: by.to_owned(), comment: comment.map(str::to_owned) };
        self.journal(task.run, Some(task), event);
        // To code that asked, a no is an answer; a step that says nothing of it fails.
        let asked_by_code = matches!(self.place(task)?.role, Role::Call { .. });
        let outcome = if approved || asked_by_code {
            let output = json!({ "approved": approved, "by": by, "comment": comment });
            Outcome::Completed(self.keep("approval", serde_json::to_vec(&output).unwrap_or_default())?)
        } else {
            let words = comment.map(|comment| format!(": {comment}")).unwrap_or_default();
            Outcome::Failed(Error::new(Code::NotApproved, format!("`{by}` said no{words}")))
        };
        self.work(Work::Finish(task, outcome));
        Ok(())
    }

    /// A signal arrives: it goes to the first that waits for it, or is kept.
    pub(crate) fn signal(&mut self, id: RunId, name: &str, payload: &Payload) -> Result<()> {
        let event = Event::SignalReceived { name: name.to_owned(), payload: payload.clone() };
        self.retain(payload)?;
        self.journal(id, None, event);
        let (from, to) = signal_range(id, name);
        while let Some((key, waiter)) = self.machine.tables.waiters.range(&from, &to, 1)?.pop() {
            self.machine.tables.waiters.delete(&key);
            if self.is_waiting(&waiter)? {
                return self.deliver(&waiter, payload.clone());
            }
        }
        let mut run = self.run(id)?;
        run.signals_waiting += 1;
        self.put_run(id, run);
        self.retain(payload)?;
        let key = SignalKey { run: id, name: name.to_owned(), seq: self.seq, n: 0 };
        self.machine.tables.signals.insert_new(key, Signal { payload: payload.clone() });
        Ok(())
    }

    /// A step, or an entry of its task's journal, waits for a signal: the oldest kept one, or the next.
    pub(crate) fn await_signal(&mut self, task: TaskId, entry: Option<u32>, name: &str) -> Result<()> {
        let (from, to) = signal_range(task.run, name);
        let waiter = Waiter { task, entry };
        if let Some((key, signal)) = self.machine.tables.signals.range(&from, &to, 1)?.pop() {
            self.machine.tables.signals.delete(&key);
            let mut run = self.run(task.run)?;
            run.signals_waiting -= 1;
            self.put_run(task.run, run);
            self.release(&signal.payload)?;
            return self.deliver(&waiter, signal.payload);
        }
        let n = self.next_ordinal();
        let key = SignalKey { run: task.run, name: name.to_owned(), seq: self.seq, n };
        self.machine.tables.waiters.insert_new(key, waiter);
        Ok(())
    }

    fn is_waiting(&mut self, waiter: &Waiter) -> Result<bool> {
        let Some(step) = self.step(waiter.task)? else { return Ok(false) };
        match waiter.entry {
            None => Ok(step.state == StepState::Waiting),
            Some(entry) => {
                let row = self.machine.tables.entries.get(&EntryKey { task: waiter.task, entry })?;
                Ok(!step.state.is_terminal() && row.as_ref().is_some_and(|row: &TaskEntry| !row.is_answered()))
            }
        }
    }

    fn deliver(&mut self, waiter: &Waiter, payload: Payload) -> Result<()> {
        if let Some(entry) = waiter.entry {
            self.answer(waiter.task, entry, Ok(payload))
        } else {
            self.retain(&payload)?;
            self.work(Work::Finish(waiter.task, Outcome::Completed(payload)));
            Ok(())
        }
    }

    /// A `wait` or a pause between iterations is over.
    pub(crate) fn woken(&mut self, task: TaskId, mut step: Step) -> Result<()> {
        step.wake_at = None;
        let child = step.child;
        let state = step.state;
        self.put_step(task, step);
        match (state, child) {
            (StepState::Waiting, _) => {
                let output = self.keep("wait", serde_json::to_vec(&Value::Null).unwrap_or_default())?;
                self.work(Work::Finish(task, Outcome::Completed(output)));
                Ok(())
            }
            (StepState::Open, Some(scope)) => self.next_iteration(crate::keys::ScopeKey { run: task.run, scope }, task),
            _ => Ok(()),
        }
    }

    /// A step that waits, or that has opened others, did not end within its timeout.
    pub(crate) fn wait_timed_out(&mut self, task: TaskId) {
        let error = Error::new(Code::TimedOut, "the step did not end within its timeout");
        self.work(Work::Finish(task, Outcome::Failed(error)));
    }
}

fn signal_range(run: RunId, name: &str) -> (SignalKey, SignalKey) {
    let key = |seq| SignalKey { run, name: name.to_owned(), seq: Seq(seq), n: 0 };
    (key(0), key(u64::MAX))
}
