//! Fan-outs: one instance for each item of a `for_each`.
//!
//! For: opening one, and starting as many items as may run. Not for: what an item does.
//! Invariant: at most `max_parallel` items are active; with `fail_fast` none starts after a failure.

use consort_types::{Code, Error, Result, StepInstanceId, limits};
use consort_workflow::ForEach;
use serde_json::Value;

use crate::{
    context::{ApplyContext, Outcome, PendingWork},
    encode::encode,
    run::{
        child_runs, close,
        environment::{self, in_expression},
        instance,
        keys::ScopeKey,
        locate::{StepRef, locate},
        rows::{
            run::RunStatus,
            step::{Items, Scope, ScopeKind, Step},
        },
        scope,
    },
};

pub(crate) fn begin(
    ctx: &mut ApplyContext<'_>,
    step_ref: &StepRef,
    task: StepInstanceId,
    step: Step,
    for_each: &ForEach,
) -> Result<()> {
    let list = environment::evaluate(ctx.state, step_ref, task, &for_each.items)
        .map_err(|error| in_expression("for_each", error))?;
    let Value::Array(items) = &list else {
        let message = format!("`for_each` needs a list, but got {}", kind_of(&list));
        return Err(Error::new(Code::Expression, message).hint("check what the expression refers to"));
    };
    if items.len() > limits::FAN_OUT_ITEMS_MAX {
        let message = format!("`for_each` has {} items, the limit is {}", items.len(), limits::FAN_OUT_ITEMS_MAX);
        return Err(Error::new(Code::LimitReached, message).hint("work on batches, or use child workflows"));
    }
    let total = items.len() as u32;
    scope::count_instances(ctx, task.run, total)?;
    let payload = ctx.store_payload("list of items", encode(&list))?;
    let key = scope::new_scope(ctx, task.run, Some(task), ScopeKind::Items, total)?;
    ctx.state.tables.items.insert_new(key, Items { list: payload });
    instance::open(ctx, step_ref, task, step, Some(key.scope));
    ctx.enqueue(PendingWork::Advance(key));
    Ok(())
}

pub(crate) fn advance_items(
    ctx: &mut ApplyContext<'_>,
    key: ScopeKey,
    mut scope: Scope,
    opener: StepInstanceId,
) -> Result<()> {
    let step_ref = locate(ctx.state, opener)?;
    let Some(for_each) = &step_ref.step().for_each else { return Ok(()) };
    let cancelling = step_ref.run.status == RunStatus::Cancelling;
    let stop = cancelling || (scope.failed > 0 && for_each.fail_fast);
    let parallel = for_each.max_parallel.unwrap_or(limits::FAN_OUT_PARALLEL_DEFAULT_MAX).max(1);
    let parallel = if stop { 0 } else { parallel.min(child_runs::descendants_left(ctx.state, key.run, &step_ref)?) };
    // One that was to begin may still wait for a later record.
    let mut room = ctx.room().min(limits::PAGE_ITEMS_MAX);
    while scope.started < scope.total && scope.started - scope.ended < parallel {
        if room == 0 {
            ctx.enqueue(PendingWork::Advance(key));
            break;
        }
        scope::start_instance(ctx, key, scope.started);
        scope.started += 1;
        room -= 1;
    }
    let over = scope.started == scope.ended && (stop || scope.started == scope.total);
    ctx.put_scope(key, scope.clone());
    if !over {
        return Ok(());
    }
    let outcome = match (cancelling && scope.started < scope.total, scope.error) {
        (_, Some(error)) => Outcome::of_error(error),
        (true, None) => Outcome::Cancelled(Error::new(Code::Cancelled, "the run was cancelled")),
        (false, None) => Outcome::of_output(scope::list_output(ctx, key, scope.total))?,
    };
    close::close(ctx, key, opener, outcome)
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
