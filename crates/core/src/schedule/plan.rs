//! `PlanSchedule`: which instants come next.
//!
//! For: taking in what was planned outside: the log has it, so a replay needs no calendar. Not for: planning (the engine
//! does), or acting (see `due`).
//! Invariant: a plan continues exactly where the one before it ended; one that does not changes nothing.

use consort_types::{Code, Error, Result, Seq, Time, bounds::check_count, limits};
use minicbor::{Decode, Encode};

use crate::{
    context::ApplyContext,
    key::NamedKey,
    schedule::{act, due, rows::Schedule, set::check_names},
};

/// More of the plan of a schedule.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct PlanSchedule {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The schedule.
    #[n(1)]
    pub name: String,
    /// The record that had set the times that were planned with.
    #[n(2)]
    pub revision: Seq,
    /// Where the plan begins, exclusive.
    #[n(3)]
    pub after: Time,
    /// How many instants, from there on up to `through`, come too late to be acted on.
    #[n(4)]
    pub missed: u64,
    /// The last of those; `after` where there is none.
    #[n(5)]
    pub through: Time,
    /// The next instants, in order and in whole seconds; at most [`limits::SCHEDULE_PLANNED_MAX`].
    #[n(6)]
    pub instants: Vec<Time>,
    /// Whether there is none behind them.
    #[n(7)]
    pub ends: bool,
    /// Why nothing can be planned any more.
    #[n(8)]
    pub problem: Option<Error>,
}

impl PlanSchedule {
    /// As [`Command::check`](crate::Command::check).
    pub fn check(&self) -> Result<()> {
        check_names(&self.namespace, &self.name)?;
        check_count("instants", self.instants.len(), limits::SCHEDULE_PLANNED_MAX)?;
        let mut last = self.through;
        let ordered = self.instants.iter().all(|instant| {
            let right = *instant > last && instant.0.is_multiple_of(1_000_000);
            last = *instant;
            right
        });
        if ordered && self.through >= self.after && (self.missed == 0) == (self.through == self.after) {
            return Ok(());
        }
        Err(Error::new(Code::BadRequest, "the instants of a plan are whole seconds in order, behind its beginning"))
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let key = NamedKey::of(&self.namespace, &self.name);
        let found = ctx.state.tables.schedules.get(&key)?;
        let fits = |row: &Schedule| {
            (row.revision, row.planned_through) == (self.revision, self.after) && !row.ends && !row.is_spent()
        };
        // A request is repeated where its answer is late, so an answer may come twice, or for times that were changed.
        let Some(mut row) = found.filter(fits) else { return Ok(()) };
        let window = row.settings.catch_up.0.saturating_add(row.settings.jitter.0);
        if self.missed > 0 && self.through.0.saturating_add(window) >= ctx.now.0 {
            return Err(Error::new(Code::BadRequest, "the plan passes over instants that do not come too late"));
        }
        let room = limits::SCHEDULE_PLANNED_MAX - row.planned.len();
        if self.instants.len() > room {
            return Ok(());
        }
        row.counts.missed += self.missed;
        row.planned.extend(&self.instants);
        row.planned_through = self.instants.last().copied().unwrap_or(self.through);
        (row.asked, row.ends) = (None, self.ends);
        if let Some(error) = &self.problem {
            row.ends = true;
            act::note_problem(&mut row, ctx.now, self.after, error.clone());
        }
        due::go_on(ctx, &key, &mut row)?;
        ctx.state.tables.schedules.put(key, row);
        Ok(())
    }
}
