//! `state` steps: shared state is read and written in the record in which the step completes.
//!
//! For: doing the transaction of a step, and doing it again after a failure where the author wants that. Not for: what a
//! transaction comes to (see `space`).
//! Invariant: what a step has written is there exactly once, with the outcome of the step; a step that fails has written
//! nothing.

use consort_types::{
    Code, Error, Payload, Result, Span, StepInstanceId, Time,
    state::{Action, Operation, Transaction, Writer},
};
use consort_workflow::StateAction;

use crate::{
    context::{ApplyContext, Outcome, PendingWork},
    fatal::split_fatal,
    run::{
        environment::{self, in_expression},
        instance,
        keys::TimerKind,
        locate::{self, StepRef},
        rows::{
            history::HistoryEvent,
            step::{Step, StepState},
        },
    },
    space::{journaled, spaces, transact::Transact},
    task::back_off::{RetryDecision, next_try},
};

pub(crate) fn begin_state(
    ctx: &mut ApplyContext<'_>,
    step_ref: &StepRef,
    task: StepInstanceId,
    mut step: Step,
    action: &StateAction,
) -> Result<()> {
    step.began = step.began.or(Some(ctx.now));
    match split_fatal(done(ctx, step_ref, task, action))? {
        Ok(Some(output)) => {
            instance::end_at_once(ctx, task, step, output);
            Ok(())
        }
        Ok(None) => {
            let soon = ctx.now.after(Span(1));
            wait_until(ctx, task, step, soon);
            Ok(())
        }
        Err(error) => {
            failed(ctx, step_ref, task, step, error);
            Ok(())
        }
    }
}

/// Does the transaction; an error has changed nothing but the list of conflicts. `None` where a key was written by this
/// record: it is left to the next one.
fn done(
    ctx: &mut ApplyContext<'_>,
    step_ref: &StepRef,
    task: StepInstanceId,
    action: &StateAction,
) -> Result<Option<Payload>> {
    let template = &action.transaction;
    let environment = environment::environment(ctx.state, step_ref, task, &template.references())?;
    let bytes = environment::write_json(ctx.state, template, &environment).map_err(|e| in_expression("state", e))?;
    let mut transaction = Transaction::read(&bytes).map_err(|error| in_expression("state", error))?;
    if is_written(ctx, &step_ref.run.namespace, &transaction)? {
        return Ok(None);
    }
    let by = Writer { by: None, run: Some(task.run), step: Some(locate::path(ctx.state, task)?) };
    let held = keep_values(ctx, &mut transaction)?;
    let command = Transact { namespace: step_ref.run.namespace.clone(), transaction, by };
    let transacted = command.check().and_then(|()| command.apply(ctx));
    // The rows have counted the values for themselves.
    for value in &held {
        ctx.release(value)?;
    }
    let transacted = transacted?;
    if let Some(error) = transacted.rejection() {
        return Err(error);
    }
    if action.must_hold && !transacted.succeeded {
        return Err(not_held());
    }
    let bytes = journaled::answer_bytes(ctx, transacted, action.single)?;
    ctx.store_payload("output", bytes).map(Some)
}

/// Puts large values into the blob store, as the door does with what clients write.
fn keep_values(ctx: &mut ApplyContext<'_>, transaction: &mut Transaction) -> Result<Vec<Payload>> {
    let mut held = Vec::new();
    for Operation { action, .. } in transaction.then.iter_mut().chain(&mut transaction.otherwise) {
        if let Action::Put { value, .. } = action
            && let Some(bytes) = value.bytes()
        {
            *value = ctx.store_payload("value", bytes.to_vec())?;
            held.push(value.clone());
        }
    }
    Ok(held)
}

fn not_held() -> Error {
    Error::new(Code::StateConflict, "a condition of the transaction does not hold; nothing was written")
        .hint("give the step `else` to go on without, or `retry` to wait until it holds")
}

/// Whether the record has changed a key that the transaction would write.
fn is_written(ctx: &mut ApplyContext<'_>, namespace: &str, transaction: &Transaction) -> Result<bool> {
    let writes = transaction.then.iter().chain(&transaction.otherwise).filter(|one| one.action != Action::Get);
    for Operation { space, key, .. } in writes {
        if let Some(space) = spaces::find(ctx.state, namespace, space)?
            && ctx.has_written(space.id, key)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The transaction is done again after a pause, or the step fails.
fn failed(ctx: &mut ApplyContext<'_>, step_ref: &StepRef, task: StepInstanceId, mut step: Step, error: Error) {
    step.failures += 1;
    let Some(due) = next_try(&step_ref.step().retry, ctx.now, task, &step, &error, RetryDecision::ByPolicy) else {
        ctx.put_step(task, step);
        ctx.enqueue(PendingWork::Finish(task, Outcome::Failed(error)));
        return;
    };
    let event = HistoryEvent::AttemptFailed { attempt: step.failures, error: error.clone(), retry_at: Some(due) };
    ctx.record_history(task.run, Some(task), event);
    step.error = Some(error);
    wait_until(ctx, task, step, due);
}

/// The transaction is done at that time.
fn wait_until(ctx: &mut ApplyContext<'_>, task: StepInstanceId, mut step: Step, due: Time) {
    step.wake_at = Some(due);
    ctx.arm(due, task, TimerKind::Wake, 0);
    if step.state != StepState::Waiting {
        ctx.set_state(task, &mut step, StepState::Waiting);
    }
    ctx.put_step(task, step);
}
