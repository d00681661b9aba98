//! Loops: one instance after the other of a `repeat`.
//!
//! For: opening a loop, its next iteration, and its end. Not for: what an iteration does.
//! Invariant: an iteration starts after the one before it has ended.

use consort_types::{Code, Error, Result, StepInstanceId};
use consort_workflow::Repeat;

use crate::{
    context::{ApplyContext, Outcome, PendingWork},
    fatal::split_fatal,
    run::{
        close,
        environment::{self, in_expression},
        instance,
        keys::{ScopeKey, TimerKind},
        locate::{StepRef, locate},
        rows::{
            run::RunStatus,
            step::{Scope, ScopeKind, Step},
        },
        scope,
    },
    state::{Document, State},
};

pub(crate) fn begin(ctx: &mut ApplyContext<'_>, task: StepInstanceId, step: Step, repeat: &Repeat) -> Result<()> {
    let key = scope::new_scope(ctx, task.run, Some(task), ScopeKind::Iterations, repeat.max)?;
    let step_ref = locate(ctx.state, task)?;
    instance::open(ctx, &step_ref, task, step, Some(key.scope));
    ctx.enqueue(PendingWork::Advance(key));
    Ok(())
}

pub(crate) fn advance_iterations(
    ctx: &mut ApplyContext<'_>,
    key: ScopeKey,
    scope: Scope,
    opener: StepInstanceId,
    mut step: Step,
) -> Result<()> {
    if scope.started > scope.ended {
        return Ok(());
    }
    let step_ref = locate(ctx.state, opener)?;
    let Some(repeat) = step_ref.step().repeat.clone() else { return Ok(()) };
    if let Some(error) = scope.error {
        return close::close(ctx, key, opener, Outcome::of_error(error));
    }
    if step_ref.run.status == RunStatus::Cancelling {
        let error = Error::new(Code::Cancelled, "the run was cancelled");
        return close::close(ctx, key, opener, Outcome::Cancelled(error));
    }
    let Some(last) = scope.ended.checked_sub(1) else { return next_iteration(ctx, key, opener) };
    let last = StepInstanceId { run: key.run, scope: key.scope, index: last };
    let ends = split_fatal(loop_ends(ctx.state, &step_ref, last, &repeat))?;
    match ends {
        Err(error) => close::close(ctx, key, opener, Outcome::Failed(in_expression("repeat", error))),
        Ok(ends) if ends || scope.ended == scope.total => {
            let output = ctx.state.known_step(last)?.output.unwrap_or_default();
            ctx.retain(&output)?;
            close::close(ctx, key, opener, Outcome::Completed(output))
        }
        Ok(_) => match repeat.delay {
            Some(delay) => {
                let due = ctx.now.after(delay);
                step.wake_at = Some(due);
                ctx.arm(due, opener, TimerKind::Wake, 0);
                ctx.put_step(opener, step);
                Ok(())
            }
            None => next_iteration(ctx, key, opener),
        },
    }
}

pub(crate) fn next_iteration(ctx: &mut ApplyContext<'_>, key: ScopeKey, opener: StepInstanceId) -> Result<()> {
    if let Err(error) = split_fatal(scope::count_instances(ctx, key.run, 1))? {
        return close::close(ctx, key, opener, Outcome::Failed(error));
    }
    let mut scope = ctx.state.scope(key)?;
    scope::start_instance(ctx, key, scope.started);
    scope.started += 1;
    ctx.put_scope(key, scope);
    Ok(())
}

/// Whether the loop ends after its iteration `last`, as seen from inside that iteration.
fn loop_ends(state: &mut State, step_ref: &StepRef, last: StepInstanceId, repeat: &Repeat) -> Result<bool> {
    let Some(condition) = repeat.until.as_ref().or(repeat.while_true.as_ref()) else { return Ok(false) };
    let row = state.known_step(last)?;
    let inside = row.child.map_or(last, |scope| StepInstanceId { scope, index: 0, ..last });
    let mut environment = environment::environment(state, step_ref, inside, condition.references())?;
    environment.output = match &row.output {
        Some(output) => Some(state.document(Document::Output(last), output)?),
        None => None,
    };
    let ends = repeat.ends(&environment);
    state.charge_cost(environment.meter.cost());
    ends
}
