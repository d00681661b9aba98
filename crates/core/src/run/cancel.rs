//! Cancellation of a run and of the runs below it, and pausing of the runs below it.
//!
//! For: stopping what is at work, as many instances in a record as one may. Not for: deciding what clean-up runs
//! (conditions do), or what an instance leaves behind that ends early (see `stop`).
//! Invariant: cancel reaches every descendant (law 7); until it has reached every step of a run, nothing of the run
//! starts or is handed out, so clean-up begins after it.

use consort_types::{Code, Error, Result, RunId, TaskId};

use super::{
    life::root_task,
    place::{parent_of, scope_of},
};
use crate::{
    effect::Effect,
    fold::{Fold, Outcome, Work},
    keys::{ScopeKey, TimerKind},
    rows::{Cancelling, Event, Run, RunStatus, StepState},
};

/// What it costs, in units, to give a run below its own cancellation.
const CHILD_UNITS: usize = 2;

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
        run.error = Some(Error::new(Code::Cancelled, format!("the run was cancelled: {reason}")));
        self.put_run(id, run);
        self.journal(id, None, Event::RunCancelling { reason: reason.to_owned() });
        self.cancel_live(id, (0, 0), reason)
    }

    /// A step whose run is being cancelled, or that has ended, had started this run.
    pub(crate) fn cancel_child(&mut self, id: RunId, reason: &str, force: bool) -> Result<()> {
        match self.machine.tables.runs.get(&id)? {
            Some(run) if !run.status.is_terminal() => self.cancel_run(id, run, reason, force),
            _ => Ok(()),
        }
    }

    /// Leaves it to the queue to cancel a run that a step has started.
    pub(super) fn cancel_later(&mut self, run: RunId, reason: &str, force: bool) {
        self.charge(CHILD_UNITS);
        self.work(Work::Cancel { run, reason: reason.to_owned(), force });
    }

    /// Cancels the live steps of a run, from this one on; what is too much for one record is left to the next.
    pub(super) fn cancel_live(&mut self, id: RunId, mut from: (u32, u32), reason: &str) -> Result<()> {
        let row = self.run(id)?;
        let error = row.error.clone().unwrap_or_else(|| Error::new(Code::Cancelled, "the run was cancelled"));
        let past = TaskId { scope: u32::MAX, index: u32::MAX, ..root_task(id) };
        loop {
            if self.is_long() {
                return self.leave_cancelling(id, Cancelling { reason: reason.to_owned(), from });
            }
            let first = TaskId { run: id, scope: from.0, index: from.1 };
            let limit = self.page();
            let page = self.machine.tables.live.range(&first, &past, limit)?;
            for (task, _) in &page {
                self.charge(1);
                self.cancel_instance(*task, &error, reason, row.forced)?;
                self.settle_ends()?;
            }
            match page.last() {
                Some((last, _)) if page.len() == limit => from = (last.scope, last.index.saturating_add(1)),
                _ => return self.cancelled(id),
            }
        }
    }

    /// The cancellation goes on in a later record. Until then nothing of the run is handed out.
    fn leave_cancelling(&mut self, id: RunId, walk: Cancelling) -> Result<()> {
        let mut run = self.run(id)?;
        if run.status != RunStatus::Cancelling {
            return Ok(());
        }
        if run.cancelling.is_none() {
            self.effect(Effect::Hold { run: id, held: true });
        }
        run.cancelling = Some(walk);
        self.put_run(id, run);
        self.arm_go_on(id)
    }

    /// The cancellation has reached every step; where that took several records, what has waited for it goes on.
    fn cancelled(&mut self, id: RunId) -> Result<()> {
        let mut run = self.run(id)?;
        if self.end_cancelling(id, &mut run) {
            self.put_run(id, run);
            self.work(Work::GoOn(id));
        }
        Ok(())
    }

    /// Lets the tasks of a run go again that were held back while it was being cancelled.
    pub(super) fn end_cancelling(&mut self, id: RunId, run: &mut Run) -> bool {
        let was = run.cancelling.take().is_some();
        if was && !run.paused {
            self.effect(Effect::Hold { run: id, held: false });
        }
        was
    }

    fn cancel_instance(&mut self, task: TaskId, error: &Error, reason: &str, force: bool) -> Result<()> {
        // It may have ended with the one before it.
        let Some(mut step) = self.step(task)?.filter(|step| !step.state.is_terminal() && !step.ending) else {
            return Ok(());
        };
        if step.state != StepState::Open {
            return self.finish(task, Outcome::Cancelled(error.clone()));
        }
        if let Some(child) = step.child_run {
            self.cancel_later(child, reason, force);
        } else if let Some(scope) = step.child {
            // A loop that pauses has nothing at work that would end it.
            self.disarm(step.wake_at.take(), task, TimerKind::Wake);
            self.put_step(task, step);
            self.work(Work::Advance(ScopeKey { run: task.run, scope }));
        }
        Ok(())
    }

    /// Pauses or resumes the runs that steps of this run have started, from this step on.
    pub(super) fn pause_children(&mut self, id: RunId, mut from: (u32, u32)) -> Result<()> {
        let mut row = self.run(id)?;
        let past = TaskId { scope: u32::MAX, index: u32::MAX, ..root_task(id) };
        row.pausing = None;
        let mut more = row.children > 0;
        while more {
            if self.is_long() {
                row.pausing = Some(from);
                break;
            }
            let first = TaskId { run: id, scope: from.0, index: from.1 };
            let limit = self.page();
            let page = self.machine.tables.live.range(&first, &past, limit)?;
            for (task, _) in &page {
                self.charge(1);
                if let Some(run) = self.known_step(*task)?.child_run {
                    self.charge(CHILD_UNITS);
                    self.work(Work::Pause { run, paused: row.paused });
                }
                from = (task.scope, task.index.saturating_add(1));
            }
            more = page.len() == limit;
        }
        let left = row.pausing.is_some();
        self.put_run(id, row);
        if left { self.arm_go_on(id) } else { Ok(()) }
    }

    /// Whether the instance is in a scope that is over, though it has not ended: it is not wanted any more.
    pub(super) fn is_left_behind(&mut self, task: TaskId) -> Result<bool> {
        let scope = self.look_scope(scope_of(task))?;
        let above = parent_of(task, &scope);
        let run_over = self.machine.tables.runs.look(&task.run)?.is_none_or(|run| run.status.is_terminal());
        if scope.closed || run_over {
            return Ok(true);
        }
        // What has begun to stop has not reached every scope below yet.
        match above {
            Some(above) => Ok(self.known_step(above)?.state.is_terminal()),
            None => Ok(false),
        }
    }
}
