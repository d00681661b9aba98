//! Claims of steps on locks.
//!
//! For: who the holder is, and how a step learns that its claim is broken. Not for: the steps (see `run::locked`), nor
//! renewing and giving up (see `lock` and `release`).
//! Invariant: no program can have the id of a step's claim, and the claim of a step has no end of its own.

use consort_types::{Code, Error, Result, StepInstanceId};

use crate::{
    context::{ApplyContext, Outcome, PendingWork},
    key::NamedKey,
};

/// What the holders begin with that are steps.
const PREFIX: &str = "step:";

/// The holder that a step is.
pub(crate) fn holder_of(task: StepInstanceId) -> String {
    format!("{PREFIX}{task}")
}

/// Refuses a program that calls itself as steps are called.
pub(super) fn refuse_steps(holder: &str) -> Result<()> {
    if !holder.starts_with(PREFIX) {
        return Ok(());
    }
    Err(Error::new(Code::BadRequest, format!("the holder `{holder}` is a step of a run, or is called like one"))
        .hint("use another id; an operator ends the claim of a step with `consort locks break`"))
}

/// An operator has taken the place of a step in the queue: the step fails.
pub(super) fn broken(ctx: &mut ApplyContext<'_>, key: &NamedKey, task: StepInstanceId) {
    let message = format!("the place of the step in the queue of lock `{}` was taken from it", key.name);
    let error = Error::new(Code::LeaseLost, message).hint("run the step again: `consort runs retry`");
    ctx.enqueue(PendingWork::Finish(task, Outcome::Failed(error)));
}
