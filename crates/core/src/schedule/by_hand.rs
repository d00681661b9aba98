//! `TriggerSchedule` and `BackfillSchedule`: what people request of a schedule.
//!
//! For: acting now, and acting on instants that have passed. Not for: the plan (see `due`).
//! Invariant: neither changes the plan, and an instant that was acted on is not acted on again.

use consort_types::{Code, Error, Result, Seq, Time, bounds::check_count, limits};
use minicbor::{Decode, Encode};

use crate::{
    context::ApplyContext,
    key::NamedKey,
    schedule::{
        act::{self, InstantOutcome},
        due,
        rows::{Backfilled, Overlap},
        set::{check_names, found},
    },
};

/// A millisecond, which texts of instants show, in microseconds.
const MILLISECOND: u64 = 1_000;

/// Acts now, as if an instant had come; a paused schedule does it too.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct TriggerSchedule {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The schedule.
    #[n(1)]
    pub name: String,
    /// The outcome while a run is active; as the schedule says, without it.
    #[n(2)]
    pub overlap: Option<Overlap>,
}

/// Acts on instants that have passed, in their order.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct BackfillSchedule {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The schedule.
    #[n(1)]
    pub name: String,
    /// The record that had set the times by which the instants were found.
    #[n(2)]
    pub revision: Seq,
    /// The instants, in order.
    #[n(3)]
    pub instants: Vec<Time>,
    /// The outcome of each while a run is active.
    #[n(4)]
    pub overlap: Overlap,
}

/// The outcome of acting now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Triggered {
    /// The instant that it was given.
    pub instant: Time,
    /// Its outcome.
    pub decided: InstantOutcome,
}

impl TriggerSchedule {
    /// As [`Command::check`](crate::Command::check).
    pub fn check(&self) -> Result<()> {
        check_names(&self.namespace, &self.name)
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<Triggered> {
        let key = NamedKey::of(&self.namespace, &self.name);
        let mut row = found(ctx, &key)?;
        let instant = own_instant(ctx.now, row.last_by_hand);
        let overlap = self.overlap.unwrap_or(row.settings.overlap);
        let decided = act::decide(ctx, &key, &mut row, instant, overlap)?;
        row.counts.by_hand += 1;
        row.last_by_hand = instant;
        due::go_on(ctx, &key, &mut row)?;
        ctx.state.tables.schedules.put(key, row);
        Ok(Triggered { instant, decided })
    }
}

/// An instant that no other request has, and no plan: those are whole seconds.
fn own_instant(now: Time, last: Time) -> Time {
    let next = (now.0 / MILLISECOND).max(last.0 / MILLISECOND + 1) * MILLISECOND;
    if next.is_multiple_of(1_000 * MILLISECOND) { Time(next + MILLISECOND) } else { Time(next) }
}

impl BackfillSchedule {
    /// As [`Command::check`](crate::Command::check).
    pub fn check(&self) -> Result<()> {
        check_names(&self.namespace, &self.name)?;
        check_count("instants", self.instants.len(), limits::SCHEDULE_BACKFILL_MAX)?;
        if self.instants.is_sorted_by(|a, b| a < b) {
            return Ok(());
        }
        Err(Error::new(Code::BadRequest, "the instants of a backfill are in order, each once"))
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let key = NamedKey::of(&self.namespace, &self.name);
        let mut row = found(ctx, &key)?;
        if row.revision != self.revision {
            let message = format!("the times of schedule `{}` were changed meanwhile", self.name);
            return Err(Error::new(Code::ScheduleChanged, message).hint("look at them, and request the backfill again"));
        }
        let (open, max) = (row.backfill.len() + self.instants.len(), limits::SCHEDULE_BACKFILL_MAX);
        if open > max {
            let message =
                format!("`{open}` instants of schedule `{}` would wait to be filled in, the limit is {max}", self.name);
            return Err(Error::new(Code::LimitReached, message).hint("request fewer at once, or wait for those before"));
        }
        row.counts.by_hand += self.instants.len() as u64;
        row.backfill
            .extend(self.instants.iter().map(|instant| Backfilled { instant: *instant, overlap: self.overlap }));
        due::go_on(ctx, &key, &mut row)?;
        ctx.state.tables.schedules.put(key, row);
        Ok(())
    }
}
