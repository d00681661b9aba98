//! Claims of steps on locks.
//!
//! For: who the holder is, renewing a claim, and giving it up. Not for: the steps (see `run::locked`).
//! Invariant: no program can have the id of a step's claim, and the claim of a step has no end of its own.

use consort_types::{Code, Error, Result, StepInstanceId, Time};

use super::{
    keys::MemberKey,
    lock::{self, End},
    rows::Claim,
};
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

/// The time of a step's claim is over: it continues, because the step is active.
pub(super) fn renew(ctx: &mut ApplyContext<'_>, key: &NamedKey, holder: &str, mut claim: Claim) {
    let due: Time = ctx.now.after(claim.ttl);
    lock::postpone(ctx, &mut claim, due);
    ctx.state.tables.lock_claims.put(MemberKey::of(key, holder), claim);
}

/// The step has ended: the next in the queue has its permit.
pub(crate) fn give_up(ctx: &mut ApplyContext<'_>, namespace: &str, name: &str, task: StepInstanceId) -> Result<()> {
    let (key, holder) = (NamedKey::of(namespace, name), holder_of(task));
    let claim = ctx.state.tables.lock_claims.get(&MemberKey::of(&key, &holder))?;
    let found = claim.zip(ctx.state.tables.locks.get(&key)?);
    // An operator may have broken it.
    let Some((claim, mut lock)) = found else { return Ok(()) };
    lock::end(ctx, &key, &mut lock, &holder, claim, End::Released);
    lock::settle(ctx, &key, lock)
}

/// An operator has taken the place of a step in the queue: the step fails.
pub(super) fn broken(ctx: &mut ApplyContext<'_>, key: &NamedKey, task: StepInstanceId) {
    let message = format!("the place of the step in the queue of lock `{}` was taken from it", key.name);
    let error = Error::new(Code::LeaseLost, message).hint("run the step again: `consort runs retry`");
    ctx.enqueue(PendingWork::Finish(task, Outcome::Failed(error)));
}
