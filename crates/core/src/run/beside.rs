//! What a run has beside its steps: values that its code exposes, labels that it sets, and the rows of updates.
//!
//! For: what entries of a journal change about their run. Not for: sending and answering updates (see `update`).
//! Invariant: the value of a name is that of the last entry that exposed it; both kinds of row are bounded in number, and
//! each counts what it refers to.

use std::collections::BTreeMap;

use consort_types::{Code, Error, Name, Payload, Result, RunId, StepInstanceId, bounds::check_labels, limits};
use serde::Deserialize;

use crate::{
    context::ApplyContext,
    run::{
        keys::{BesideKey, BesideKind},
        rows::beside::{Beside, BesideCounts, ExposedValue, SentUpdate},
    },
    state::State,
};

/// What the names of lines begin with in which updates wait, so that no signal is taken for one.
pub(crate) const LINE: &str = "update:";

/// The code of a task exposes a value.
pub(crate) fn expose(
    ctx: &mut ApplyContext<'_>,
    task: StepInstanceId,
    entry: u32,
    (name, value): (&str, &Payload),
) -> Result<()> {
    Name::check("exposed value", name)?;
    let key = BesideKey::new(task.run, BesideKind::Value, name);
    let before = ctx.state.tables.beside.get(&key)?;
    if before.is_none() {
        count(ctx, task.run, |counts| {
            let max = limits::EXPOSED_VALUES_MAX;
            if counts.values >= max {
                let message = format!("run `{}` exposes {} values, the limit is {max}", task.run, counts.values);
                return Err(Error::new(Code::LimitReached, message).hint("expose one document with several members"));
            }
            counts.values += 1;
            Ok(())
        })?;
    }
    ctx.retain(value)?;
    if let Some(Beside::Value(before)) = &before {
        ctx.release(&before.value)?;
    }
    let row = ExposedValue { value: value.clone(), task, entry, at: ctx.now };
    ctx.state.tables.beside.put(key, Beside::Value(row));
    Ok(())
}

/// The code of a task labels its run.
pub(crate) fn set_labels(ctx: &mut ApplyContext<'_>, id: RunId, labels: &BTreeMap<String, String>) -> Result<()> {
    if let Some(label) = labels.keys().find(|label| *label == "schedule" || label.starts_with("consort.")) {
        return Err(Error::new(Code::BadRequest, format!("the label `{label}` is Consort's own"))
            .hint("choose another name: `schedule` and those that begin with `consort.` are reserved"));
    }
    let mut run = ctx.state.run(id)?;
    run.labels.extend(labels.iter().map(|(label, value)| (label.clone(), value.clone())));
    check_labels("run", &run.labels)?;
    ctx.put_run(id, run);
    Ok(())
}

/// Takes exposed values over from another run: those of the tasks that are named.
pub(crate) fn take_over(
    ctx: &mut ApplyContext<'_>,
    (from, to): (RunId, RunId),
    mut is_taken_over: impl FnMut(&mut State, StepInstanceId) -> Result<bool>,
) -> Result<()> {
    for (key, row) in values(ctx.state, from)? {
        ctx.charge(1);
        if is_taken_over(ctx.state, row.task)? {
            let task = StepInstanceId { run: to, ..row.task };
            expose(ctx, task, row.entry, (&key.name, &row.value))?;
        }
    }
    Ok(())
}

/// The exposed values of a run, by name.
pub(crate) fn values(state: &State, run: RunId) -> Result<Vec<(BesideKey, ExposedValue)>> {
    let (from, to) = (BesideKey::new(run, BesideKind::Value, ""), BesideKey::new(run, BesideKind::Update, ""));
    let rows = state.tables.beside.range(&from, &to, limits::EXPOSED_VALUES_MAX as usize)?;
    let of_value = |(key, row)| match row {
        Beside::Value(value) => Some((key, value)),
        Beside::Update(_) | Beside::Counts(_) => None,
    };
    Ok(rows.into_iter().filter_map(of_value).collect())
}

/// The update of this id.
pub(crate) fn update(state: &mut State, run: RunId, id: &str) -> Result<Option<SentUpdate>> {
    Ok(match state.tables.beside.get(&BesideKey::new(run, BesideKind::Update, id))? {
        Some(Beside::Update(update)) => Some(update),
        _ => None,
    })
}

pub(crate) fn put_update(ctx: &mut ApplyContext<'_>, run: RunId, id: &str, row: SentUpdate) {
    ctx.state.tables.beside.put(BesideKey::new(run, BesideKind::Update, id), Beside::Update(row));
}

/// Changes the counts of a run, unless that is refused.
pub(crate) fn count(
    ctx: &mut ApplyContext<'_>,
    run: RunId,
    change: impl FnOnce(&mut BesideCounts) -> Result<()>,
) -> Result<()> {
    let key = BesideKey::new(run, BesideKind::Counts, "");
    let mut counts = match ctx.state.tables.beside.get(&key)? {
        Some(Beside::Counts(counts)) => counts,
        _ => BesideCounts::default(),
    };
    change(&mut counts)?;
    ctx.state.tables.beside.put(key, Beside::Counts(counts));
    Ok(())
}

/// The id of an update, in what waits in its line.
#[derive(Deserialize)]
struct Id {
    id: String,
}

/// The id of the update in what its line had.
pub(crate) fn id_in(state: &State, payload: &Payload) -> Result<Option<String>> {
    let bytes = state.payload_bytes(payload)?;
    Ok(serde_json::from_slice::<Id>(&bytes).ok().map(|found| found.id))
}

/// An update in a line has been given to an entry of a journal, or (`None`) is back in the line.
pub(crate) fn note_taken(
    ctx: &mut ApplyContext<'_>,
    run: RunId,
    payload: &Payload,
    by: Option<(StepInstanceId, u32)>,
) -> Result<()> {
    let Some(id) = id_in(ctx.state, payload)? else { return Ok(()) };
    if let Some(row) = update(ctx.state, run, &id)? {
        put_update(ctx, run, &id, SentUpdate { taken: by, ..row });
    }
    Ok(())
}

/// Removes at most this many rows of a deleted run; returns how many.
pub(crate) fn reap(ctx: &mut ApplyContext<'_>, run: RunId, limit: usize) -> Result<usize> {
    let (from, to) = (BesideKey::new(run, BesideKind::Value, ""), BesideKey::new(run, BesideKind::Counts, "\u{7f}"));
    let rows = ctx.state.tables.beside.range(&from, &to, limit)?;
    for (key, row) in &rows {
        ctx.state.tables.beside.delete(key);
        match row {
            Beside::Value(value) => ctx.release(&value.value)?,
            Beside::Update(update) => release_update(ctx, update)?,
            Beside::Counts(_) => {}
        }
    }
    Ok(rows.len())
}

fn release_update(ctx: &mut ApplyContext<'_>, update: &SentUpdate) -> Result<()> {
    use crate::run::rows::beside::UpdateOutcome::Answered;
    ctx.release(&update.input)?;
    if let Some((_, Answered(value))) = &update.outcome {
        ctx.release(value)?;
    }
    Ok(())
}
