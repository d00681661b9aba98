//! What people and programs see of schedules.
//!
//! For: listing and showing them. Not for: changing any of them, or instants that are not planned yet (the engine adds
//! those).
//! Invariant: a view changes nothing, and looks at a bounded number of rows.

use consort_types::{Result, RunId, Seq, Time, limits};

use crate::{
    key::NamedKey,
    machine::Machine,
    registry::agents::PAST,
    run::rows::run::RunStatus,
    schedule::{
        rows::{Acted, Schedule, ScheduleCounts, ScheduleFailure, ScheduleSettings},
        set::not_found,
    },
};

/// A planned instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upcoming {
    /// The instant.
    pub instant: Time,
    /// When it is acted on: with its jitter.
    pub due: Time,
}

/// An instant on which a schedule acted, and how its run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActedView {
    /// The instant and the run.
    pub acted: Acted,
    /// The status of the run; `None` for an event, and where the run was deleted.
    pub status: Option<RunStatus>,
}

/// A schedule, as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleView {
    /// The namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it does, and when.
    pub settings: ScheduleSettings,
    /// The record that set its times.
    pub revision: Seq,
    /// When it was made.
    pub created: Time,
    /// Whether it is paused.
    pub paused: bool,
    /// Whether no planned instant will come any more.
    pub finished: bool,
    /// The next planned instants.
    pub planned: Vec<Upcoming>,
    /// Every instant up to this one is planned or decided.
    pub planned_through: Time,
    /// Whether more instants follow the planned ones.
    pub goes_on: bool,
    /// Planned instants that count against the limit.
    pub spent: u64,
    /// Instants that wait for the end of a run.
    pub waiting: Vec<Time>,
    /// Past instants that are still to be filled in.
    pub backfilling: usize,
    /// Its runs that are active.
    pub running: Vec<RunId>,
    /// What the instants have come to.
    pub counts: ScheduleCounts,
    /// The last instants on which it acted, the newest last.
    pub acted: Vec<ActedView>,
    /// The last failures, the newest last.
    pub failures: Vec<ScheduleFailure>,
}

impl ScheduleView {
    /// An instant, planned or not, with the time at which it would be acted on.
    pub fn upcoming(&self, instant: Time) -> Upcoming {
        Upcoming { instant, due: self.settings.due(&self.namespace, &self.name, instant) }
    }
}

/// The schedules of a machine, for reading.
pub struct Schedules<'m>(&'m mut Machine);

impl<'m> Schedules<'m> {
    /// Those of a machine.
    pub fn of(machine: &'m mut Machine) -> Self {
        Self(machine)
    }

    /// The schedules of a namespace, by name.
    pub fn list(&mut self, namespace: &str) -> Result<Vec<ScheduleView>> {
        let (from, to) = (NamedKey::of(namespace, ""), NamedKey::of(namespace, PAST));
        let rows = self.0.state.tables.schedules.range(&from, &to, limits::SCHEDULES_MAX)?;
        rows.into_iter().map(|(key, row)| self.view(key, row)).collect()
    }

    /// A schedule.
    ///
    /// # Errors
    /// [`consort_types::Code::ScheduleNotFound`].
    pub fn show(&mut self, namespace: &str, name: &str) -> Result<ScheduleView> {
        let key = NamedKey::of(namespace, name);
        match self.0.state.tables.schedules.get(&key)? {
            Some(row) => self.view(key, row),
            None => Err(not_found(namespace, name)),
        }
    }

    fn view(&mut self, key: NamedKey, row: Schedule) -> Result<ScheduleView> {
        let mut acted = Vec::with_capacity(row.acted.len());
        for one in &row.acted {
            let run = one.run.map(|run| self.0.state.tables.runs.get(&run)).transpose()?.flatten();
            let status = run.map(|run| run.status).filter(|status| *status != RunStatus::Deleted);
            acted.push(ActedView { acted: *one, status });
        }
        let mut view = ScheduleView {
            namespace: key.namespace,
            finished: row.is_finished(),
            goes_on: !row.ends && !row.is_spent(),
            name: key.name,
            settings: row.settings,
            revision: row.revision,
            created: row.created,
            paused: row.paused,
            planned: Vec::new(),
            planned_through: row.planned_through,
            spent: row.spent,
            waiting: row.waiting,
            backfilling: row.backfill.len(),
            running: row.running,
            counts: row.counts,
            acted,
            failures: row.failures,
        };
        view.planned = row.planned.iter().map(|instant| view.upcoming(*instant)).collect();
        Ok(view)
    }
}
