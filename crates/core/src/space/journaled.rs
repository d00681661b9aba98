//! Shared state from the journal of a task.
//!
//! For: doing the transaction of a `state` entry in the record of the entry, and its answer as a document. Not for: what a
//! write comes to (see `plan`).
//! Invariant: what was read and written is recorded with the entry; the same entry again does nothing.

use consort_types::{
    Code, Error, Payload, Result, StepInstanceId,
    state::{Position, Transaction, WriteOutcome, Writer},
};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    context::ApplyContext,
    encode::encode,
    run::locate,
    space::transact::{OperationResult, Transact, Transacted},
};

/// The answer, in the form in which clients get it.
#[derive(Serialize)]
struct Answer {
    version: u64,
    succeeded: bool,
    results: Vec<Answered>,
}

#[derive(Serialize)]
struct Answered {
    space: String,
    key: String,
    outcome: WriteOutcome,
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conflict: Option<Position>,
}

/// Does the transaction of an entry, for the agent that has the task.
///
/// # Errors
/// Where it cannot be read or done, or a write of it is rejected: that is the answer of the entry.
pub(crate) fn transact(
    ctx: &mut ApplyContext<'_>,
    task: StepInstanceId,
    transaction: &Payload,
    agent: Option<String>,
) -> Result<Payload> {
    ctx.state.charge_bytes(usize::try_from(transaction.len()).unwrap_or(usize::MAX));
    let bytes = ctx.state.payload_bytes(transaction)?;
    let namespace = ctx.state.run(task.run)?.namespace;
    let step = locate::path(ctx.state, task)?;
    let by = Writer { by: agent, run: Some(task.run), step: Some(step) };
    let command = Transact { namespace, transaction: Transaction::read(&bytes)?, by };
    command.check()?;
    let done = command.apply(ctx)?;
    if let Some(error) = done.rejection() {
        return Err(error);
    }
    let answer = answer_bytes(ctx, done, false)?;
    ctx.state.charge_bytes(answer.len());
    Ok(ctx.state.store_bytes(answer))
}

/// What a transaction has come to, as a document; of a `single` operation, its outcome alone, where the value of a read
/// is null if the key has none.
pub(crate) fn answer_bytes(ctx: &mut ApplyContext<'_>, done: Transacted, single: bool) -> Result<Vec<u8>> {
    let mut results = Vec::with_capacity(done.results.len());
    for OperationResult { space, key, outcome, version, value, conflict } in done.results {
        let value = value.map(|value| raw(ctx, &value)).transpose()?;
        results.push(Answered { space, key, outcome, version: version.0, value, conflict });
    }
    match results.pop_if(|_| single) {
        Some(mut only) => {
            if matches!(only.outcome, WriteOutcome::Read) && only.value.is_none() {
                only.value = Some(RawValue::NULL.to_owned());
            }
            Ok(encode(&only))
        }
        None => Ok(encode(&Answer { version: done.seq.0, succeeded: done.succeeded, results })),
    }
}

/// A value as it is kept.
fn raw(ctx: &mut ApplyContext<'_>, value: &Payload) -> Result<Box<RawValue>> {
    let damaged = || Error::new(Code::Damaged, "a stored value is not JSON");
    let bytes = ctx.state.payload_bytes(value)?;
    let text = str::from_utf8(&bytes).map_err(|_| damaged())?.to_owned();
    RawValue::from_string(text).map_err(|_| damaged())
}
