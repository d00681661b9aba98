//! Tasks: made ready, taken, completed, handed out.
//!
//! For: the course of an attempt that goes well. Not for: failures (`retry`), losses (`unknown`), journals
//! (`entries`).
//! Invariant: an outcome is recorded at most once (law 2), and only for the current fencing token (law 3).

use std::sync::Arc;

use consort_types::{
    Code, EffectClass, Error, Payload, Result, TaskId, Time, Token, WorkerInstance,
    task::{ConcurrencyKey, ReadyTask},
    worker::{JournalEntry, JournalRequest, TaskOffer},
};
use serde_json::{Value, json};

use super::{Place, Role, soft, step::in_expression, trace};
use crate::{
    effect::{AttemptEnd, Effect},
    fold::{Fold, Outcome, Work},
    keys::{EntryKey, TimerKind},
    rows::{Event, Step, StepState, TaskEntry},
};

/// What a report of an instance that does not hold the attempt is, where it is one of its former holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LateReport {
    /// The attempt had ended by such a report: the first answer stands.
    Repeated,
    /// The outcome of the attempt is unknown, and the report would tell it.
    Settles,
    /// The attempt is recorded as being with an instance of the agent, which must claim it first.
    Unclaimed,
}

fn stranger(task: TaskId, token: Token, holder: &WorkerInstance) -> Error {
    Error::new(Code::Fenced, format!("attempt {token} of task `{task}` is with `{holder}`, of another agent"))
        .hint("drop the work; only the instance that was given a task reports on it")
}

/// What a report is about.
pub(crate) enum Current {
    /// The attempt that counts.
    Live(Box<Step>),
    /// The attempt completed before, by this very token.
    Done,
}

impl Fold<'_> {
    /// Makes the first attempt of a task ready. An input that cannot be evaluated fails the step.
    pub(crate) fn begin_task(&mut self, place: &Place, task: TaskId, mut step: Step) -> Result<()> {
        let input = self.task_input(place, task)?;
        step.began = Some(self.now);
        self.ready(task, step, Some(input))
    }

    /// Makes the next attempt of a task ready, under a new fencing token.
    pub(crate) fn ready(&mut self, task: TaskId, mut step: Step, input: Option<Payload>) -> Result<()> {
        step.attempt += 1;
        self.offer_again(task, step, input)
    }

    /// Puts the current attempt up for hand-out under a new fencing token.
    pub(crate) fn offer_again(&mut self, task: TaskId, mut step: Step, input: Option<Payload>) -> Result<()> {
        let token = Token(self.seq.0);
        assert!(token >= step.token, "fencing tokens only grow");
        step.token = token;
        // What it asks for may be an expression that fails: then nothing has changed yet.
        let ready = self.ready_task(task, &step)?;
        self.disarm(step.timeout_at.take(), task, TimerKind::Timeout);
        self.disarm(step.wake_at.take(), task, TimerKind::Backoff);
        step.taken = None;
        self.set_state(task, &mut step, StepState::Ready);
        self.put_step(task, step);
        if let Some(input) = input {
            let weight = input.len() as usize;
            self.machine.inputs.put((task, token), input, weight);
        }
        self.effect(Effect::Ready(ready));
        Ok(())
    }

    /// What the dispatcher needs to know of a task.
    pub(crate) fn ready_task(&mut self, task: TaskId, step: &Step) -> Result<ReadyTask> {
        let place = self.place(task)?;
        let (capability, agent) = self.target(&place)?;
        let definition = place.step();
        let own = matches!(place.role, Role::Body(_));
        let concurrency = match &definition.concurrency {
            Some(limit) if own => {
                let key = match &limit.key {
                    Some(key) => match self.evaluate(&place, task, key)? {
                        Value::String(text) => text,
                        other => other.to_string(),
                    },
                    None => format!("{}/{}/{}", task.run, place.block, place.index),
                };
                Some(ConcurrencyKey { key: format!("{}/{key}", place.run.namespace), limit: limit.limit })
            }
            _ => None,
        };
        let effect = if own { definition.effect } else { None };
        Ok(ReadyTask {
            task,
            token: step.token,
            namespace: place.run.namespace.clone(),
            capability,
            agent,
            priority: place
                .run
                .priority
                .saturating_add(definition.priority)
                .saturating_add(self.call_priority(&place)?),
            ready: self.now,
            concurrency,
            effect,
            route: self.route_of(&place, task)?,
            deadline: [step.deadline_at, place.run.deadline].into_iter().flatten().min(),
        })
    }

    /// The input of a task; the same whenever it is evaluated, so it is not stored.
    pub(crate) fn task_input(&mut self, place: &Place, task: TaskId) -> Result<Payload> {
        match place.role {
            Role::Body(_) => {
                let with = &place.step().with;
                let environment = self.environment(place, task, &with.references())?;
                let bytes = self.write_json(with, &environment).map_err(|error| in_expression("with", error))?;
                Ok(Payload::inline(bytes))
            }
            Role::Call { .. } => match self.entry_of(place)?.as_deref().map(|row| &row.request) {
                Some(JournalRequest::Call { input, .. }) => Ok(input.clone()),
                _ => Ok(Payload::null()),
            },
            Role::Compensation(original) => self.compensation_input(place, original),
            Role::Reconcile(asker) => self.reconcile_input(asker),
        }
    }

    /// The input of a compensation, as seen from the instance that it undoes: the step's own output is that of the
    /// very item or iteration.
    fn compensation_input(&mut self, place: &Place, original: TaskId) -> Result<Payload> {
        let Some(undo) = &place.step().compensate else { return Ok(Payload::null()) };
        let mut environment = self.environment(place, original, &undo.with.references())?;
        if let Some(own) = environment.steps.get_mut(place.step().name.as_str()) {
            *own = self.step_value(original)?;
        }
        let bytes = self.write_json(&undo.with, &environment).map_err(|error| in_expression("compensate", error))?;
        Ok(Payload::inline(bytes))
    }

    /// Finds the attempt that a report is about.
    pub(crate) fn current(&mut self, task: TaskId, token: Token) -> Result<Current> {
        let Some(step) = self.step(task)? else {
            return Err(Error::new(Code::TaskNotFound, format!("there is no task `{task}`"))
                .hint("its run may have been deleted; drop the work"));
        };
        if step.state == StepState::Completed && step.token == token && step.attempt > 0 {
            return Ok(Current::Done);
        }
        let open = matches!(step.state, StepState::Ready | StepState::Taken | StepState::Unknown);
        if open && step.token == token && step.attempt > 0 {
            return Ok(Current::Live(Box::new(step)));
        }
        let message = if step.token == token {
            format!("the attempt {token} of task `{task}` is over: the task is {}", step.state.as_str())
        } else {
            format!("token {token} of task `{task}` is old: the current one is {}", step.token)
        };
        Err(Error::new(Code::Fenced, message).hint("drop the work; what was recorded stays"))
    }

    /// Finds the attempt that an instance reports on, and refuses one whose recorded holder serves another agent.
    pub(crate) fn reported(&mut self, task: TaskId, token: Token, by: &WorkerInstance) -> Result<Current> {
        let current = self.current(task, token)?;
        if let Current::Live(step) = &current
            // Until its hand-out is recorded, the row names who had the attempt before.
            && step.state != StepState::Ready
            && let Some(holder) = step.instance.as_ref().filter(|holder| holder.agent != by.agent)
        {
            return Err(stranger(task, token, holder));
        }
        Ok(current)
    }

    /// What becomes of a report by an instance that does not hold the attempt: an error where it changes nothing.
    pub(crate) fn late_report(
        &mut self,
        namespace: &str,
        task: TaskId,
        token: Token,
        by: &WorkerInstance,
    ) -> Result<LateReport> {
        let failed = self.step(task)?.filter(|step| step.token == token && step.state == StepState::Backoff);
        let (step, answered) = match failed {
            Some(step) => (step, true),
            None => match self.current(task, token)? {
                Current::Done => (self.known_step(task)?, true),
                Current::Live(step) => (*step, false),
            },
        };
        let of_run = self.run(task.run)?.namespace == namespace;
        match step.instance.filter(|holder| of_run && holder.agent == by.agent) {
            Some(_) if answered => Ok(LateReport::Repeated),
            Some(_) if step.state == StepState::Unknown => Ok(LateReport::Settles),
            Some(_) if step.state == StepState::Taken => Ok(LateReport::Unclaimed),
            _ => Err(Error::new(Code::Fenced, format!("attempt {token} of task `{task}` is not with this instance"))
                .hint("drop the work; only the instance that was given a task reports on it")),
        }
    }

    pub(crate) fn task_taken(
        &mut self,
        task: TaskId,
        token: Token,
        instance: &WorkerInstance,
        effect: EffectClass,
        at: Time,
    ) -> Result<()> {
        let Current::Live(mut step) = self.reported(task, token, instance)? else { return Ok(()) };
        if step.state != StepState::Ready {
            // The worker has reconnected under another name and still holds the attempt.
            step.instance = Some(instance.clone());
            self.put_step(task, *step);
            return Ok(());
        }
        step.instance = Some(instance.clone());
        step.taken = Some(at.min(self.now));
        step.effect = Some(effect);
        self.set_state(task, &mut step, StepState::Taken);
        let place = self.place(task)?;
        if let Some(span) = self.timeout_of(&place)? {
            let due = self.now.after(span);
            step.timeout_at = Some(due);
            self.arm(due, task, TimerKind::Timeout, 0);
        }
        self.journal(task.run, Some(task), Event::AttemptTaken { attempt: step.attempt, instance: instance.clone() });
        self.put_step(task, *step);
        Ok(())
    }

    /// Notes who took the attempt, where that had no record of its own.
    pub(crate) fn note_taken(&mut self, step: &mut Step, taken: Option<&(WorkerInstance, Time)>) {
        if let (StepState::Ready, Some((instance, at))) = (step.state, taken) {
            step.instance = Some(instance.clone());
            step.taken = Some((*at).min(self.now));
        }
    }

    pub(crate) fn task_complete(
        &mut self,
        task: TaskId,
        token: Token,
        by: &WorkerInstance,
        output: &Payload,
        holder: Option<&(WorkerInstance, Time)>,
    ) -> Result<()> {
        let Current::Live(mut step) = self.reported(task, token, by)? else { return Ok(()) };
        self.note_taken(&mut step, holder);
        self.put_step(task, *step);
        self.retain(output)?;
        self.effect(Effect::AttemptEnded { task, token, end: AttemptEnd::Completed });
        self.work(Work::Finish(task, Outcome::Completed(output.clone())));
        Ok(())
    }

    /// The task as a worker sees it; `None` where it is not to be handed out.
    pub(crate) fn offer(&mut self, task: TaskId) -> Result<Option<TaskOffer>> {
        let Some(step) = self.step(task)? else { return Ok(None) };
        if !matches!(step.state, StepState::Ready | StepState::Taken) || step.attempt == 0 {
            return Ok(None);
        }
        let place = self.place(task)?;
        let (capability, _) = self.target(&place)?;
        let input = match self.machine.inputs.get(&(task, step.token)) {
            Some(input) => input,
            None => soft(self.task_input(&place, task))?.unwrap_or_default(),
        };
        let input = match &input {
            Payload::Inline(_) => input,
            Payload::Blob { .. } => Payload::Inline(self.machine.payload_bytes(&input)?),
        };
        let timeout = self.timeout_of(&place)?;
        let deadlines = [timeout.map(|span| self.now.after(span)), step.deadline_at, place.run.deadline];
        Ok(Some(TaskOffer {
            task,
            token: step.token,
            attempt: step.attempt,
            capability: capability.unwrap_or_default(),
            workflow: place.run.workflow.clone(),
            step: self.path(task)?,
            input,
            idempotency_key: task.to_string(),
            deadline: deadlines.into_iter().flatten().min(),
            journal: self.task_journal(task, step.entries)?,
            traceparent: trace::of_attempt(&place.run, task, step.token),
        }))
    }

    fn task_journal(&mut self, task: TaskId, entries: u32) -> Result<Vec<JournalEntry>> {
        let mut journal = Vec::with_capacity(entries as usize);
        for entry in 0..entries {
            let row = self.machine.tables.entries.get(&EntryKey { task, entry })?;
            let row = row.ok_or_else(|| crate::fold::missing("journal entry", &format_args!("{task}/{entry}")))?;
            journal.push(self.journal_entry(&row)?);
        }
        Ok(journal)
    }

    /// A journal entry as a worker sees it, with its documents in full.
    pub(crate) fn journal_entry(&mut self, row: &TaskEntry) -> Result<JournalEntry> {
        let result = match (&row.output, &row.error) {
            (Some(output), _) => Some(Ok(Payload::Inline(self.machine.payload_bytes(output)?))),
            (None, Some(error)) => Some(Err(error.clone())),
            (None, None) => None,
        };
        Ok(JournalEntry { request: row.request.clone(), after: row.after.clone(), result })
    }

    /// What a reconciler is asked.
    fn reconcile_input(&mut self, asker: TaskId) -> Result<Payload> {
        let step = self.known_step(asker)?;
        let place = self.place(asker)?;
        let input = soft(self.task_input(&place, asker))?.unwrap_or_default();
        let input = self.machine.payload_bytes(&input)?;
        let input: Arc<Value> = Arc::new(serde_json::from_slice(&input).unwrap_or_default());
        let question = json!({
            "task": asker.to_string(),
            "idempotency_key": asker.to_string(),
            "attempt": step.attempt,
            "input": *input,
        });
        Ok(Payload::from_value(&question))
    }
}
