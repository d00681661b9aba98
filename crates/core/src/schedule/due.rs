//! What a schedule does when its time has come.
//!
//! For: working off planned instants, those that wait and those of a backfill, requesting more of the plan, and its one
//! timer. Not for: the outcome of one instant (see `act`).
//! Invariant: after each change of a schedule its timer is armed for the next thing that it has to do, if there is one.

use consort_types::{Result, RunId, Span, Time, limits};

use crate::{
    context::ApplyContext,
    effect::Effect,
    key::NamedKey,
    run::keys::{TimerKey, position_of, timer_of},
    schedule::{
        act::{self, InstantOutcome},
        rows::{Armed, Overlap, PlanRequest, Schedule},
    },
};

/// With fewer planned instants than this, more are requested.
const PLANNED_FEW: usize = 4;
/// How long after a request for more of the plan it is repeated.
const ASK_AGAIN: Span = Span::from_secs(5);

/// The timer of a schedule has fired.
pub(crate) fn fired(ctx: &mut ApplyContext<'_>, timer: TimerKey) -> Result<()> {
    let about = ctx.state.tables.schedule_timers.get(&position_of(timer.task))?;
    let Some(key) = about.map(|about| NamedKey::of(&about.namespace, &about.name)) else { return Ok(()) };
    let found = ctx.state.tables.schedules.get(&key)?;
    let Some(mut row) =
        found.filter(|row| row.armed.is_some_and(|armed| (armed.due, armed.kind()) == (timer.due, timer.kind)))
    else {
        return Ok(());
    };
    row.armed = None;
    go_on(ctx, &key, &mut row)?;
    ctx.state.tables.schedules.put(key, row);
    Ok(())
}

/// A run has ended whose label names the schedule: it may be one that the schedule waits for.
pub(crate) fn run_ended(ctx: &mut ApplyContext<'_>, id: RunId, key: &NamedKey) -> Result<()> {
    let Some(mut row) = ctx.state.tables.schedules.get(key)? else { return Ok(()) };
    let Some(at) = row.running.iter().position(|running| *running == id) else { return Ok(()) };
    row.running.remove(at);
    // What has waited for it is left to the timer: this record is about something else.
    arm(ctx, key, &mut row);
    ctx.state.tables.schedules.put(key.clone(), row);
    Ok(())
}

/// Does what is to be done now, as far as the record goes.
pub(crate) fn go_on(ctx: &mut ApplyContext<'_>, key: &NamedKey, row: &mut Schedule) -> Result<()> {
    if !row.paused {
        take_waiting(ctx, key, row)?;
        take_planned(ctx, key, row)?;
    }
    take_backfill(ctx, key, row)?;
    ask(ctx, key, row);
    arm(ctx, key, row);
    Ok(())
}

fn take_waiting(ctx: &mut ApplyContext<'_>, key: &NamedKey, row: &mut Schedule) -> Result<()> {
    while row.running.is_empty() && !row.waiting.is_empty() && ctx.room() > 0 {
        ctx.charge(1);
        let instant = row.waiting.remove(0);
        act::act_noting(ctx, key, row, instant)?;
    }
    Ok(())
}

fn take_planned(ctx: &mut ApplyContext<'_>, key: &NamedKey, row: &mut Schedule) -> Result<()> {
    while let Some(instant) = row.planned.first().copied() {
        let due = row.settings.due(&key.namespace, &key.name, instant);
        if due > ctx.now || ctx.room() == 0 {
            break;
        }
        ctx.charge(1);
        row.planned.remove(0);
        if ctx.now.since(due) > row.settings.catch_up {
            row.counts.missed += 1;
            continue;
        }
        let overlap = row.settings.overlap;
        if act::decide_noting(ctx, key, row, instant, overlap)? != Some(InstantOutcome::Skipped) {
            row.spent += 1;
        }
        if row.is_spent() {
            // What was planned behind it is not among its instants.
            row.planned.clear();
            row.planned_through = instant;
        }
    }
    Ok(())
}

/// Whether the next instant of a backfill can be looked at.
fn may_backfill(row: &Schedule) -> bool {
    row.backfill.first().is_some_and(|next| next.overlap != Overlap::BufferAll || !row.is_busy())
}

fn take_backfill(ctx: &mut ApplyContext<'_>, key: &NamedKey, row: &mut Schedule) -> Result<()> {
    while may_backfill(row) && ctx.room() > 0 {
        ctx.charge(1);
        let next = row.backfill.remove(0);
        act::decide_noting(ctx, key, row, next.instant, next.overlap)?;
    }
    Ok(())
}

fn is_short(row: &Schedule) -> bool {
    !row.ends && !row.is_spent() && row.planned.len() < PLANNED_FEW
}

/// Requests more of the plan, where it is short and was not requested a moment ago.
fn ask(ctx: &mut ApplyContext<'_>, key: &NamedKey, row: &mut Schedule) {
    if !is_short(row) || row.asked.is_some_and(|asked| asked.after(ASK_AGAIN) > ctx.now) {
        return;
    }
    row.asked = Some(ctx.now);
    let window = row.settings.catch_up.0.saturating_add(row.settings.jitter.0);
    let request = PlanRequest {
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        revision: row.revision,
        times: row.settings.times.clone(),
        until: row.settings.until,
        after: row.planned_through,
        too_old: Time(ctx.now.0.saturating_sub(window)),
        max: limits::SCHEDULE_PLANNED_MAX - row.planned.len(),
    };
    ctx.effect(Effect::PlanWanted(Box::new(request)));
}

/// Arms the timer of a schedule for the next thing that it has to do.
fn arm(ctx: &mut ApplyContext<'_>, key: &NamedKey, row: &mut Schedule) {
    let planned = row.planned.first().filter(|_| !row.paused);
    let planned = planned.map(|instant| row.settings.due(&key.namespace, &key.name, *instant));
    let ready = may_backfill(row) || (!row.paused && row.running.is_empty() && !row.waiting.is_empty());
    let again = row.asked.filter(|_| is_short(row)).map(|asked| asked.after(ASK_AGAIN));
    let next = [planned, ready.then_some(ctx.now), again].into_iter().flatten().min();
    let next = next.map(|next| Armed { due: next.max(ctx.now), at_once: next <= ctx.now });
    if next == row.armed {
        return;
    }
    disarm(ctx, row);
    row.armed = next;
    if let Some(armed) = next {
        ctx.arm(armed.due, timer_of(row.timer), armed.kind(), 0);
    }
}

/// Takes the timer of a schedule back.
pub(crate) fn disarm(ctx: &mut ApplyContext<'_>, row: &mut Schedule) {
    if let Some(armed) = row.armed.take() {
        ctx.disarm(Some(armed.due), timer_of(row.timer), armed.kind());
    }
}
