//! `UpdateRun`: an update arrives at a run: a signal whose sender is answered by the code that takes it.
//!
//! For: sending one, and the answer of the code. Not for: the line in which it waits, which is that of a signal (see
//! `signal`).
//! Invariant: the same id with the same request is the same update, and its first answer stays.

use consort_types::{
    Code, Error, Name, Payload, Result, RunId, StepInstanceId, bounds::check_text, limits, worker::JournalRequest,
};
use minicbor::{Decode, Encode};
use serde_json::Value;

use crate::{
    context::ApplyContext,
    run::{
        beside,
        keys::SignalKey,
        rows::{
            beside::{SentUpdate, UpdateOutcome},
            history::HistoryEvent,
        },
        signal,
    },
    task::keys::EntryKey,
};

/// Sends an update to a run.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct UpdateRun {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The run.
    #[n(1)]
    pub run: RunId,
    /// The update's name.
    #[n(2)]
    pub name: String,
    /// Its id, unique in the run: the same again is the same update.
    #[n(3)]
    pub id: String,
    /// What is sent.
    #[n(4)]
    pub input: Payload,
}

impl UpdateRun {
    /// As [`Command::check`](crate::Command::check).
    pub fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        Name::check("update", &self.name)?;
        check_id(&self.id)?;
        let (bytes, max) = (self.input.len(), limits::UPDATE_DOCUMENT_BYTES_MAX as u64);
        if bytes <= max {
            return Ok(());
        }
        Err(Error::new(Code::PayloadTooLarge, format!("the input of the update has {bytes} bytes, the limit is {max}"))
            .hint("send a reference instead of the document"))
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let Self { namespace, run, name, id, input } = self;
        ctx.state.run_in(namespace, *run)?;
        if let Some(known) = beside::update(ctx.state, *run, id)? {
            if known.name == *name && known.input == *input {
                return Ok(());
            }
            return Err(Error::new(Code::IdempotencyMismatch, format!("update `{id}` was sent with other content"))
                .hint("another update needs another id"));
        }
        signal::check_signal(ctx.state, namespace, *run)?;
        beside::count(ctx, *run, |counts| {
            let max = limits::UPDATES_MAX;
            if counts.updates >= max {
                let message = format!("run `{run}` has had {} updates, the limit is {max}", counts.updates);
                return Err(Error::new(Code::LimitReached, message).hint("let the code end and start a new run"));
            }
            counts.updates += 1;
            Ok(())
        })?;
        ctx.retain(input)?;
        ctx.record_history(*run, None, HistoryEvent::UpdateReceived { name: name.clone(), id: id.clone() });
        let row = SentUpdate { name: name.clone(), input: input.clone(), at: ctx.now, taken: None, outcome: None };
        beside::put_update(ctx, *run, id, row);
        let written = line_bytes(ctx, id, input)?;
        let payload = ctx.state.store_bytes(written);
        let n = ctx.next_ordinal();
        signal::give(ctx, SignalKey { run: *run, name: format!("{}{name}", beside::LINE), seq: ctx.seq, n }, &payload)
    }
}

/// Refuses an id that could be no key.
fn check_id(id: &str) -> Result<()> {
    if id.is_empty() || id.chars().any(char::is_control) {
        return Err(Error::new(Code::BadRequest, "the id of the update is empty or has control characters")
            .hint("give it a short text, such as the number of an order"));
    }
    check_text("id of the update", id, limits::IDEMPOTENCY_KEY_BYTES_MAX)
}

/// What waits in the line: `{"id", "input"}`, with the input as it was written.
fn line_bytes(ctx: &mut ApplyContext<'_>, id: &str, input: &Payload) -> Result<Vec<u8>> {
    let input = ctx.state.payload_bytes(input)?;
    ctx.state.charge_bytes(input.len());
    let id = Value::from(id).to_string();
    let mut written = Vec::with_capacity(id.len() + input.len() + 20);
    written.extend(b"{\"id\":");
    written.extend(id.bytes());
    written.extend(b",\"input\":");
    written.extend(input.iter());
    written.push(b'}');
    Ok(written)
}

/// The code answers the update that its entry `taken` has. Where the run has no such update, which another run had, or it
/// was answered before, that changes nothing.
///
/// # Errors
/// Where the entry is no update that the code has.
pub(crate) fn answer(
    ctx: &mut ApplyContext<'_>,
    (task, index): (StepInstanceId, u32),
    taken: u32,
    (value, rejection): (Option<&Payload>, Option<&String>),
) -> Result<()> {
    let row = if taken < index { ctx.state.tables.entries.get(&EntryKey { task, entry: taken })? } else { None };
    let of_update = row.filter(|row| matches!(row.request, JournalRequest::Update { .. }) && row.forgotten.is_none());
    let Some(had) = of_update.and_then(|row| row.output) else {
        return Err(Error::new(
            Code::BadRequest,
            format!("entry {taken} of task `{task}` has no update to be answered"),
        )
        .hint("an `answer` names the `update` entry before it that was answered with the update"));
    };
    let Some(id) = beside::id_in(ctx.state, &had)? else { return Ok(()) };
    let Some(update) = beside::update(ctx.state, task.run, &id)? else { return Ok(()) };
    if update.outcome.is_some() || update.taken != Some((task, taken)) {
        return Ok(());
    }
    let outcome = match value {
        Some(value) => {
            ctx.retain(value)?;
            UpdateOutcome::Answered(value.clone())
        }
        None => UpdateOutcome::Rejected(rejection.cloned().unwrap_or_default()),
    };
    let outcome = Some((ctx.now, outcome));
    beside::put_update(ctx, task.run, &id, SentUpdate { outcome, ..update });
    Ok(())
}
