//! Entries that the code of a task has passed: waits that lost a race, or whose awaiting code was dropped.
//!
//! For: what a `forget` entry does to the entries that it names. Not for: which entries those are (the SDKs know).
//! Invariant: a forgotten entry has no timer, no waiter, no question and no result, and never gets one; a signal that
//! had come to it is read by the next that waits for it.

use consort_types::{Code, Error, Payload, Result, StepInstanceId, worker::JournalRequest};

use crate::{
    context::{ApplyContext, Outcome, PendingWork},
    fatal::split_fatal,
    run::{
        beside::LINE,
        keys::TimerKind,
        locate::{InstanceKind, locate},
        signal,
    },
    state::State,
    task::{answer, keys::EntryKey, rows::TaskEntry},
};

/// The entry `by` of a task closes entries before it.
pub(crate) fn forget(ctx: &mut ApplyContext<'_>, task: StepInstanceId, by: u32, entries: &[u32]) -> Result<()> {
    let mut closed = Vec::with_capacity(entries.len());
    for entry in entries {
        match split_fatal(closable(ctx, task, by, *entry))? {
            Ok(row) => closed.push((*entry, row)),
            Err(error) => return answer::answer(ctx, task, by, Err(error)),
        }
    }
    ctx.charge(closed.len());
    for (entry, row) in closed {
        close(ctx, task, by, entry, row)?;
    }
    answer::answer(ctx, task, by, Ok(Payload::null()))
}

/// The row of an entry that can be forgotten: a wait, before the one that forgets it.
fn closable(ctx: &mut ApplyContext<'_>, task: StepInstanceId, by: u32, entry: u32) -> Result<TaskEntry> {
    let row = if entry < by { ctx.state.tables.entries.get(&EntryKey { task, entry })? } else { None };
    let is_wait = |row: &TaskEntry| {
        matches!(
            row.request,
            JournalRequest::Sleep { .. }
                | JournalRequest::Signal { .. }
                | JournalRequest::Approval { .. }
                | JournalRequest::Update { .. }
        )
    };
    row.filter(is_wait).ok_or_else(|| {
        Error::new(Code::BadRequest, format!("entry {entry} of task `{task}` is no wait before entry {by}"))
            .hint("`forget` closes `sleep`, `signal`, `approval` and `update` entries that were recorded before")
    })
}

fn close(ctx: &mut ApplyContext<'_>, task: StepInstanceId, by: u32, entry: u32, mut row: TaskEntry) -> Result<()> {
    if row.forgotten.is_some() {
        return Ok(());
    }
    let waits = row.is_open();
    row.forgotten = Some(by);
    let (unread, place, due) = (row.output.take(), row.place.take(), row.due.take());
    row.error = None;
    ctx.state.tables.entries.put(EntryKey { task, entry }, row.clone());
    let mut step = ctx.state.known_step(task)?;
    let calls = step.child;
    if waits {
        step.entries_pending -= 1;
        ctx.put_step(task, step);
    }
    match row.request {
        JournalRequest::Sleep { .. } if waits => ctx.disarm_entry(due, task, TimerKind::Sleep, entry),
        JournalRequest::Signal { name, .. } if waits || unread.is_some() => {
            signal::leave(ctx, task.run, &name, place, unread.as_ref())?;
        }
        JournalRequest::Update { name, .. } if waits || unread.is_some() => {
            signal::leave(ctx, task.run, &format!("{LINE}{name}"), place, unread.as_ref())?;
        }
        JournalRequest::Approval { .. } if waits => {
            if let Some(scope) = calls {
                let question = StepInstanceId { scope, index: entry, ..task };
                let error = Error::new(Code::Cancelled, "the code that asked has passed the question");
                ctx.enqueue(PendingWork::Finish(question, Outcome::Cancelled(error)));
            }
        }
        _ => {}
    }
    unread.map_or(Ok(()), |output| ctx.release(&output))
}

/// Whether an instance is what a forgotten entry had requested.
pub(crate) fn is_forgotten(state: &mut State, task: StepInstanceId) -> Result<bool> {
    let InstanceKind::Call { caller, entry } = locate(state, task)?.kind else { return Ok(false) };
    let row = state.tables.entries.get_shared(&EntryKey { task: caller, entry })?;
    Ok(row.is_some_and(|row| row.forgotten.is_some()))
}
