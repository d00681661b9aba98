//! The life of a step instance: considered, begun, finished.
//!
//! For: what every kind of step has in common. Not for: tasks, waits and scopes (their modules).
//! Invariant: an instance ends once; its end is told to its scope, and to the steps that need it, once.

use consort_types::{Code, Error, Payload, Result, TaskId, worker::JournalRequest};
use consort_workflow::{Action, BlockId};

use super::{
    Layer, Place, Role,
    compensate::is_compensable,
    place::{parent_of, scope_of},
    soft,
};
use crate::{
    effect::Effect,
    fold::{Fold, Outcome, Work},
    keys::{InboxKey, TimerKind},
    rows::{Event, RunStatus, ScopeKind, Step, StepState},
};

impl Fold<'_> {
    /// All that the step needs has ended: does it run?
    pub(crate) fn consider(&mut self, task: TaskId) -> Result<()> {
        if self.known_step(task)?.state != StepState::Pending || self.is_left_behind(task)? {
            return Ok(());
        }
        let place = self.place(task)?;
        if place.run.forced {
            let error = Error::new(Code::Cancelled, "the run was cancelled");
            self.work(Work::Finish(task, Outcome::Cancelled(error)));
            return Ok(());
        }
        let status = self.status_of(&place, task)?;
        let step = place.step();
        let runs = match &step.condition {
            None => Ok(status.success),
            Some(condition) => {
                soft(self.environment(&place, task, condition.references()).and_then(|mut environment| {
                    environment.status = status;
                    let runs = step.runs(&environment);
                    self.charge_cost(environment.meter.cost());
                    runs
                }))?
            }
        };
        let outcome = match runs {
            // At once: a condition that has cost all that one record may is not to be asked again in the next.
            Ok(true) => return self.begin(task),
            Ok(false) if place.run.status == RunStatus::Cancelling => {
                Outcome::Cancelled(Error::new(Code::Cancelled, "the run was cancelled before this step began"))
            }
            Ok(false) if !status.success => {
                let error = Error::new(Code::UpstreamFailed, "a step that this one needs has failed");
                Outcome::Skipped { error: Some(error), tainted: true }
            }
            Ok(false) => Outcome::Skipped { error: None, tainted: false },
            Err(error) => Outcome::Failed(in_expression("if", error)),
        };
        self.work(Work::Finish(task, outcome));
        Ok(())
    }

    pub(crate) fn begin(&mut self, task: TaskId) -> Result<()> {
        let step = self.known_step(task)?;
        if step.state != StepState::Pending || self.is_left_behind(task)? {
            return Ok(());
        }
        let place = self.place(task)?;
        let inner = matches!(place.role, Role::Body(Layer::Item | Layer::Iteration));
        if place.run.status == RunStatus::Cancelling && (inner || place.run.forced) {
            // It was left to this record, and its run was cancelled in between.
            self.work(Work::Finish(task, Outcome::Cancelled(Error::new(Code::Cancelled, "the run was cancelled"))));
            return Ok(());
        }
        let begun = match place.role {
            Role::Body(layer) => self.begin_body(&place, task, step, layer),
            Role::Call { .. } => self.begin_entry(&place, task, step),
            Role::Compensation(_) | Role::Reconcile(_) => self.begin_task(&place, task, step),
        };
        if let Err(error) = soft(begun)? {
            self.work(Work::Finish(task, Outcome::Failed(error)));
        }
        Ok(())
    }

    fn begin_body(&mut self, place: &Place, task: TaskId, mut step: Step, layer: Layer) -> Result<()> {
        let definition = place.step();
        if layer == Layer::Step
            && let Some(span) = definition.deadline
        {
            let due = self.now.after(span);
            step.deadline_at = Some(due);
            self.arm(due, task, TimerKind::Deadline, 0);
            self.put_step(task, step.clone());
        }
        if let (Layer::Step, Some(for_each)) = (layer, &definition.for_each) {
            return self.begin_items(place, task, step, for_each);
        }
        if let (Layer::Step | Layer::Item, Some(repeat)) = (layer, &definition.repeat) {
            return self.begin_iterations(task, step, repeat);
        }
        match &definition.action {
            Action::Call { .. } => self.begin_task(place, task, step),
            Action::Group(block) => self.begin_group(place, task, step, *block),
            Action::Workflow { name, version } => self.begin_child_run(place, task, step, name, version.as_deref()),
            Action::Wait(wait) => self.begin_wait(place, task, step, wait),
            Action::Approve(approve) => self.begin_approve(place, task, step, approve),
        }
    }

    /// What a task's journal asks for begins: a task of its own, or a question to a person.
    fn begin_entry(&mut self, place: &Place, task: TaskId, step: Step) -> Result<()> {
        let row = self.entry_of(place)?;
        let Some(JournalRequest::Approval { prompt, detail }) = row.as_deref().map(|row| &row.request) else {
            return self.begin_task(place, task, step);
        };
        let details = Some(detail.clone()).filter(|detail| *detail != Payload::null());
        self.ask_approval(place, task, step, prompt.clone(), details);
        Ok(())
    }

    fn begin_group(&mut self, place: &Place, task: TaskId, step: Step, block: BlockId) -> Result<()> {
        let key = self.open_block(task.run, Some(task), block)?;
        self.open(place, task, step, Some(key.scope));
        Ok(())
    }

    /// The instance is at work through what it opened.
    pub(crate) fn open(&mut self, place: &Place, task: TaskId, mut step: Step, child: Option<u32>) {
        step.child = child;
        step.began = Some(self.now);
        self.set_state(task, &mut step, StepState::Open);
        let call = matches!(place.step().action, Action::Call { .. });
        if !call && let Some(span) = place.step().timeout {
            step.timeout_at = Some(self.now.after(span));
            self.arm(self.now.after(span), task, TimerKind::Timeout, 0);
        }
        self.journal(task.run, Some(task), Event::StepBegan);
        self.put_step(task, step);
    }

    /// The instance ends: its row is final from here on.
    pub(crate) fn finish(&mut self, task: TaskId, outcome: Outcome) -> Result<()> {
        let Some(step) = self.step(task)? else { return Ok(()) };
        if step.state.is_terminal() || step.ending {
            // The first end counts; what this one made is nobody's.
            return if let Outcome::Completed(output) = &outcome { self.release(output) } else { Ok(()) };
        }
        if !self.stop_below(task, &step, &outcome)? {
            return Ok(());
        }
        let place = self.place(task)?;
        let step = self.record_end(&place, task, step, outcome)?;
        self.tell_scope(&place, task, &step)
    }

    /// Makes the end of an instance final, without telling anybody.
    pub(crate) fn record_end(&mut self, place: &Place, task: TaskId, mut step: Step, outcome: Outcome) -> Result<Step> {
        self.clear(task, &mut step)?;
        step.ended = Some(self.now);
        let (state, event) = match outcome {
            Outcome::Completed(output) => {
                step.output = Some(output);
                step.error = None;
                (StepState::Completed, Event::StepCompleted { attempt: step.attempt })
            }
            Outcome::Failed(error) => {
                step.error = Some(error.clone());
                (StepState::Failed, Event::StepFailed { error })
            }
            Outcome::Skipped { error, tainted } => {
                step.error.clone_from(&error);
                step.tainted = tainted;
                (StepState::Skipped, Event::StepSkipped { error })
            }
            Outcome::Cancelled(error) => {
                step.error = Some(error.clone());
                (StepState::Cancelled, Event::StepCancelled { error })
            }
        };
        self.set_state(task, &mut step, state);
        if state == StepState::Completed && is_compensable(place) {
            step.completed_seq = Some(self.seq);
        }
        self.journal(task.run, Some(task), event);
        self.put_step(task, step.clone());
        Ok(step)
    }

    /// Takes back what waits on the instance's behalf: timers, hand-outs, questions.
    pub(super) fn clear(&mut self, task: TaskId, step: &mut Step) -> Result<()> {
        self.disarm(step.timeout_at.take(), task, TimerKind::Timeout);
        self.disarm(step.deadline_at.take(), task, TimerKind::Deadline);
        let waking = if step.state == StepState::Backoff { TimerKind::Backoff } else { TimerKind::Wake };
        self.disarm(step.wake_at.take(), task, waking);
        if matches!(step.state, StepState::Approval | StepState::Unknown) {
            let namespace = self.run(task.run)?.namespace;
            self.machine.tables.inbox.delete(&InboxKey { namespace, task });
        }
        if matches!(step.state, StepState::Ready | StepState::Taken | StepState::Parked | StepState::Unknown) {
            self.machine.inputs.take(&(task, step.token));
            self.effect(Effect::Gone { task, token: step.token, stop: Some("ended") });
        }
        Ok(())
    }

    fn tell_scope(&mut self, place: &Place, task: TaskId, step: &Step) -> Result<()> {
        let key = scope_of(task);
        let mut scope = self.scope(key)?;
        if scope.closed {
            return Ok(());
        }
        let forgiven = matches!(place.role, Role::Body(_)) && place.step().continue_on_error;
        scope.ended += 1;
        if step.state == StepState::Cancelled || (step.state == StepState::Failed && !forgiven) {
            scope.failed += 1;
            scope.error = scope.error.take().or_else(|| step.error.clone());
        }
        let (kind, complete, parent) = (scope.kind, scope.ended == scope.total, parent_of(task, &scope));
        self.put_scope(key, scope);
        match (kind, parent) {
            (ScopeKind::Steps { .. }, _) => {
                self.release_dependents(place, task)?;
                if complete {
                    self.close_block(key)?;
                }
            }
            (ScopeKind::Calls, Some(caller)) => self.call_ended(caller, task.index, step)?,
            (ScopeKind::Reconcile, Some(asker)) => self.reconciled(asker, step)?,
            _ => self.work(Work::Advance(key)),
        }
        Ok(())
    }

    fn release_dependents(&mut self, place: &Place, task: TaskId) -> Result<()> {
        self.charge(place.step().dependents.len() / LIGHT_PER_UNIT);
        for dependent in &place.step().dependents {
            let at = TaskId { index: *dependent as u32, ..task };
            let mut row = self.known_step(at)?;
            if row.state != StepState::Pending {
                continue;
            }
            assert!(row.waiting > 0, "step {at} was released more often than it has needs");
            row.waiting -= 1;
            if row.waiting == 0 {
                self.work(Work::Consider(at));
            }
            self.put_step(at, row);
        }
        Ok(())
    }
}

/// Rows that are only looked at or counted down, and that together count as one unit of work.
pub(super) const LIGHT_PER_UNIT: usize = 32;

/// Says which expression of a step failed.
pub(crate) fn in_expression(key: &str, error: Error) -> Error {
    Error { message: format!("in `{key}`: {}", error.message), ..error }
}
