//! A step gets the lock that it has waited for.
//!
//! For: what the queue of a lock tells a step. Not for: waiting in it, and giving the lock up (see `locked`).
//! Invariant: a step that is told begins, in this record or a later one.

use consort_types::{Result, StepInstanceId, Token};

use crate::{
    context::{ApplyContext, PendingWork},
    run::keys::TimerKind,
};

/// A step that has waited has the lock: it begins, in this record or a later one.
pub(crate) fn granted(ctx: &mut ApplyContext<'_>, task: StepInstanceId, token: Token) -> Result<()> {
    let mut step = ctx.state.known_step(task)?;
    if let Some(lock) = &mut step.lock {
        lock.token = Some(token);
    }
    ctx.disarm(step.timeout_at.take(), task, TimerKind::Timeout);
    ctx.put_step(task, step);
    ctx.enqueue(PendingWork::Begin(task));
    Ok(())
}
