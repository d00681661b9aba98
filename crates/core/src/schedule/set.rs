//! `SetSchedule`, `PauseSchedule` and `DeleteSchedule`.
//!
//! For: the commands and their rules. Not for: acting (see `due`), or whether a cron expression can be read (the door
//! sees to that).
//! Invariant: a schedule whose times are not changed keeps its plan; setting what is set changes nothing.

use consort_types::{
    Code, Error, Name, Payload, Result, Span, Time,
    bounds::check_text,
    event::{EventAttributes, check_topic},
    limits,
};
use minicbor::{Decode, Encode};

use crate::{
    context::ApplyContext,
    key::NamedKey,
    schedule::{
        due,
        rows::{Overlap, Schedule, ScheduleAction, ScheduleCounts, ScheduleSettings, ScheduleTimer, Times},
    },
};

/// Makes a schedule, or changes one.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct SetSchedule {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The schedule.
    #[n(1)]
    pub name: String,
    /// What it does, and when.
    #[n(2)]
    pub settings: ScheduleSettings,
    /// Whether a new one begins paused.
    #[n(3)]
    pub paused: bool,
}

/// Pauses or resumes a schedule.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct PauseSchedule {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The schedule.
    #[n(1)]
    pub name: String,
    /// Whether it is to be paused.
    #[n(2)]
    pub paused: bool,
}

/// Forgets a schedule. Its runs continue.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct DeleteSchedule {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The schedule.
    #[n(1)]
    pub name: String,
}

/// There is no such schedule.
pub(crate) fn not_found(namespace: &str, name: &str) -> Error {
    Error::new(Code::ScheduleNotFound, format!("there is no schedule `{name}` in namespace `{namespace}`"))
        .hint("`consort schedules list` shows those that there are; `consort schedules set` makes one")
}

pub(crate) fn check_names(namespace: &str, name: &str) -> Result<()> {
    Name::check("namespace", namespace)?;
    Name::check("schedule", name)
}

/// The schedule that a command names.
pub(crate) fn found(ctx: &mut ApplyContext<'_>, key: &NamedKey) -> Result<Schedule> {
    ctx.state.tables.schedules.get(key)?.ok_or_else(|| not_found(&key.namespace, &key.name))
}

fn bad(message: String, hint: &str) -> Error {
    Error::new(Code::BadSchedule, message).hint(hint)
}

fn check_span(what: &str, span: Span, (least, most): (Span, Span)) -> Result<()> {
    if (least..=most).contains(&span) {
        return Ok(());
    }
    Err(bad(format!("`{what}` is `{span}`, and must be from `{least}` to `{most}`"), "choose another length of time"))
}

fn check_document(what: &str, document: &Payload) -> Result<()> {
    let max = limits::SCHEDULE_INPUT_BYTES_MAX;
    let bytes = document.len();
    if matches!(document, Payload::Inline(_)) && bytes <= max as u64 {
        return Ok(());
    }
    let message = format!("the {what} of the schedule has `{bytes}` bytes, the limit is {max}");
    Err(Error::new(Code::PayloadTooLarge, message).hint("pass a reference instead of the document"))
}

impl Times {
    fn check(&self) -> Result<()> {
        match self {
            Self::Cron { expression, timezone } => {
                check_text("cron expression", expression, limits::NAME_BYTES_MAX)?;
                check_text("time zone", timezone, limits::NAME_BYTES_MAX)
            }
            Self::Every { every, phase } => {
                let second = Span::from_secs(1);
                check_span("every", *every, (second, Span::from_secs(limits::SCHEDULE_SPAN_SECONDS_MAX)))?;
                if every.0 % second.0 != 0 || phase.0 % second.0 != 0 || phase >= every {
                    let message =
                        format!("`every` is `{every}` and its phase `{phase}`, which is no whole second of it");
                    return Err(bad(message, "use whole seconds, and a phase that is shorter than the distance"));
                }
                Ok(())
            }
        }
    }
}

impl ScheduleAction {
    fn check(&self) -> Result<()> {
        match self {
            Self::Start { workflow, version, input } => {
                Name::check("workflow", workflow)?;
                version.as_deref().map_or(Ok(()), |version| Name::check_size("version", version))?;
                check_document("input", input)
            }
            Self::Publish { kind, topic, subject, data } => {
                check_topic(topic)?;
                let attributes = EventAttributes {
                    id: "schedule".to_owned(),
                    source: "/schedules".to_owned(),
                    kind: kind.clone(),
                    topic: topic.clone(),
                    subject: subject.clone(),
                    ..EventAttributes::default()
                };
                attributes.check()?;
                data.as_ref().map_or(Ok(()), |data| check_document("data", data))
            }
        }
    }
}

impl ScheduleSettings {
    /// Settings with the default for everything that is left out.
    pub fn new(times: Times, action: ScheduleAction) -> Self {
        let catch_up = Span::from_secs(limits::SCHEDULE_CATCH_UP_SECONDS_DEFAULT);
        Self { times, action, overlap: Overlap::Skip, catch_up, jitter: Span::ZERO, until: None, limit: None }
    }

    /// Refuses settings that no schedule may have.
    ///
    /// # Errors
    /// [`Code::BadSchedule`], and those of names, topics and documents.
    pub fn check(&self) -> Result<()> {
        self.times.check()?;
        self.action.check()?;
        let most = Span::from_secs(limits::SCHEDULE_SPAN_SECONDS_MAX);
        check_span("catch_up", self.catch_up, (Span::from_secs(1), most))?;
        check_span("jitter", self.jitter, (Span::ZERO, Span::from_secs(limits::SCHEDULE_JITTER_SECONDS_MAX)))?;
        if self.limit == Some(0) {
            return Err(bad("`limit` is 0".to_owned(), "pause the schedule instead, or leave the limit out"));
        }
        Ok(())
    }
}

impl SetSchedule {
    /// As [`Command::check`](crate::Command::check).
    pub fn check(&self) -> Result<()> {
        check_names(&self.namespace, &self.name)?;
        self.settings.check()
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let key = NamedKey::of(&self.namespace, &self.name);
        let mut row = match ctx.state.tables.schedules.get(&key)? {
            Some(row) if row.settings == self.settings => return Ok(()),
            Some(row) => self.changed(row, ctx),
            None => self.made(ctx)?,
        };
        due::go_on(ctx, &key, &mut row)?;
        ctx.state.tables.schedules.put(key, row);
        Ok(())
    }

    /// Other settings; with other times or another end, planning begins again from now.
    fn changed(&self, row: Schedule, ctx: &ApplyContext<'_>) -> Schedule {
        let plan = |settings: &ScheduleSettings| (settings.times.clone(), settings.until, settings.limit);
        let mut row = row;
        if plan(&row.settings) != plan(&self.settings) {
            // What had come due and was left, because the schedule was paused, is not acted on by other times.
            row.counts.missed += row.planned.iter().filter(|instant| **instant <= ctx.now).count() as u64;
            row.planned.clear();
            (row.revision, row.since, row.planned_through) = (ctx.seq, ctx.now, ctx.now);
            (row.ends, row.asked, row.spent) = (false, None, 0);
        }
        row.settings = self.settings.clone();
        row
    }

    fn made(&self, ctx: &mut ApplyContext<'_>) -> Result<Schedule> {
        let of_namespace = NamedKey::of(&self.namespace, "");
        let mut count = ctx.state.tables.schedule_counts.get(&of_namespace)?.unwrap_or_default();
        let max = limits::SCHEDULES_MAX;
        if count.schedules as usize >= max {
            let message = format!("namespace `{}` has `{max}` schedules, the limit is {max}", self.namespace);
            return Err(Error::new(Code::LimitReached, message).hint("delete those that have ended"));
        }
        count.schedules += 1;
        ctx.state.tables.schedule_counts.put(of_namespace, count);
        let timer = ctx.next_position();
        let about = ScheduleTimer { namespace: self.namespace.clone(), name: self.name.clone() };
        ctx.state.tables.schedule_timers.put(timer, about);
        Ok(Schedule {
            settings: self.settings.clone(),
            revision: ctx.seq,
            since: ctx.now,
            created: ctx.now,
            timer,
            armed: None,
            paused: self.paused,
            planned: Vec::new(),
            planned_through: ctx.now,
            ends: false,
            asked: None,
            spent: 0,
            waiting: Vec::new(),
            backfill: Vec::new(),
            running: Vec::new(),
            counts: ScheduleCounts::default(),
            acted: Vec::new(),
            failures: Vec::new(),
            last_by_hand: Time(0),
        })
    }
}

impl PauseSchedule {
    /// As [`Command::check`](crate::Command::check).
    pub fn check(&self) -> Result<()> {
        check_names(&self.namespace, &self.name)
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let key = NamedKey::of(&self.namespace, &self.name);
        let mut row = found(ctx, &key)?;
        if row.paused == self.paused {
            return Ok(());
        }
        row.paused = self.paused;
        due::go_on(ctx, &key, &mut row)?;
        ctx.state.tables.schedules.put(key, row);
        Ok(())
    }
}

impl DeleteSchedule {
    /// As [`Command::check`](crate::Command::check).
    pub fn check(&self) -> Result<()> {
        check_names(&self.namespace, &self.name)
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let key = NamedKey::of(&self.namespace, &self.name);
        let mut row = found(ctx, &key)?;
        due::disarm(ctx, &mut row);
        ctx.state.tables.schedule_timers.delete(&row.timer);
        ctx.state.tables.schedules.delete(&key);
        let of_namespace = NamedKey::of(&self.namespace, "");
        let mut count = ctx.state.tables.schedule_counts.get(&of_namespace)?.unwrap_or_default();
        assert!(count.schedules > 0, "namespace {} has fewer schedules than are deleted", self.namespace);
        count.schedules -= 1;
        if count.schedules == 0 {
            ctx.state.tables.schedule_counts.delete(&of_namespace);
        } else {
            ctx.state.tables.schedule_counts.put(of_namespace, count);
        }
        Ok(())
    }
}
