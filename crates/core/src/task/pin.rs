//! The version of an agent that a task's journal is pinned to.
//!
//! For: pinning a task to the version whose code writes its journal, and counting the tasks of each version. Not for:
//! which instances there are, and how long to wait for them (the dispatcher knows).
//! Invariant: the count of a version is that of the tasks that have not ended and are pinned to it.

use consort_types::{Result, StepInstanceId};

use crate::{
    context::ApplyContext,
    registry::keys::AgentKey,
    run::rows::step::{Pin, Step, StepState},
    state::State,
    task::{keys::DivergedKey, question, rows::PinnedTasks},
};

/// Pins a task that has not ended to a version, or (`None`) to none. The caller stores the step.
pub(crate) fn set(ctx: &mut ApplyContext<'_>, task: StepInstanceId, step: &mut Step, pin: Option<Pin>) -> Result<()> {
    if step.pinned == pin {
        return Ok(());
    }
    let namespace = ctx.state.run(task.run)?.namespace;
    if let Some(before) = step.pinned.take() {
        count(ctx, &namespace, before, |tasks| tasks - 1)?;
    }
    if let Some(pin) = &pin {
        count(ctx, &namespace, pin.clone(), |tasks| tasks + 1)?;
    }
    step.pinned = pin;
    Ok(())
}

/// The task has ended. Its row still says which version wrote its journal.
pub(crate) fn ended(ctx: &mut ApplyContext<'_>, task: StepInstanceId, step: &Step) -> Result<()> {
    let Some(pin) = step.pinned.clone() else { return Ok(()) };
    let namespace = ctx.state.run(task.run)?.namespace;
    count(ctx, &namespace, pin, |tasks| tasks - 1)
}

/// How many tasks that have not ended are pinned to a version.
pub(crate) fn tasks_of(state: &State, version: &AgentKey) -> Result<u64> {
    Ok(state.tables.pinned.read_uncached(version)?.unwrap_or_default().tasks)
}

fn count(ctx: &mut ApplyContext<'_>, namespace: &str, pin: Pin, change: impl FnOnce(u64) -> u64) -> Result<()> {
    let key = AgentKey { namespace: namespace.to_owned(), name: pin.agent, version: pin.version };
    let tasks = change(ctx.state.tables.pinned.get(&key)?.unwrap_or_default().tasks);
    if tasks == 0 {
        ctx.state.tables.pinned.delete(&key);
    } else {
        ctx.state.tables.pinned.put(key, PinnedTasks { tasks });
    }
    Ok(())
}

/// The agent whose code wrote the journal, as far as it is known.
pub(crate) fn writer_of(step: &Step) -> Option<String> {
    let of_pin = step.pinned.as_ref().map(|pin| pin.agent.clone());
    of_pin.or_else(|| step.instance.as_ref().map(|holder| holder.agent.clone()))
}

/// The task no longer waits for code: removes the inbox item, and its place among those that wait.
pub(crate) fn leave_diverged(ctx: &mut ApplyContext<'_>, task: StepInstanceId, step: &Step) -> Result<()> {
    if step.state != StepState::Diverged {
        return Ok(());
    }
    question::withdraw(ctx, task)?;
    if let Some(agent) = writer_of(step) {
        let namespace = ctx.state.run(task.run)?.namespace;
        ctx.state.tables.diverged.delete(&DivergedKey { namespace, agent, task });
    }
    Ok(())
}
