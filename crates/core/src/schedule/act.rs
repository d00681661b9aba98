//! What a schedule does at one instant.
//!
//! For: the policy of overlaps, starting a run, publishing an event, and noting the outcome. Not for: which instant comes
//! when (see `due`).
//! Invariant: an instant is acted on once: the key of the run, or the id of the event, names it.

use consort_types::{Code, Error, Payload, Result, RunId, Time, event::EventAttributes, limits};

use crate::{
    bus::{publish::publish, rows::NewEvent},
    context::ApplyContext,
    fatal::split_fatal,
    key::NamedKey,
    latest,
    run::{child_runs::cancel_later, made::Made},
    schedule::rows::{Acted, Overlap, Schedule, ScheduleAction, ScheduleFailure},
};

/// The outcome of an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstantOutcome {
    /// A run was started.
    Started(RunId),
    /// An event was published.
    Published,
    /// It waits for the end of the active run.
    Waits,
    /// It is skipped.
    Skipped,
}

/// The key of the run of an instant, and the id of its event.
pub(crate) fn key_of(name: &str, instant: Time) -> String {
    format!("schedule:{name}:{instant}")
}

impl Schedule {
    /// Whether something of it is active, or waits to be.
    pub(crate) fn is_busy(&self) -> bool {
        !self.running.is_empty() || !self.waiting.is_empty()
    }
}

/// Decides an instant and counts it. An error has changed nothing but the row, and is not counted.
pub(crate) fn decide(
    ctx: &mut ApplyContext<'_>,
    key: &NamedKey,
    row: &mut Schedule,
    instant: Time,
    overlap: Overlap,
) -> Result<InstantOutcome> {
    let waits = match overlap {
        _ if has_started(ctx, key, row, instant)? => false,
        Overlap::Allow => return act(ctx, key, row, instant),
        _ if !row.is_busy() => return act(ctx, key, row, instant),
        Overlap::Skip => false,
        Overlap::BufferOne => row.waiting.is_empty(),
        Overlap::BufferAll => row.waiting.len() < limits::SCHEDULE_WAITING_MAX,
        Overlap::CancelOther => {
            row.counts.skipped += row.waiting.len() as u64;
            row.waiting.clear();
            for run in &row.running {
                cancel_later(ctx, *run, &format!("schedule `{}` starts the next run", key.name), false);
            }
            true
        }
    };
    if !waits {
        row.counts.skipped += 1;
        return Ok(InstantOutcome::Skipped);
    }
    row.waiting.push(instant);
    Ok(InstantOutcome::Waits)
}

/// Whether there is a run of the instant.
fn has_started(ctx: &mut ApplyContext<'_>, key: &NamedKey, row: &Schedule, instant: Time) -> Result<bool> {
    let run_key = NamedKey::of(&key.namespace, &key_of(&key.name, instant));
    let starts = matches!(row.settings.action, ScheduleAction::Start { .. });
    Ok(starts && ctx.state.tables.idempotency.get(&run_key)?.is_some())
}

/// The same where no client waits: a failure is counted and noted.
pub(crate) fn decide_noting(
    ctx: &mut ApplyContext<'_>,
    key: &NamedKey,
    row: &mut Schedule,
    instant: Time,
    overlap: Overlap,
) -> Result<Option<InstantOutcome>> {
    let decided = split_fatal(decide(ctx, key, row, instant, overlap))?;
    Ok(decided.map_err(|error| note_failure(row, ctx.now, instant, error)).ok())
}

/// Acts on an instant that has waited.
pub(crate) fn act_noting(ctx: &mut ApplyContext<'_>, key: &NamedKey, row: &mut Schedule, instant: Time) -> Result<()> {
    if let Err(error) = split_fatal(act(ctx, key, row, instant))? {
        note_failure(row, ctx.now, instant, error);
    }
    Ok(())
}

/// Counts an instant on which the schedule could not act, and shows why.
fn note_failure(row: &mut Schedule, now: Time, instant: Time, error: Error) {
    row.counts.failed += 1;
    note_problem(row, now, instant, error);
}

/// Shows a failure among the latest.
pub(crate) fn note_problem(row: &mut Schedule, now: Time, instant: Time, error: Error) {
    let failure = ScheduleFailure { instant, at: now, error: latest::brief(error) };
    latest::push(&mut row.failures, failure, limits::SCHEDULE_FAILURES_MAX);
}

fn act(ctx: &mut ApplyContext<'_>, key: &NamedKey, row: &mut Schedule, instant: Time) -> Result<InstantOutcome> {
    let decided = match &row.settings.action {
        // A backfill may have been faster than an instant that has waited.
        _ if has_started(ctx, key, row, instant)? => InstantOutcome::Skipped,
        ScheduleAction::Start { workflow, version, input } => {
            let started = start(ctx, key, row, (workflow, version.as_deref()), input, instant)?;
            row.running.push(started);
            InstantOutcome::Started(started)
        }
        ScheduleAction::Publish { kind, topic, subject, data } => {
            let attributes = EventAttributes {
                id: key_of(&key.name, instant),
                source: format!("/schedules/{}", key.name),
                kind: kind.clone(),
                topic: topic.clone(),
                subject: subject.clone(),
                time: Some(instant.to_string()),
                ..EventAttributes::default()
            };
            let event = NewEvent { attributes, data: data.clone() };
            let published = publish(ctx, &key.namespace, &[event])?;
            if published.iter().any(|one| one.deduplicated) {
                InstantOutcome::Skipped
            } else {
                InstantOutcome::Published
            }
        }
    };
    let run = match decided {
        InstantOutcome::Started(run) => Some(run),
        InstantOutcome::Published => None,
        InstantOutcome::Waits | InstantOutcome::Skipped => {
            row.counts.skipped += 1;
            return Ok(decided);
        }
    };
    row.counts.done += 1;
    latest::push(&mut row.acted, Acted { instant, at: ctx.now, run }, limits::SCHEDULE_ACTED_SHOWN_MAX);
    Ok(decided)
}

fn start(
    ctx: &mut ApplyContext<'_>,
    key: &NamedKey,
    row: &Schedule,
    (workflow, version): (&str, Option<&str>),
    input: &Payload,
    instant: Time,
) -> Result<RunId> {
    let (active, max) = (row.running.len(), limits::SCHEDULE_RUNNING_MAX);
    if active >= max {
        let message = format!("`{active}` runs of schedule `{}` are active, the limit is {max}", key.name);
        return Err(
            Error::new(Code::LimitReached, message).hint("let it skip or buffer instants while a run is active")
        );
    }
    let given = serde_json::from_slice(input.bytes().unwrap_or(b"null"));
    let given = given.map_err(|_| Error::new(Code::BadJson, "the input of the schedule is not JSON"))?;
    let labels = [("schedule".to_owned(), key.name.clone()), ("scheduled_at".to_owned(), instant.to_string())];
    let made =
        Made { namespace: &key.namespace, workflow, version, key: key_of(&key.name, instant), labels: labels.into() };
    made.start(ctx, &given)
}
