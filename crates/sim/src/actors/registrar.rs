//! Operators of the registry: drains, weights, limits.
//!
//! For: what people do to agents while they work. Not for: what they do to runs (see `operator`).
//! Invariant: once faults have ended, every agent may work again and no limit is left, so that every run can end.

use consort_core::{
    Command,
    command::{AgentChange, SetAgent, SetLimit},
};
use consort_types::{
    Span,
    registry::{LimitScope, Rate, TaskLimit},
};

use crate::{
    answers,
    context::Context,
    plan::Checked,
    requests::Purpose,
    roster::{self, NAMESPACES},
};

/// Capabilities on which limits are set.
const LIMITED: [&str; 4] = ["work", "look", "pay", "flow"];

/// An operator does something to an agent, or sets a limit.
pub(crate) fn step(ctx: &mut Context) -> Checked {
    if ctx.is_quiescent() {
        settle(ctx);
    } else {
        disturb(ctx);
    }
    Ok(())
}

fn disturb(ctx: &mut Context) {
    let at = ctx.random.below(2) as usize;
    let namespace = NAMESPACES[at].to_owned();
    let (name, _) = *ctx.random.pick(&answers::AGENTS);
    let (name, version) = (name.to_owned(), Some("1".to_owned()));
    let command = match ctx.random.below(7) {
        0 | 1 => Command::SetAgent(SetAgent { namespace, name, version, change: AgentChange::Drain }),
        2 | 3 => Command::SetAgent(SetAgent { namespace, name, version, change: AgentChange::Resume }),
        4 => {
            let change = AgentChange::Weight(ctx.random.below(3) as u32 * 50 + 1);
            Command::SetAgent(SetAgent { namespace, name, version, change })
        }
        _ => return set_some_limit(ctx, at),
    };
    ctx.figures.fault("drains and other changes of agents");
    ctx.request(command, Purpose::Any);
}

fn set_some_limit(ctx: &mut Context, namespace: usize) {
    let scope = if ctx.random.chance(300) {
        LimitScope::Namespace
    } else {
        LimitScope::Capability((*ctx.random.pick(&LIMITED)).to_owned())
    };
    let rate = ctx.random.chance(400).then(|| Rate {
        tasks: ctx.random.between(1, 20) as u32,
        per: Span(ctx.random.span(100_000, 10_000_000)),
        burst: ctx.random.between(1, 5) as u32,
    });
    let concurrency = (rate.is_none() || ctx.random.chance(500)).then(|| ctx.random.between(1, 3) as u32);
    ctx.figures.fault("limits");
    set_limit(ctx, namespace, scope, TaskLimit { concurrency, rate, queue: None });
}

fn set_limit(ctx: &mut Context, namespace: usize, scope: LimitScope, limit: TaskLimit) {
    let command = SetLimit { namespace: NAMESPACES[namespace].to_owned(), scope, limit };
    ctx.request(Command::SetLimit(command), Purpose::Any);
}

/// Agents may work again, and limits go.
fn settle(ctx: &mut Context) {
    let Some(Ok(machine)) = ctx.host.partition.as_mut().map(|partition| partition.machine()) else { return };
    let (Ok(agents), Ok(limits)) = (machine.registry().agent_states(), machine.registry().limits()) else { return };
    for (namespace, name, version, _) in agents.into_iter().filter(|(.., state)| state.draining) {
        let (version, change) = (Some(version), AgentChange::Resume);
        ctx.request(Command::SetAgent(SetAgent { namespace, name, version, change }), Purpose::Any);
    }
    for (namespace, scope, _) in limits {
        set_limit(ctx, roster::position(&namespace), scope, TaskLimit::default());
    }
}
