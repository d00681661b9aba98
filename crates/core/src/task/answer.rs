//! Answers to entries of a task's journal.
//!
//! For: recording a result, and notifying the instance or waking the parked task. Not for: where results come from.
//! Invariant: an entry is answered once, and not after the code has passed it.

use consort_types::{Error, Payload, Result, StepInstanceId};

use crate::{
    context::ApplyContext,
    effect::Effect,
    run::rows::step::StepState,
    task::{attempt, keys::EntryKey, offer},
};

/// An entry got its result: notify the instance, or wake the parked task.
pub(crate) fn answer(
    ctx: &mut ApplyContext<'_>,
    task: StepInstanceId,
    index: u32,
    result: Result<Payload, Error>,
) -> Result<()> {
    let Some(mut step) = ctx.state.step(task)?.filter(|step| !step.state.is_terminal()) else { return Ok(()) };
    let key = EntryKey { task, entry: index };
    let Some(mut row) = ctx.state.tables.entries.get(&key)? else { return Ok(()) };
    if !row.is_open() {
        return Ok(());
    }
    match result {
        Ok(output) => {
            ctx.retain(&output)?;
            row.output = Some(output);
        }
        Err(error) => row.error = Some(error),
    }
    ctx.state.tables.entries.put(key, row.clone());
    step.entries_pending -= 1;
    match step.state {
        StepState::Parked if step.parked_on.contains(&index) => {
            step.parked_on.clear();
            attempt::offer_again(ctx, task, step, None)
        }
        StepState::Ready | StepState::Taken => {
            let entry = offer::journal_entry(ctx.state, &row)?;
            ctx.effect(Effect::Recorded { task, token: step.token, index, entry });
            ctx.put_step(task, step);
            Ok(())
        }
        _ => {
            ctx.put_step(task, step);
            Ok(())
        }
    }
}

/// A `sleep` is over.
pub(crate) fn slept(ctx: &mut ApplyContext<'_>, task: StepInstanceId, entry: u32) -> Result<()> {
    answer(ctx, task, entry, Ok(Payload::null()))
}
