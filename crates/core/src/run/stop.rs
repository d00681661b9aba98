//! What an instance has opened is stopped when it ends early.
//!
//! For: timeouts, deadlines and reports that end an instance while steps or runs below it are live. Not for:
//! cancelling a run (see `cancel`): there every instance ends by itself, so that clean-up runs.
//! Invariant: an instance ends after everything below it; where nothing below it is live, which two counts of its scope
//! tell, that costs nothing.

use consort_types::{Code, Error, Result, RunId, TaskId};

use crate::{
    fold::{Fold, Outcome},
    keys::{LaterKey, LaterRank, ScopeKey},
    rows::{Later, Scope, ScopeKind, Step, StepState},
};

/// The scopes that an instance has opened and that may still be at work.
fn below(run: RunId, step: &Step) -> impl Iterator<Item = ScopeKey> + use<> {
    [step.child, step.asking].into_iter().flatten().map(move |scope| ScopeKey { run, scope })
}

/// Whether every instance that was started in a scope has ended.
fn is_settled(scope: &Scope) -> bool {
    let started = match scope.kind {
        ScopeKind::Steps { .. } | ScopeKind::Reconcile => scope.total,
        _ => scope.started,
    };
    scope.ended >= started
}

impl Fold<'_> {
    /// Stops everything below an instance that ends. `false` where that is too much for this record: the rest is left
    /// to the next ones, and the instance ends after it.
    pub(crate) fn stop_below(&mut self, task: TaskId, step: &Step, outcome: &Outcome) -> Result<bool> {
        if let Some(child) = step.child_run
            && self.machine.tables.runs.look(&child)?.is_some_and(|run| !run.status.is_terminal())
        {
            self.cancel_later(child, NOT_NEEDED, true);
        }
        let mut open = Vec::new();
        self.note_open(task.run, step, &mut open)?;
        if self.stop_scopes(&mut open)? {
            return Ok(true);
        }
        self.leave_stopping(task.run, &open)?;
        let mut step = self.known_step(task)?;
        self.clear(task, &mut step)?;
        if step.state != StepState::Open {
            self.set_state(task, &mut step, StepState::Open);
        }
        step.ending = true;
        self.put_step(task, step);
        let (output, error) = match outcome {
            Outcome::Completed(output) => (Some(output.clone()), None),
            Outcome::Failed(error) | Outcome::Cancelled(error) => (None, Some(error.clone())),
            Outcome::Skipped { error, .. } => (None, error.clone()),
        };
        let key = LaterKey { run: task.run, rank: LaterRank::Finish, scope: task.scope, index: task.index };
        self.leave_row(key, Later::Finish { output, error })?;
        Ok(false)
    }

    /// Adds the scopes below an instance in which something is live.
    fn note_open(&mut self, run: RunId, step: &Step, open: &mut Vec<(ScopeKey, u32)>) -> Result<()> {
        for key in below(run, step) {
            if !is_settled(&*self.look_scope(key)?) {
                open.push((key, 0));
            }
        }
        Ok(())
    }

    /// Ends what is live in the scopes, and below, without telling the scopes in between: they go with it. `false`
    /// where this record is long; what is left to stop is then still in the list.
    fn stop_scopes(&mut self, open: &mut Vec<(ScopeKey, u32)>) -> Result<bool> {
        while let Some((key, from)) = open.last().copied() {
            if self.is_long() {
                return Ok(false);
            }
            open.pop();
            let mut scope = self.scope(key)?;
            scope.closed = true;
            self.put_scope(key, scope);
            let first = TaskId { run: key.run, scope: key.scope, index: from };
            let past = TaskId { scope: key.scope + 1, index: 0, ..first };
            let limit = self.page();
            let page = self.machine.tables.live.range(&first, &past, limit)?;
            if let Some((last, _)) = page.last().filter(|_| page.len() == limit) {
                open.push((key, last.index.saturating_add(1)));
            }
            for (at, _) in page {
                self.charge(1);
                self.stop_instance(at, open)?;
            }
        }
        Ok(true)
    }

    fn stop_instance(&mut self, task: TaskId, open: &mut Vec<(ScopeKey, u32)>) -> Result<()> {
        let step = self.known_step(task)?;
        self.note_open(task.run, &step, open)?;
        if let Some(child) = step.child_run {
            self.cancel_later(child, NOT_NEEDED, true);
        }
        let place = self.place(task)?;
        self.record_end(&place, task, step, Outcome::Cancelled(Error::new(Code::Cancelled, NOT_NEEDED)))?;
        Ok(())
    }

    /// Leaves scopes to be stopped in a later record; until then nothing in their run starts.
    fn leave_stopping(&mut self, id: RunId, open: &[(ScopeKey, u32)]) -> Result<()> {
        let mut run = self.run(id)?;
        run.stopping += open.len() as u32;
        self.put_run(id, run);
        for (key, from) in open {
            let key = LaterKey { run: id, rank: LaterRank::Stop, scope: key.scope, index: *from };
            self.leave_row(key, Later::Stop)?;
        }
        Ok(())
    }

    /// Goes on with a scope that was left.
    pub(super) fn stop_on(&mut self, key: LaterKey) -> Result<()> {
        let mut run = self.run(key.run)?;
        run.stopping -= 1;
        self.put_run(key.run, run);
        self.stop_or_leave(key.run, vec![(ScopeKey { run: key.run, scope: key.scope }, key.index)])
    }

    fn stop_or_leave(&mut self, id: RunId, mut open: Vec<(ScopeKey, u32)>) -> Result<()> {
        if self.stop_scopes(&mut open)? { Ok(()) } else { self.leave_stopping(id, &open) }
    }

    /// Stops the call that asks what became of a lost attempt, and what it has started.
    pub(super) fn stop_asking(&mut self, task: TaskId, scope: u32) -> Result<()> {
        self.stop_or_leave(task.run, vec![(ScopeKey { run: task.run, scope }, 0)])
    }
}

/// Why what is below an instance is cancelled.
const NOT_NEEDED: &str = "the step above has ended, or needs it no longer";
