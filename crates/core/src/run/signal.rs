//! `SignalRun`: a signal arrives at a run from outside. It is delivered to its first waiter, or kept.
//!
//! For: matching signals with the steps and journal entries that wait for them. Not for: beginning to wait (see `wait`).
//! Invariant: a signal is read by exactly one waiter, first come, first served.

use consort_types::{Code, Error, Name, Payload, Result, RunId, Seq, StepInstanceId, limits, worker::JournalRequest};
use minicbor::{Decode, Encode};

use crate::{
    context::{ApplyContext, Outcome, PendingWork},
    run::{
        beside::{self, LINE},
        keys::SignalKey,
        lifecycle::refuse_ended,
        rows::{
            history::HistoryEvent,
            signal::{Signal, Waiter},
            step::StepState,
        },
    },
    state::State,
    task::{answer, keys::EntryKey, rows::TaskEntry},
};

/// Sends a signal to a run.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct SignalRun {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The run.
    #[n(1)]
    pub run: RunId,
    /// The signal's name.
    #[n(2)]
    pub name: String,
    /// Its payload.
    #[n(3)]
    pub payload: Payload,
}

impl SignalRun {
    /// As [`Command::check`].
    pub fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        Name::check("signal", &self.name)
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        check_signal(ctx.state, &self.namespace, self.run)?;
        signal(ctx, self.run, &self.name, &self.payload, 0)
    }
}

/// Refuses a signal to a run that takes none.
pub(crate) fn check_signal(state: &mut State, namespace: &str, id: RunId) -> Result<()> {
    let run = state.run_in(namespace, id)?;
    refuse_ended(id, &run)?;
    let (waiting, max) = (run.signals_waiting, limits::SIGNALS_WAITING_MAX);
    if waiting < max {
        return Ok(());
    }
    let message = format!("run `{id}` has {waiting} signals waiting, the limit is {max}");
    Err(Error::new(Code::LimitReached, message).hint("wait until the run has read some of them"))
}

/// A signal arrives at a run that takes it: it goes to the first that waits for it, or is kept. `n` sets it apart from
/// other signals of the record.
pub(crate) fn signal(ctx: &mut ApplyContext<'_>, id: RunId, name: &str, payload: &Payload, n: u32) -> Result<()> {
    let event = HistoryEvent::SignalReceived { name: name.to_owned(), payload: payload.clone() };
    ctx.retain(payload)?;
    ctx.record_history(id, None, event);
    give(ctx, SignalKey { run: id, name: name.to_owned(), seq: ctx.seq, n }, payload)
}

/// Gives a signal to the first that waits for it, or keeps it at its place in line.
pub(crate) fn give(ctx: &mut ApplyContext<'_>, place: SignalKey, payload: &Payload) -> Result<()> {
    let (from, to) = signal_range(place.run, &place.name);
    while let Some((key, waiter)) = ctx.state.tables.waiters.range(&from, &to, 1)?.pop() {
        ctx.state.tables.waiters.delete(&key);
        if is_waiting(ctx.state, &waiter)? {
            return deliver(ctx, &waiter, (place.seq, place.n), payload.clone());
        }
    }
    let mut run = ctx.state.run(place.run)?;
    run.signals_waiting += 1;
    ctx.put_run(place.run, run);
    ctx.retain(payload)?;
    ctx.state.tables.signals.put(place, Signal { payload: payload.clone() });
    Ok(())
}

/// An entry that waited for a signal was forgotten. A signal that had come to it before was not read by any code: the next
/// that waits gets it, or it is kept at the place that it had in line.
pub(crate) fn leave(
    ctx: &mut ApplyContext<'_>,
    run: RunId,
    name: &str,
    place: Option<(Seq, u32)>,
    unread: Option<&Payload>,
) -> Result<()> {
    let key = |(seq, n)| SignalKey { run, name: name.to_owned(), seq, n };
    if let Some(payload) = unread.filter(|_| name.starts_with(LINE)) {
        beside::note_taken(ctx, run, payload, None)?;
    }
    match (unread, place) {
        (Some(payload), place) => give(ctx, key(place.unwrap_or((ctx.seq, 0))), payload)?,
        (None, Some(place)) => ctx.state.tables.waiters.delete(&key(place)),
        // A row of before: the next signal finds that the waiter waits no longer.
        (None, None) => {}
    }
    Ok(())
}

/// A step, or an entry of its task's journal, waits for a signal: the oldest kept one, or the next.
pub(crate) fn await_signal(
    ctx: &mut ApplyContext<'_>,
    task: StepInstanceId,
    entry: Option<u32>,
    name: &str,
) -> Result<()> {
    let (from, to) = signal_range(task.run, name);
    let waiter = Waiter { task, entry };
    if let Some((key, signal)) = ctx.state.tables.signals.range(&from, &to, 1)?.pop() {
        ctx.state.tables.signals.delete(&key);
        let mut run = ctx.state.run(task.run)?;
        run.signals_waiting -= 1;
        ctx.put_run(task.run, run);
        ctx.release(&signal.payload)?;
        return deliver(ctx, &waiter, (key.seq, key.n), signal.payload);
    }
    let n = ctx.next_ordinal();
    note_place(ctx, &waiter, (ctx.seq, n))?;
    let key = SignalKey { run: task.run, name: name.to_owned(), seq: ctx.seq, n };
    ctx.state.tables.waiters.insert_new(key, waiter);
    Ok(())
}

/// Whether a waiter still waits: it may have ended without leaving the line.
pub(crate) fn is_waiting(state: &mut State, waiter: &Waiter) -> Result<bool> {
    let Some(step) = state.step(waiter.task)? else { return Ok(false) };
    match waiter.entry {
        None => Ok(step.state == StepState::Waiting),
        Some(entry) => {
            let row = state.tables.entries.get(&EntryKey { task: waiter.task, entry })?;
            Ok(!step.state.is_terminal() && row.as_ref().is_some_and(TaskEntry::is_open))
        }
    }
}

/// Records where an entry, or the signal that answers it, is in line.
fn note_place(ctx: &mut ApplyContext<'_>, waiter: &Waiter, place: (Seq, u32)) -> Result<()> {
    let Some(entry) = waiter.entry else { return Ok(()) };
    let key = EntryKey { task: waiter.task, entry };
    if let Some(row) = ctx.state.tables.entries.get(&key)? {
        ctx.state.tables.entries.put(key, TaskEntry { place: Some(place), ..row });
    }
    Ok(())
}

fn deliver(ctx: &mut ApplyContext<'_>, waiter: &Waiter, place: (Seq, u32), payload: Payload) -> Result<()> {
    note_place(ctx, waiter, place)?;
    if let Some(entry) = waiter.entry {
        if is_update(ctx.state, waiter.task, entry)? {
            beside::note_taken(ctx, waiter.task.run, &payload, Some((waiter.task, entry)))?;
        }
        answer::answer(ctx, waiter.task, entry, Ok(payload))
    } else {
        ctx.retain(&payload)?;
        ctx.enqueue(PendingWork::Finish(waiter.task, Outcome::Completed(payload)));
        Ok(())
    }
}

/// Whether an entry waits for an update.
fn is_update(state: &mut State, task: StepInstanceId, entry: u32) -> Result<bool> {
    let row = state.tables.entries.get_shared(&EntryKey { task, entry })?;
    Ok(row.is_some_and(|row| matches!(row.request, JournalRequest::Update { .. })))
}

fn signal_range(run: RunId, name: &str) -> (SignalKey, SignalKey) {
    let key = |seq| SignalKey { run, name: name.to_owned(), seq: Seq(seq), n: 0 };
    (key(0), key(u64::MAX))
}
