//! Lying workers: they report on tasks that they do not hold, with tokens that they have guessed right.
//!
//! For: choosing a liar and a task, so that the report must be refused. Not for: what the report says (see `forgery`),
//! or instances that misbehave with their own tasks (see `worker`).
//! Invariant: a liar was never given the attempt that it reports on.

use consort_engine::InstanceId;
use consort_types::{StepInstanceId, Token};

use crate::{
    answers,
    clock::SECOND,
    context::Context,
    event::Event,
    forgery,
    plan::{Checked, InjectedBug},
};

/// One of the instances lies about a task of another.
pub(crate) fn step(ctx: &mut Context) -> Checked {
    let pause = ctx.random.span(SECOND / 10, 4 * SECOND);
    if !ctx.is_quiescent() {
        ctx.at(pause, Event::Lie);
    }
    let open = ctx.network.sessions.values().filter(|known| known.incarnation == ctx.host.incarnation);
    let liars: Vec<(usize, InstanceId)> = open.map(|known| (known.instance, known.remote)).collect();
    let tasks = ctx.fold.guessable();
    if liars.is_empty() || tasks.is_empty() {
        return Ok(());
    }
    let (liar, mut remote) = *ctx.random.pick(&liars);
    let (task, token) = *ctx.random.pick(&tasks);
    // An assignment that the engine has made may still be on its way: then it is no lie.
    let is_holder = ctx.host.partition.as_ref().is_some_and(|partition| partition.is_holder(remote, task, token));
    if is_holder || ctx.assignments.was_given(task, token, liar) {
        return Ok(());
    }
    if ctx.has_bug(InjectedBug::StrangerHeard)
        && let Some(holder) = ctx.assignments.holder(&ctx.network, ctx.host.incarnation, task, token)
    {
        remote = holder;
    }
    ctx.figures.fault("forged reports");
    let may_end = may_end(ctx, task, token, liar);
    let report = forgery::forge(&mut ctx.random, task, token, may_end);
    let now = ctx.log_time();
    if let Some(partition) = &mut ctx.host.partition {
        partition.report(remote, report, now);
    }
    ctx.wake(10);
    Ok(())
}

/// An instance of the agent that had the attempt does not end it, since it may settle what its agent has left open.
fn may_end(ctx: &Context, task: StepInstanceId, token: Token, liar: usize) -> bool {
    let (name, _) = answers::AGENTS[ctx.roster.get(liar).agent];
    // An assignment that was recorded may never have arrived.
    let recorded = ctx.fold.recorded_agent(task).is_some_and(|recorded| recorded == name);
    !recorded && !ctx.assignments.had_by_agent_of(&ctx.roster, task, token, liar)
}
