//! The version of an agent that a task's journal is pinned to.
//!
//! For: pinning a task to the version whose code writes its journal, and counting the tasks of each version. Not for:
//! which instances there are, and how long to wait for them (the dispatcher knows).
//! Invariant: the count of a version is that of the tasks that have not ended and are pinned to it.

use consort_types::{Result, StepInstanceId};

use crate::{
    context::ApplyContext,
    registry::keys::AgentKey,
    run::rows::step::{Pin, Step},
    task::rows::PinnedTasks,
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
