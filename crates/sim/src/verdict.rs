//! The end of a simulation: what must hold when all is quiet.
//!
//! For: effects, leftovers, the last comparison. Not for: what is checked with each record (see `oracle`).
//! Invariant: a simulation passes only if it came to its end and everything here held.

use consort_types::{StepInstanceId, Token};

use crate::{
    context::Context,
    plan::{Checked, Violation},
};

/// An attempt that an instance holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) instance: usize,
    pub(crate) task: StepInstanceId,
    pub(crate) token: Token,
}

/// The last checks; `held` is all that instances still work on.
pub(crate) fn finish(ctx: &mut Context, held: &[Held]) -> Checked {
    check_effects(ctx)?;
    check_leftovers(ctx, held)?;
    ctx.requests.check_acknowledged(&ctx.fold)?;
    ctx.fold.check_deleted()?;
    ctx.fold.check_events()?;
    let stopped = ctx.host.stop();
    stopped.map_err(|error| Violation::of(4, format!("the process cannot stop: {error}")))?;
    ctx.fold.compare(&ctx.host.store.memory, "after the last stop")?;
    ctx.fold.check_replay()?;
    ctx.over = true;
    Ok(())
}

/// An effect on the outside happens once (laws 2 and 5).
fn check_effects(ctx: &Context) -> Checked {
    if let Some((task, tokens)) = ctx.service.repeated() {
        return Err(Violation::of(5, format!("the effect of task {task} happened again, under tokens {tokens:?}")));
    }
    if let Some((one, other)) = ctx.service.shared() {
        return Err(Violation::of(5, format!("the effect of task {one} happened again, as task {other}")));
    }
    for task in ctx.fold.completed() {
        if ctx.service.knows(task) && ctx.service.count(task) == 0 {
            return Err(Violation::of(2, format!("task {task} is completed, but its effect has not happened")));
        }
    }
    Ok(())
}

/// No instance works for a run that has ended (law 7).
fn check_leftovers(ctx: &Context, held: &[Held]) -> Checked {
    for Held { instance, task, token } in held {
        if !ctx.fold.is_live(*task, *token) {
            return Err(Violation::of(7, format!("instance {instance} still works on task {task}, which is over")));
        }
    }
    Ok(())
}
