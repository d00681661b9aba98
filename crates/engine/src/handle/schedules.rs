//! Schedules: setting, showing, pausing, acting now and filling in what has passed.
//!
//! For: making commands of requests; cron expressions and time zones are read here, before anything is recorded. Not for:
//! the rules of a schedule (the machine has them).
//! Invariant: a schedule that was answered is durable, and has an instant to come.

use consort_core::{
    Command, Reply,
    command::{BackfillSchedule, DeleteSchedule, PauseSchedule, SetSchedule, TriggerSchedule},
    rows::{Overlap, ScheduleSettings},
    view::{ScheduleView, Schedules, Triggered, Upcoming},
};
use consort_types::{Code, Error, Result, Time, limits};

use super::{Handle, operations::unexpected, reads::named};
use crate::{
    calendar::{self, Calendar},
    shell,
};

/// Instants to come that a schedule shows.
const SHOWN: usize = 5;

/// A schedule to set.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleRequest {
    /// Its name.
    pub name: String,
    /// What it does, and when.
    pub settings: ScheduleSettings,
    /// Whether a new one begins paused.
    pub paused: bool,
}

/// A schedule with its next instants, planned or not yet.
#[derive(Clone, Debug, PartialEq)]
pub struct ShownSchedule {
    /// The schedule.
    pub schedule: ScheduleView,
    /// The next instants.
    pub next: Vec<Upcoming>,
}

/// The schedules of an engine.
#[derive(Clone, Copy)]
pub struct Scheduler<'h>(&'h Handle);

impl<'h> Scheduler<'h> {
    /// Those of an engine.
    pub fn of(engine: &'h Handle) -> Self {
        Self(engine)
    }

    /// Makes a schedule, or changes one.
    ///
    /// # Errors
    /// [`Code::BadSchedule`], also where no instant is to come; [`Code::LimitReached`], [`Code::PayloadTooLarge`].
    pub async fn set(&self, namespace: &str, request: ScheduleRequest) -> Result<()> {
        let ScheduleRequest { name, settings, paused } = request;
        settings.check()?;
        let next = Calendar::read(&settings.times)?.next(shell::wall_clock());
        if next.is_none_or(|next| settings.until.is_some_and(|until| next > until)) {
            return Err(Error::new(Code::BadSchedule, format!("schedule `{name}` has no instant to come"))
                .hint("look at its times and at `until`"));
        }
        let command = SetSchedule { namespace: namespace.to_owned(), name, settings, paused };
        self.0.of(namespace).done(Command::SetSchedule(command), None).await
    }

    /// Pauses a schedule, or resumes it.
    ///
    /// # Errors
    /// [`Code::ScheduleNotFound`].
    pub async fn pause(&self, namespace: &str, name: &str, paused: bool) -> Result<()> {
        let command = PauseSchedule { namespace: namespace.to_owned(), name: name.to_owned(), paused };
        self.0.of(namespace).done(Command::PauseSchedule(command), None).await
    }

    /// Forgets a schedule; its runs continue.
    ///
    /// # Errors
    /// [`Code::ScheduleNotFound`].
    pub async fn delete(&self, namespace: &str, name: &str) -> Result<()> {
        let command = DeleteSchedule { namespace: namespace.to_owned(), name: name.to_owned() };
        self.0.of(namespace).done(Command::DeleteSchedule(command), None).await
    }

    /// Has a schedule act now.
    ///
    /// # Errors
    /// [`Code::ScheduleNotFound`]; those of starting a run.
    pub async fn trigger(&self, namespace: &str, name: &str, overlap: Option<Overlap>) -> Result<Triggered> {
        let command = TriggerSchedule { namespace: namespace.to_owned(), name: name.to_owned(), overlap };
        match self.0.of(namespace).submit(Command::TriggerSchedule(command), None).await? {
            Reply::Triggered(triggered) => Ok(triggered),
            other => Err(unexpected(&other)),
        }
    }

    /// Has a schedule act on its instants from one time to another, both included; how many they are.
    ///
    /// # Errors
    /// [`Code::ScheduleNotFound`]; [`Code::BadSchedule`] where the times are not in the past, or in order;
    /// [`Code::LimitReached`] where there are too many instants between them; [`Code::ScheduleChanged`].
    pub async fn backfill(
        &self,
        namespace: &str,
        name: &str,
        (from, to): (Time, Time),
        overlap: Option<Overlap>,
    ) -> Result<usize> {
        let now = shell::wall_clock();
        if from > to || to > now {
            return Err(Error::new(
                Code::BadSchedule,
                format!("a backfill from `{from}` to `{to}` has no past instant"),
            )
            .hint("give two times that have passed, the earlier one first"));
        }
        let schedule = self.view(namespace, name).await?;
        let calendar = Calendar::read(&schedule.settings.times)?;
        let max = limits::SCHEDULE_BACKFILL_MAX;
        let end = Time(to.0.saturating_add(1));
        let instants = calendar::instants(&calendar, Time(from.0.saturating_sub(1)), end, max + 1);
        let count = instants.len();
        if count > max {
            let message = format!(
                "schedule `{name}` has more instants than that between `{from}` and `{to}`, the limit is {max}"
            );
            return Err(Error::new(Code::LimitReached, message).hint("fill in a shorter time at once"));
        }
        let command = BackfillSchedule {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            revision: schedule.revision,
            instants,
            overlap: overlap.unwrap_or(Overlap::BufferAll),
        };
        self.0.of(namespace).done(Command::BackfillSchedule(command), None).await?;
        Ok(count)
    }

    /// The schedules of a namespace, by name.
    pub async fn list(&self, namespace: &str) -> Result<Vec<ShownSchedule>> {
        let namespace = named("namespace", namespace)?;
        let list = self.0.of(&namespace).read(move |machine| Schedules::of(machine).list(&namespace)).await??;
        Ok(list.into_iter().map(shown).collect())
    }

    /// A schedule.
    ///
    /// # Errors
    /// [`Code::ScheduleNotFound`].
    pub async fn show(&self, namespace: &str, name: &str) -> Result<ShownSchedule> {
        self.view(namespace, name).await.map(shown)
    }

    async fn view(&self, namespace: &str, name: &str) -> Result<ScheduleView> {
        let (namespace, name) = (named("namespace", namespace)?, named("schedule", name)?);
        self.0.of(&namespace).read(move |machine| Schedules::of(machine).show(&namespace, &name)).await?
    }
}

/// Adds instants that are not planned yet, so that the next ones are shown from the beginning on.
fn shown(schedule: ScheduleView) -> ShownSchedule {
    let mut next: Vec<Upcoming> = schedule.planned.iter().copied().take(SHOWN).collect();
    if schedule.goes_on
        && next.len() < SHOWN
        && let Ok(calendar) = Calendar::read(&schedule.settings.times)
    {
        let end = Time(schedule.settings.until.map_or(u64::MAX, |until| until.0.saturating_add(1)));
        let more = calendar::instants(&calendar, schedule.planned_through, end, SHOWN - next.len());
        next.extend(more.into_iter().map(|instant| schedule.upcoming(instant)));
    }
    ShownSchedule { schedule, next }
}
