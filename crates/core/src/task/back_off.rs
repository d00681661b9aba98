//! When a step that has failed is tried again.
//!
//! For: the retry policy of a task or of a transaction. Not for: what is done then (see `fail`).
//! Invariant: back-off depends only on the policy and on (run, step, attempt), never on chance.

use consort_types::{BlobHash, Error, Span, StepInstanceId, Time, limits};
use consort_workflow::Retry;

use crate::run::rows::step::Step;

/// Whether, and when, another attempt may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetryDecision {
    Never,
    ByPolicy,
    After(Span),
}

/// When a step is tried again that has failed so often with this error; `None` where it is not.
pub(crate) fn next_try(
    policy: &Retry,
    now: Time,
    task: StepInstanceId,
    step: &Step,
    error: &Error,
    again: RetryDecision,
) -> Option<Time> {
    let pause = match again {
        _ if step.failures >= policy.attempts || !policy.covers(error) => return None,
        RetryDecision::Never => return None,
        RetryDecision::After(span) => span.min(Span::from_secs(limits::RETRY_AFTER_SECONDS_MAX)),
        RetryDecision::ByPolicy => backoff(policy, task, step.failures),
    };
    let due = now.after(pause);
    let last = policy.max_elapsed.zip(step.began).map(|(span, began)| began.after(span));
    last.is_none_or(|last| due <= last).then_some(due)
}

/// The pause after the `failures`-th failure, spread by a quarter to either side.
fn backoff(policy: &Retry, task: StepInstanceId, failures: u32) -> Span {
    let mut pause = policy.initial.0;
    for _ in 1..failures {
        if pause >= policy.max.0 {
            break;
        }
        pause = pause.saturating_mul(u64::from(policy.factor_milli)) / 1000;
    }
    let pause = pause.min(policy.max.0);
    let hash = BlobHash::of(format!("{task}#{failures}").as_bytes()).0;
    let spread = 768 + (u64::from(hash[0]) << 1);
    Span((u128::from(pause) * u128::from(spread) / 1024).try_into().unwrap_or(u64::MAX))
}
