//! Traces: which trace the attempts of a run belong to.
//!
//! For: the `traceparent` that is handed to workers. Not for: recording spans, or reading a caller's (`types` does).
//! Invariant: all runs below a run share its trace, and the span of an attempt follows from its task and token.

use consort_types::{BlobHash, RunId, StepInstanceId, Token};

use crate::run::rows::run::Run;

/// The `traceparent` of an attempt: the trace of the run, and a span of the attempt's own.
pub(crate) fn of_attempt(run: &Run, task: StepInstanceId, token: Token) -> String {
    let span = BlobHash::of(format!("{task}@{token}").as_bytes());
    joined(run.traceparent.as_deref(), task.run, &span)
}

/// What a child run is given, so that it belongs to the trace of the run above.
pub(crate) fn of_child(above: &Run, id: RunId) -> String {
    above.traceparent.clone().unwrap_or_else(|| joined(None, id, &BlobHash::of(id.to_string().as_bytes())))
}

fn joined(given: Option<&str>, run: RunId, span: &BlobHash) -> String {
    let span = span.0.iter().take(8).fold(0, |span, byte| span << 8 | u64::from(*byte));
    // A span of zeros is none.
    let span: u64 = span.max(1);
    match given.and_then(|given| given.get(3..35).zip(given.get(53..55))) {
        Some((trace, flags)) => format!("00-{trace}-{span:016x}-{flags}"),
        None => format!("00-{:032x}-{span:016x}-01", u128::from_be_bytes(run.0)),
    }
}
