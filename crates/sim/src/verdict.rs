//! The end of a simulation: what must hold when all is quiet.
//!
//! For: effects, leftovers, the last comparison. Not for: what is checked with each record (see `oracle`).
//! Invariant: a simulation passes only if it came to its end and everything here held.

use consort_types::Time;

use crate::{
    plan::{Checked, Violation},
    world::{SECOND, World},
};

/// How late a timer may be when all is calm.
const LATE: u64 = 600 * SECOND;

impl World {
    /// Timers that are due fire, when nothing is in their way (law 6): a span ends when it is over, whatever the wall
    /// clock does. Log time may go on slower by a hundredth.
    pub(crate) fn check_timers(&mut self) -> Checked {
        let calm_for = self.clients.calm_since.map_or(0, |since| self.now - since);
        if calm_for < 2 * LATE || self.host.partition.is_none() {
            return Ok(());
        }
        let passed = self.calm_log.0 + calm_for / 100 * 99;
        match self.fold.overdue(Time(passed.saturating_sub(LATE))) {
            Some(timer) => Err(Violation::of(6, format!("timer {timer:?} was due long ago"))),
            None => Ok(()),
        }
    }

    /// What happens to the world happens once (laws 2 and 5).
    fn check_effects(&self) -> Checked {
        if let Some((task, tokens)) = self.service.repeated() {
            return Err(Violation::of(5, format!("the effect of task {task} happened again, under tokens {tokens:?}")));
        }
        for task in self.fold.completed() {
            if self.service.knows(task) && self.service.count(task) == 0 {
                return Err(Violation::of(2, format!("task {task} is completed, but its effect has not happened")));
            }
        }
        Ok(())
    }

    /// Nobody works for a run that has ended (law 7).
    fn check_leftovers(&self) -> Checked {
        for (instance, task, token) in self.held() {
            if !self.fold.is_live(task, token) {
                let what = format!("instance {instance} still works on task {task}, which is over");
                return Err(Violation::of(7, what));
            }
        }
        Ok(())
    }

    /// All is quiet: the last look.
    pub(crate) fn finish(&mut self) -> Checked {
        self.check_effects()?;
        self.check_leftovers()?;
        self.check_acknowledged()?;
        self.fold.check_deleted()?;
        let stopped = self.host.stop();
        stopped.map_err(|error| Violation::of(4, format!("the process cannot stop: {error}")))?;
        self.fold.compare(&self.host.store.memory, "after the last stop")?;
        self.fold.check_replay()?;
        self.done = true;
        Ok(())
    }
}
