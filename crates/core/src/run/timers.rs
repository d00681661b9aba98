//! Timers: what each kind does when it fires.
//!
//! For: the moment a timer is due. Not for: when to look (the engine appends ticks).
//! Invariant: a timer whose reason has gone does nothing; it never acts on a later attempt or step.

use consort_types::{Code, Error, Result, TaskId};

use super::life::root_task;
use crate::{
    effect::{AttemptEnd, Effect},
    fold::{Fold, Outcome, Work},
    keys::{TimerKey, TimerKind},
    rows::{RunStatus, Step, StepState},
};

impl Fold<'_> {
    pub(crate) fn fire(&mut self, timer: TimerKey) -> Result<()> {
        let (task, id) = (timer.task, timer.task.run);
        match timer.kind {
            TimerKind::RunTimeout => return self.run_timed_out(task),
            TimerKind::Reap => return self.reap(id),
            TimerKind::Retention => {
                let run = self.machine.tables.runs.get(&id)?;
                if let Some(run) = run.filter(|run| run.status != RunStatus::Deleted) {
                    self.delete_run(id, run);
                }
                return Ok(());
            }
            TimerKind::Continue => return self.continue_run(id),
            TimerKind::Sleep => return self.slept(task, timer.entry),
            _ => {}
        }
        let Some(step) = self.step(task)?.filter(|step| !step.state.is_terminal()) else { return Ok(()) };
        self.fire_step(timer, task, step)
    }

    fn fire_step(&mut self, timer: TimerKey, task: TaskId, mut step: Step) -> Result<()> {
        match timer.kind {
            TimerKind::Timeout if step.timeout_at == Some(timer.due) => match step.state {
                StepState::Taken | StepState::Ready => self.attempt_timed_out(task, step),
                _ => {
                    step.timeout_at = None;
                    self.put_step(task, step);
                    self.wait_timed_out(task);
                    Ok(())
                }
            },
            TimerKind::Deadline if step.deadline_at == Some(timer.due) => {
                let error = Error::new(Code::DeadlinePassed, "the step did not end within its deadline")
                    .hint("raise `deadline`, or make the step smaller");
                step.deadline_at = None;
                if matches!(step.state, StepState::Ready | StepState::Taken) {
                    let (token, end) = (step.token, AttemptEnd::Expired);
                    self.effect(Effect::AttemptEnded { task, token, end });
                }
                self.put_step(task, step);
                self.work(Work::Finish(task, Outcome::Failed(error)));
                Ok(())
            }
            TimerKind::Backoff if step.state == StepState::Backoff && step.wake_at == Some(timer.due) => {
                step.wake_at = None;
                step.instance = None;
                step.effect = None;
                self.ready(task, step, None)
            }
            TimerKind::Wake if step.wake_at == Some(timer.due) => self.woken(task, step),
            _ => Ok(()),
        }
    }

    fn run_timed_out(&mut self, task: TaskId) -> Result<()> {
        let Some(mut run) = self.machine.tables.runs.get(&task.run)? else { return Ok(()) };
        if run.status != RunStatus::Running {
            return Ok(());
        }
        run.deadline = None;
        self.put_run(task.run, run.clone());
        debug_assert_eq!(task, root_task(task.run));
        self.cancel_run(task.run, run, "it did not end within its timeout", false)
    }
}
