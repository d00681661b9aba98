//! What is too much for one record goes on in a later one.
//!
//! For: leaving work as rows, and taking it up again when a timer that is due at once fires. Not for: what is to be
//! stopped and in which order (see `cancel` and `stop`).
//! Invariant: what is left can be repeated, or finds out from the rows that it is not wanted any more; while steps of
//! a run are being stopped, nothing else of it starts.

use consort_types::{Error, Payload, Result, RunId, TaskId};

use super::life::root_task;
use crate::{
    fold::{Fold, Outcome, Work},
    keys::{LaterKey, LaterRank, ScopeKey, TimerKind},
    rows::Later,
};

impl Fold<'_> {
    /// Whether the work waits: for the next record, or until the steps of its run have been stopped.
    pub(crate) fn must_wait(&mut self, work: &Work) -> Result<bool> {
        let run = match work {
            Work::Consider(task) | Work::Begin(task) => task.run,
            Work::Advance(key) => key.run,
            Work::GoOn(_) => return Ok(self.is_long()),
            _ => return Ok(false),
        };
        if self.is_long() {
            return Ok(true);
        }
        self.is_stopping(run)
    }

    /// Whether steps of the run, or of a run above it, are being stopped: then nothing starts in it. (Runs below one
    /// that is being cancelled would multiply faster than the cancellation comes to them.)
    fn is_stopping(&mut self, id: RunId) -> Result<bool> {
        let mut at = Some(id);
        while let Some(id) = at {
            let Some(run) = self.machine.tables.runs.look(&id)? else { return Ok(false) };
            if run.is_stopping() {
                return Ok(true);
            }
            at = run.parent.map(|parent| parent.run);
        }
        Ok(false)
    }

    /// Leaves work to a later record.
    pub(crate) fn leave(&mut self, work: &Work) -> Result<()> {
        let (task, later) = match work {
            Work::Consider(task) => (*task, Later::Consider),
            Work::Begin(task) => (*task, Later::Begin),
            Work::Advance(key) => {
                let key = LaterKey { run: key.run, rank: LaterRank::Scope, scope: key.scope, index: 0 };
                return self.leave_row(key, Later::Advance);
            }
            Work::GoOn(run) => return self.arm_go_on(*run),
            _ => return Ok(()),
        };
        let key = LaterKey { run: task.run, rank: LaterRank::Instance, scope: task.scope, index: task.index };
        self.leave_row(key, later)
    }

    pub(super) fn leave_row(&mut self, key: LaterKey, later: Later) -> Result<()> {
        self.machine.tables.later.put(key, later);
        self.arm_go_on(key.run)
    }

    /// Arms the timer, due at once, that goes on with what the run has left; one is enough.
    pub(super) fn arm_go_on(&mut self, id: RunId) -> Result<()> {
        let armed = self.machine.tables.runs.get(&id)?.filter(|run| !run.continues);
        if let Some(mut run) = armed {
            run.continues = true;
            self.arm(self.now, root_task(id), TimerKind::Continue, 0);
            self.put_run(id, run);
        }
        Ok(())
    }

    /// The timer has fired.
    pub(super) fn continue_run(&mut self, id: RunId) -> Result<()> {
        if let Some(mut run) = self.machine.tables.runs.get(&id)? {
            run.continues = false;
            self.put_run(id, run);
        }
        self.work(Work::GoOn(id));
        Ok(())
    }

    /// Goes on with what the run has left, as far as this record goes: what is to stop before what is to start.
    pub(crate) fn go_on(&mut self, id: RunId) -> Result<()> {
        let run = self.machine.tables.runs.get(&id)?;
        let Some(run) = run.filter(|run| !run.status.is_terminal()) else { return self.drop_left(id) };
        if let Some(walk) = run.cancelling {
            return self.cancel_live(id, walk.from, &walk.reason);
        }
        if let Some(from) = run.pausing {
            self.pause_children(id, from)?;
        }
        if run.stopping == 0 && self.is_stopping(id)? {
            return self.arm_go_on(id);
        }
        self.take_up(id, run.stopping > 0)
    }

    /// Takes up a page of what was left; while there is something to stop, only that.
    fn take_up(&mut self, id: RunId, stopping: bool) -> Result<()> {
        let (from, mut past) = (LaterKey::first(id), LaterKey::last(id));
        if stopping {
            past = LaterKey { rank: LaterRank::Finish, ..from };
        }
        let limit = self.page();
        let page = self.machine.tables.later.range(&from, &past, limit)?;
        if stopping && page.is_empty() {
            return Err(crate::fold::missing("what is to stop of run", &id));
        }
        let more = page.len() == limit || stopping;
        for (key, later) in page {
            self.machine.tables.later.delete(&key);
            let task = key.task();
            match later {
                Later::Stop => self.stop_on(key)?,
                Later::Finish { output, error } => self.finish_late(task, output, error)?,
                Later::Consider => self.work(Work::Consider(task)),
                Later::Begin => self.work(Work::Begin(task)),
                Later::Advance => self.work(Work::Advance(ScopeKey { run: id, scope: key.scope })),
            }
        }
        if more {
            self.work(Work::GoOn(id));
        }
        Ok(())
    }

    /// What an ended run has left is not wanted any more.
    fn drop_left(&mut self, id: RunId) -> Result<()> {
        let limit = self.page();
        let page = self.machine.tables.later.range(&LaterKey::first(id), &LaterKey::last(id), limit)?;
        self.charge(page.len());
        for (key, _) in &page {
            self.machine.tables.later.delete(key);
        }
        self.drop_waiters(id)?;
        if page.len() == limit {
            self.work(Work::GoOn(id));
        }
        Ok(())
    }

    /// An instance whose end was decided ends, now that nothing below it is live.
    fn finish_late(&mut self, task: TaskId, output: Option<Payload>, error: Option<Error>) -> Result<()> {
        if let Some(mut step) = self.step(task)?.filter(|step| !step.state.is_terminal()) {
            step.ending = false;
            self.put_step(task, step);
        }
        let outcome = match (output, error) {
            (Some(output), _) => Outcome::Completed(output),
            (None, Some(error)) => super::scope::failed_as(error),
            (None, None) => Outcome::Skipped { error: None, tainted: false },
        };
        self.work(Work::Finish(task, outcome));
        Ok(())
    }
}
