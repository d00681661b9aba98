//! The calls and questions of a task's journal, which become instances of their own.
//!
//! For: linking them to the entry that waits for them. Not for: running them.
//! Invariant: the call of entry `i` is instance `i` of its scope.

use consort_types::{Code, Error, Result, StepInstanceId};

use crate::{
    context::ApplyContext,
    fatal::split_fatal,
    run::{
        keys::ScopeKey,
        rows::step::{ScopeKind, Step, StepState},
        scope,
    },
    task::answer,
};

/// A task calls another capability, or asks a person: entry `index` of its journal becomes an instance of its own.
pub(crate) fn begin_call(ctx: &mut ApplyContext<'_>, caller: StepInstanceId, index: u32) -> Result<()> {
    if let Err(error) = split_fatal(scope::count_instances(ctx, caller.run, 1))? {
        return answer::answer(ctx, caller, index, Err(error));
    }
    let mut step = ctx.state.known_step(caller)?;
    let scope = if let Some(scope) = step.child {
        scope
    } else {
        // Positions are those of journal entries, so the scope has no end of its own.
        let key = scope::new_scope(ctx, caller.run, Some(caller), ScopeKind::Calls, u32::MAX)?;
        step.child = Some(key.scope);
        ctx.put_step(caller, step);
        key.scope
    };
    let key = ScopeKey { run: caller.run, scope };
    let mut row = ctx.state.scope(key)?;
    row.started += 1;
    ctx.put_scope(key, row);
    scope::start_instance(ctx, key, index);
    Ok(())
}

/// A call has ended: its outcome answers the journal entry.
pub(crate) fn call_ended(ctx: &mut ApplyContext<'_>, caller: StepInstanceId, index: u32, call: &Step) -> Result<()> {
    let result = match (call.state, &call.output, &call.error) {
        (StepState::Completed, Some(output), _) => Ok(output.clone()),
        (_, _, Some(error)) => Err(error.clone()),
        _ => Err(Error::new(Code::AgentFailed, "the call ended without an outcome")),
    };
    answer::answer(ctx, caller, index, result)
}
