//! Between the documents of schedules and what the engine knows of them.
//!
//! For: one function for each document, in both directions. Not for: deciding anything.
//! Invariant: what was set is shown as it was set, with the defaults filled in.

use consort_api::{
    ErrorDetail,
    schedules::{
        self, ActedInstant, InstantOutcome, ScheduledEvent, ScheduledStart, TriggeredSchedule, UpcomingInstant,
    },
};
use consort_engine::{
    self as engine,
    view::{self, Overlap, ScheduleAction, ScheduleSettings, Times},
};
use consort_types::{Code, Error, Payload, Result, Span};

use super::run_status;

pub(crate) fn overlap(overlap: schedules::Overlap) -> Overlap {
    match overlap {
        schedules::Overlap::Skip => Overlap::Skip,
        schedules::Overlap::BufferOne => Overlap::BufferOne,
        schedules::Overlap::BufferAll => Overlap::BufferAll,
        schedules::Overlap::Allow => Overlap::Allow,
        schedules::Overlap::CancelOther => Overlap::CancelOther,
    }
}

fn shown_overlap(overlap: Overlap) -> schedules::Overlap {
    match overlap {
        Overlap::Skip => schedules::Overlap::Skip,
        Overlap::BufferOne => schedules::Overlap::BufferOne,
        Overlap::BufferAll => schedules::Overlap::BufferAll,
        Overlap::Allow => schedules::Overlap::Allow,
        Overlap::CancelOther => schedules::Overlap::CancelOther,
    }
}

fn bad(message: &str, hint: &str) -> Error {
    Error::new(Code::BadSchedule, message).hint(hint)
}

/// What a request for a schedule says.
///
/// # Errors
/// [`Code::BadSchedule`] where it has no times or no action, or two.
pub(crate) fn schedule_request(name: String, request: schedules::ScheduleRequest) -> Result<engine::ScheduleRequest> {
    let times = match (request.cron, request.every) {
        (Some(expression), None) if request.phase.is_none() => {
            Times::Cron { expression, timezone: request.timezone.unwrap_or_else(|| "UTC".to_owned()) }
        }
        (None, Some(every)) if request.timezone.is_none() => {
            Times::Every { every, phase: request.phase.unwrap_or(Span::ZERO) }
        }
        _ => {
            return Err(bad(
                "the schedule does not name its times in one way",
                "give either `cron` and its `timezone`, or `every` and its `phase`",
            ));
        }
    };
    let action = match (request.start, request.publish) {
        (Some(ScheduledStart { workflow, version, input }), None) => {
            let input = input.map_or_else(|| Payload::inline(*b"{}"), Payload::from);
            ScheduleAction::Start { workflow, version, input }
        }
        (None, Some(ScheduledEvent { kind, topic, subject, data })) => ScheduleAction::Publish {
            topic: topic.unwrap_or_else(|| kind.clone()),
            kind,
            subject,
            data: data.map(Payload::from),
        },
        _ => return Err(bad("the schedule does not name one action", "give either `start` or `publish`")),
    };
    let plain = ScheduleSettings::new(times, action);
    let settings = ScheduleSettings {
        overlap: request.overlap.map_or(plain.overlap, overlap),
        catch_up: request.catch_up.unwrap_or(plain.catch_up),
        jitter: request.jitter.unwrap_or(plain.jitter),
        until: request.until,
        limit: request.limit,
        ..plain
    };
    Ok(engine::ScheduleRequest { name, settings, paused: request.paused })
}

fn shown_settings(settings: ScheduleSettings, paused: bool) -> schedules::ScheduleRequest {
    let (cron, timezone, every, phase) = match settings.times {
        Times::Cron { expression, timezone } => (Some(expression), Some(timezone), None, None),
        Times::Every { every, phase } => (None, None, Some(every), Some(phase)),
    };
    let (start, publish) = match settings.action {
        ScheduleAction::Start { workflow, version, input } => {
            (Some(ScheduledStart { workflow, version, input: Some(input.into()) }), None)
        }
        ScheduleAction::Publish { kind, topic, subject, data } => {
            let data = data.map(Into::into);
            (None, Some(ScheduledEvent { kind, topic: Some(topic), subject, data }))
        }
    };
    schedules::ScheduleRequest {
        cron,
        timezone,
        every,
        phase,
        start,
        publish,
        overlap: Some(shown_overlap(settings.overlap)),
        catch_up: Some(settings.catch_up),
        jitter: Some(settings.jitter),
        until: settings.until,
        limit: settings.limit,
        paused,
    }
}

pub(crate) fn schedule(shown: engine::ShownSchedule) -> schedules::Schedule {
    let engine::ShownSchedule { schedule, next } = shown;
    let acted = |one: view::ActedView| ActedInstant {
        instant: one.acted.instant,
        at: one.acted.at,
        run: one.acted.run,
        status: one.status.map(run_status),
    };
    let failure = |failure: view::ScheduleFailure| schedules::ScheduleFailure {
        instant: failure.instant,
        at: failure.at,
        error: ErrorDetail::from(failure.error),
    };
    let view::ScheduleCounts { done, skipped, missed, failed, by_hand } = schedule.counts;
    schedules::Schedule {
        name: schedule.name,
        settings: shown_settings(schedule.settings, schedule.paused),
        created_at: schedule.created,
        paused: schedule.paused,
        finished: schedule.finished,
        next: next.iter().map(|one| UpcomingInstant { instant: one.instant, due: one.due }).collect(),
        spent: schedule.spent,
        waiting: schedule.waiting,
        backfilling: schedule.backfilling as u64,
        running: schedule.running,
        counts: schedules::ScheduleCounts { done, skipped, missed, failed, by_hand },
        acted: schedule.acted.into_iter().map(acted).collect(),
        failures: schedule.failures.into_iter().map(failure).collect(),
    }
}

pub(crate) fn triggered(triggered: view::Triggered) -> TriggeredSchedule {
    let (outcome, run) = match triggered.decided {
        view::InstantOutcome::Started(run) => (InstantOutcome::Started, Some(run)),
        view::InstantOutcome::Published => (InstantOutcome::Published, None),
        view::InstantOutcome::Waits => (InstantOutcome::Waiting, None),
        view::InstantOutcome::Skipped => (InstantOutcome::Skipped, None),
    };
    TriggeredSchedule { instant: triggered.instant, outcome, run }
}
