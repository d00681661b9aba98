//! Which instants the times of a schedule mean.
//!
//! For: cron expressions, time zones and equal distances, as instants. Not for: what a schedule does at them (the machine
//! decides that, and its log has the instants: see `consort_core::command::PlanSchedule`).
//! Invariant: instants are whole seconds, in order, each once. A local time that a change of the clocks leaves out means
//! the instant of the change, and one that comes twice means the first; an expression whose hours are `*` or `*/N` goes by
//! the hours that pass instead, so it loses none and has none twice.
//!
//! The time zones are those that this release of Consort carries, on every machine the same.

use std::sync::LazyLock;

use consort_core::{command::PlanSchedule, rows::Times, view::PlanRequest};
use consort_types::{Code, Error, Result, Time, limits};
use croner::{
    Cron,
    errors::CronError,
    parser::{CronParser, Seconds, Year},
};
use jiff::{
    Timestamp, ToSpan as _, Zoned,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase},
};

const SECOND: u64 = 1_000_000;

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// The times of a schedule, ready to give instants.
pub(crate) enum Calendar {
    /// A cron expression whose hours are named: it goes by the clock on the wall.
    Wall(Cron, TimeZone),
    /// One whose hours are not: it goes by the hours that pass.
    Passing(Cron, TimeZone),
    /// Equal distances, in seconds.
    Every { every: u64, phase: u64 },
}

impl Calendar {
    /// Reads the times of a schedule.
    ///
    /// # Errors
    /// [`Code::BadSchedule`] where the expression or the time zone cannot be read.
    pub(crate) fn read(times: &Times) -> Result<Self> {
        let (expression, timezone) = match times {
            Times::Cron { expression, timezone } => (expression.trim(), timezone),
            Times::Every { every, phase } => {
                return Ok(Self::Every { every: (every.0 / SECOND).max(1), phase: phase.0 / SECOND });
            }
        };
        let zone = ZONES.get(timezone).map_err(|_| {
            Error::new(Code::BadSchedule, format!("there is no time zone `{timezone}`"))
                .hint("use a name of the IANA database, such as `Europe/Vienna`, or `UTC`")
        })?;
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(expression).map_err(|error| {
            Error::new(
                Code::BadSchedule,
                format!("the cron expression `{expression}` cannot be read ({})", said(&error)),
            )
            .hint("write minute, hour, day, month and weekday, such as `0 9 * * 1-5`")
        })?;
        Ok(if cron.pattern.hours.from_wildcard { Self::Passing(cron, zone) } else { Self::Wall(cron, zone) })
    }

    /// The first instant behind another one; `None` where there is none.
    pub(crate) fn next(&self, after: Time) -> Option<Time> {
        match self {
            Self::Every { every, phase } => {
                let next = match (after.0 / SECOND).checked_sub(*phase) {
                    Some(since) => (since / every + 1).checked_mul(*every)?.checked_add(*phase)?,
                    None => *phase,
                };
                next.checked_mul(SECOND).map(Time)
            }
            Self::Passing(cron, zone) => next_passing(cron, zone, after),
            Self::Wall(cron, zone) => next_on_wall(cron, zone, after),
        }
    }

    /// How many instants lie behind `after` and before `end`, at most `max`, and the last of them.
    fn pass_over(&self, after: Time, end: Time, max: u64) -> (u64, Time) {
        if let (Self::Every { every, .. }, Some(first)) = (self, self.next(after).filter(|first| *first < end)) {
            let more = (end.0 - 1 - first.0) / (every * SECOND);
            return (more + 1, Time(first.0 + more * every * SECOND));
        }
        let (mut count, mut through) = (0, after);
        while count < max
            && let Some(next) = self.next(through).filter(|next| *next < end)
        {
            (count, through) = (count + 1, next);
        }
        (count, through)
    }
}

fn timestamp(time: Time) -> Option<Timestamp> {
    Timestamp::from_microsecond(i64::try_from(time.0).ok()?).ok()
}

fn time(timestamp: Timestamp) -> Option<Time> {
    u64::try_from(timestamp.as_microsecond()).ok().map(Time)
}

fn next_passing(cron: &Cron, zone: &TimeZone, after: Time) -> Option<Time> {
    let mut from = after;
    loop {
        let found = cron.find_next_occurrence(&timestamp(from)?.to_zoned(zone.clone()), false).ok()?;
        let next = time(found.timestamp())?;
        if next > after {
            return Some(next);
        }
        from = Time(from.0 + SECOND);
    }
}

/// Local times are looked for as if they were UTC, where every one exists once. What each means never comes before what an
/// earlier one means, so the first that means something behind `after` is the right one.
fn next_on_wall(cron: &Cron, zone: &TimeZone, after: Time) -> Option<Time> {
    let mut local: Zoned = zone.to_datetime(timestamp(after)?).to_zoned(TimeZone::UTC).ok()?;
    loop {
        local = cron.find_next_occurrence(&local, false).ok()?;
        let next = time(meant(zone, local.datetime())?)?;
        if next > after {
            return Some(next);
        }
    }
}

/// The instant that a local time means.
fn meant(zone: &TimeZone, local: DateTime) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(local);
    let AmbiguousOffset::Gap { .. } = ambiguous.offset() else { return ambiguous.earlier().ok() };
    // The later reading lies behind the change of the clocks, which is the last one before it.
    let behind = ambiguous.later().ok()?.checked_add(1.second()).ok()?;
    zone.preceding(behind).next().map(|change| change.timestamp())
}

/// What the library says of an expression, in the form of this project's messages.
fn said(error: &CronError) -> String {
    let text = error.to_string();
    let mut letters = text.trim_end_matches('.').chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// Plans the next instants of a schedule.
pub(crate) fn plan(request: PlanRequest) -> PlanSchedule {
    let PlanRequest { namespace, name, revision, times, until, after, too_old, max } = request;
    let empty = PlanSchedule {
        namespace,
        name,
        revision,
        after,
        missed: 0,
        through: after,
        instants: Vec::new(),
        ends: true,
        problem: None,
    };
    let calendar = match Calendar::read(&times) {
        Ok(calendar) => calendar,
        // It could be read when it was set: another release has other time zones.
        Err(error) => return PlanSchedule { problem: Some(error), ..empty },
    };
    let end = Time(until.map_or(u64::MAX, |until| until.0.saturating_add(1)));
    let (missed, through) = calendar.pass_over(after, too_old.min(end), limits::SCHEDULE_PASSED_OVER_MAX);
    let instants = instants(&calendar, through, end, max);
    let ends = instants.len() < max;
    PlanSchedule { missed, through, instants, ends, ..empty }
}

/// The instants behind `after` and before `end`, at most `max`.
pub(crate) fn instants(calendar: &Calendar, after: Time, end: Time, max: usize) -> Vec<Time> {
    let next = |last: &Time| calendar.next(*last).filter(|next| *next < end);
    std::iter::successors(next(&after), next).take(max).collect()
}

#[cfg(test)]
mod tests {
    use consort_types::Span;

    use super::*;

    fn at(text: &str) -> Time {
        Time::parse_rfc3339(text).unwrap()
    }

    fn cron(expression: &str, timezone: &str) -> Calendar {
        let times = Times::Cron { expression: expression.to_owned(), timezone: timezone.to_owned() };
        Calendar::read(&times).unwrap()
    }

    /// The instants of an expression behind one, as texts without fractions.
    fn shown(expression: &str, timezone: &str, after: &str, max: usize) -> Vec<String> {
        let found = instants(&cron(expression, timezone), at(after), Time(u64::MAX), max);
        found.iter().map(|instant| instant.to_string().replace(".000", "")).collect()
    }

    #[test]
    fn named_hours_keep_their_place_on_the_wall_over_the_year() {
        assert_eq!(
            shown("0 9 * * 1-5", "Europe/Vienna", "2026-03-26T12:00:00Z", 3),
            ["2026-03-27T08:00:00Z", "2026-03-30T07:00:00Z", "2026-03-31T07:00:00Z"],
            "the clocks change on Sunday, the 29th"
        );
        assert_eq!(
            shown("30 17 1 * *", "America/New_York", "2026-10-02T00:00:00Z", 2),
            ["2026-11-01T22:30:00Z", "2026-12-01T22:30:00Z"]
        );
    }

    #[test]
    fn a_local_time_that_does_not_exist_means_the_instant_of_the_change() {
        // Vienna: 02:00 to 03:00 on 29 March 2026, at 01:00 UTC.
        let vienna = ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"];
        assert_eq!(shown("30 2 * * *", "Europe/Vienna", "2026-03-27T12:00:00Z", 3), vienna);
        // New York: 02:00 to 03:00 on 8 March 2026, at 07:00 UTC.
        let york = ["2026-03-07T07:15:00Z", "2026-03-08T07:00:00Z", "2026-03-09T06:15:00Z"];
        assert_eq!(shown("15 2 * * *", "America/New_York", "2026-03-06T12:00:00Z", 3), york);
        // Lord Howe: 02:00 to 02:30 on 4 October 2026, at 15:30 UTC of the day before.
        let howe = ["2026-10-02T15:45:00Z", "2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"];
        assert_eq!(shown("15 2 * * *", "Australia/Lord_Howe", "2026-10-02T12:00:00Z", 3), howe);
        // Several that do not exist mean one instant, and so does the one that the change leads to.
        let once = ["2026-03-28T02:00:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:15:00Z"];
        assert_eq!(shown("15,30 2,3 * * *", "Europe/Vienna", "2026-03-28T01:59:00Z", 1), ["2026-03-28T02:15:00Z"]);
        assert_eq!(shown("0 2,3 * * *", "Europe/Vienna", "2026-03-28T01:30:00Z", 2), once[..2]);
    }

    #[test]
    fn a_local_time_that_comes_twice_means_the_first() {
        // Vienna: 03:00 back to 02:00 on 25 October 2026, at 01:00 UTC.
        let vienna = ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"];
        assert_eq!(shown("30 2 * * *", "Europe/Vienna", "2026-10-23T12:00:00Z", 3), vienna);
        // Asked between the two, it is over.
        assert_eq!(shown("30 2 * * *", "Europe/Vienna", "2026-10-25T01:10:00Z", 1), vienna[2..]);
        // New York: 02:00 back to 01:00 on 1 November 2026, at 06:00 UTC.
        let york = ["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"];
        assert_eq!(shown("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", 2), york);
        // Lord Howe: 02:00 back to 01:30 on 5 April 2026, at 15:00 UTC of the day before.
        let howe = ["2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"];
        assert_eq!(shown("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00:00Z", 2), howe);
    }

    #[test]
    fn hours_that_are_not_named_go_by_the_hours_that_pass() {
        let spring = ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"];
        assert_eq!(shown("*/30 * * * *", "Europe/Vienna", "2026-03-29T00:00:00Z", 3), spring);
        let autumn = ["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"];
        assert_eq!(shown("0 * * * *", "Europe/Vienna", "2026-10-24T23:30:00Z", 3), autumn);
        let howe = ["2026-04-04T14:30:00Z", "2026-04-04T15:00:00Z", "2026-04-04T15:30:00Z"];
        assert_eq!(shown("*/30 * * * *", "Australia/Lord_Howe", "2026-04-04T14:00:00Z", 3), howe);
    }

    #[test]
    fn over_years_of_changes_each_instant_comes_once_and_in_order() {
        for zone in ["Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "UTC"] {
            for expression in ["*/15 0-4 * * *", "7 2 * * *", "*/20 * * * *", "0 0 29 2 *"] {
                let calendar = cron(expression, zone);
                let mut last = at("2026-01-01T00:00:00.5Z");
                for _ in 0..4_000 {
                    let Some(next) = calendar.next(last).filter(|next| *next < at("2029-01-01T00:00:00Z")) else {
                        break;
                    };
                    assert!(next > last && next.0.is_multiple_of(SECOND), "{expression} in {zone}: {next}");
                    // From anywhere between the two the next one is the same.
                    assert_eq!(calendar.next(Time(next.0 - 1)), Some(next), "{expression} in {zone}");
                    last = next;
                }
            }
        }
    }

    #[test]
    fn equal_distances_have_a_phase() {
        let times = Times::Every { every: Span::from_secs(300), phase: Span::from_secs(7) };
        let calendar = Calendar::read(&times).unwrap();
        let next = |after: &str| calendar.next(at(after)).unwrap().to_string();
        assert_eq!(next("2026-01-01T00:00:00Z"), "2026-01-01T00:00:07.000Z");
        assert_eq!(next("2026-01-01T00:00:07Z"), "2026-01-01T00:05:07.000Z");
        assert_eq!(next("2026-01-01T00:05:06.9Z"), "2026-01-01T00:05:07.000Z");
        assert_eq!(calendar.next(Time(0)), Some(Time(7 * SECOND)));
    }

    #[test]
    fn what_comes_too_late_is_counted_and_the_plan_goes_on_behind_it() {
        let request = |times: Times, too_old: &str| PlanRequest {
            namespace: "n".to_owned(),
            name: "s".to_owned(),
            revision: consort_types::Seq(1),
            times,
            until: Some(at("2026-01-02T03:00:00Z")),
            after: at("2026-01-01T00:00:00Z"),
            too_old: at(too_old),
            max: 4,
        };
        let hourly = Times::Cron { expression: "0 * * * *".to_owned(), timezone: "UTC".to_owned() };
        let every = Times::Every { every: Span::from_secs(3_600), phase: Span::ZERO };
        for times in [hourly, every] {
            let planned = plan(request(times.clone(), "2026-01-02T00:00:00Z"));
            planned.check().unwrap();
            assert_eq!((planned.missed, planned.through), (23, at("2026-01-01T23:00:00Z")));
            assert_eq!(planned.instants.len(), 4, "the last one is that of the end");
            let last =
                plan(PlanRequest { after: planned.instants[3], ..request(times.clone(), "2026-01-02T00:00:00Z") });
            assert!(last.ends && last.instants.is_empty() && last.missed == 0);
            let none = plan(request(times, "2025-01-01T00:00:00Z"));
            assert_eq!((none.missed, none.through, none.ends), (0, at("2026-01-01T00:00:00Z"), false));
        }
    }

    #[test]
    fn what_is_no_expression_or_time_zone_is_refused() {
        for (expression, timezone) in [
            ("", "UTC"),
            ("* * * *", "UTC"),
            ("0 0 9 * * 1", "UTC"),
            ("61 * * * *", "UTC"),
            ("0 9 * * *", "Europe/Nowhere"),
            ("0 9 * * *", ""),
        ] {
            let times = Times::Cron { expression: expression.to_owned(), timezone: timezone.to_owned() };
            let refused = Calendar::read(&times).err().unwrap();
            assert_eq!(refused.code, Code::BadSchedule, "{expression} {timezone}");
        }
        assert_eq!(cron("0 0 30 2 *", "UTC").next(at("2026-01-01T00:00:00Z")), None, "there is no 30 February");
    }
}
