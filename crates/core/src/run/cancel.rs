//! Cancellation: of a run, and of everything below a step.
//!
//! For: stopping what is at work. Not for: deciding what clean-up runs (conditions do).
//! Invariant: cancel reaches every descendant (law 7).

use consort_types::{Code, Error, Result, RunId, TaskId};

use super::place::{parent_of, scope_of};
use crate::{
    effect::Effect,
    fold::{Fold, Outcome, Work},
    keys::ScopeKey,
    rows::{Event, Run, RunStatus, StepState},
};

impl Fold<'_> {
    pub(crate) fn cancel_run(&mut self, id: RunId, mut run: Run, reason: &str, force: bool) -> Result<()> {
        let again = run.status != RunStatus::Running;
        if run.status == RunStatus::Compensating || (again && (!force || run.forced)) {
            return Ok(());
        }
        if run.paused {
            run.paused = false;
            self.effect(Effect::Hold { run: id, held: false });
        }
        run.status = RunStatus::Cancelling;
        run.forced |= force;
        let error = Error::new(Code::Cancelled, format!("the run was cancelled: {reason}"));
        run.error = Some(error.clone());
        self.put_run(id, run);
        self.journal(id, None, Event::RunCancelling { reason: reason.to_owned() });
        for task in self.live_of(id)? {
            self.cancel_live(task, &error, reason, force)?;
        }
        Ok(())
    }

    fn cancel_live(&mut self, task: TaskId, error: &Error, reason: &str, force: bool) -> Result<()> {
        let step = self.known_step(task)?;
        let opened = step.child.is_some() || step.child_run.is_some();
        // What is open and has opened nothing is about to start a child run.
        if step.state != StepState::Open || !opened {
            self.work(Work::Finish(task, Outcome::Cancelled(error.clone())));
            return Ok(());
        }
        if let Some(child) = step.child_run {
            let run = self.run(child)?;
            return if run.status.is_terminal() { Ok(()) } else { self.cancel_run(child, run, reason, force) };
        }
        // A loop that pauses, or a fan-out that goes on in another record, has nothing at work that would end it.
        if let Some(scope) = step.child {
            let mut step = step;
            self.disarm(step.wake_at.take(), task, crate::keys::TimerKind::Wake);
            self.put_step(task, step);
            self.work(Work::Advance(ScopeKey { run: task.run, scope }));
        }
        Ok(())
    }

    /// Stops everything below an instance that ends, without telling the scopes in between: they go with it.
    pub(crate) fn cancel_below(&mut self, task: TaskId) -> Result<()> {
        let error = Error::new(Code::Cancelled, "the step above has ended");
        for at in self.live_of(task.run)? {
            if at == task || !self.is_below(at, task)? {
                continue;
            }
            let step = self.known_step(at)?;
            if let Some(child) = step.child_run {
                self.stop_child(child, &error)?;
            }
            let place = self.place(at)?;
            self.record_end(&place, at, step, Outcome::Cancelled(error.clone()))?;
        }
        if let Some(child) = self.known_step(task)?.child_run {
            self.stop_child(child, &error)?;
        }
        Ok(())
    }

    fn stop_child(&mut self, child: RunId, error: &Error) -> Result<()> {
        match self.machine.tables.runs.get(&child)? {
            Some(run) if !run.status.is_terminal() => self.cancel_run(child, run, &error.message, true),
            _ => Ok(()),
        }
    }

    fn is_below(&mut self, task: TaskId, above: TaskId) -> Result<bool> {
        let mut at = Some(task);
        while let Some(task) = at {
            if task == above {
                return Ok(true);
            }
            let scope = self.look_scope(scope_of(task))?;
            at = parent_of(task, &scope);
        }
        Ok(false)
    }
}
