//! The beginning of a step instance: considered, then begun.
//!
//! For: whether an instance runs, and by which rule. Not for: tasks, waits and scopes (their modules).
//! Invariant: an instance begins at most once, and never where its scope is over.

use consort_types::{Code, Error, Payload, Result, StepInstanceId, worker::JournalRequest};
use consort_workflow::{Action, BlockId};

use crate::{
    context::{ApplyContext, Outcome, PendingWork},
    fatal::split_fatal,
    run::{
        approval, auction, child_runs,
        environment::{self, in_expression},
        fan_out, instance, iterate,
        keys::TimerKind,
        locate::{self, InstanceKind, Layer, StepRef, locate},
        locked, publish, reads,
        rows::{
            run::RunStatus,
            step::{Step, StepState},
        },
        scope, share, wait,
    },
    task::{attempt, task_spec},
};

/// All that the step needs has ended: does it run?
pub(crate) fn consider(ctx: &mut ApplyContext<'_>, task: StepInstanceId) -> Result<()> {
    if ctx.state.known_step(task)?.state != StepState::Pending || locate::is_left_behind(ctx.state, task)? {
        return Ok(());
    }
    let step_ref = locate(ctx.state, task)?;
    if step_ref.run.forced {
        let error = Error::new(Code::Cancelled, "the run was cancelled");
        ctx.enqueue(PendingWork::Finish(task, Outcome::Cancelled(error)));
        return Ok(());
    }
    let status = environment::status_of(ctx.state, &step_ref, task)?;
    let step = step_ref.step();
    if let Some(keys) = step.reads.as_ref().filter(|_| status.success || step.condition.is_some())
        && let Err(error) = split_fatal(reads::read(ctx, &step_ref, task, keys))?
    {
        ctx.enqueue(PendingWork::Finish(task, Outcome::Failed(error)));
        return Ok(());
    }
    let runs = match &step.condition {
        None => Ok(status.success),
        Some(condition) => split_fatal(
            environment::environment(ctx.state, &step_ref, task, condition.references()).and_then(|mut environment| {
                environment.status = status;
                let runs = step.runs(&environment);
                ctx.state.charge_cost(environment.meter.cost());
                runs
            }),
        )?,
    };
    let outcome = match runs {
        // At once: a condition that has cost all that one record may is not to be asked again in the next.
        Ok(true) => return begin(ctx, task),
        Ok(false) if step_ref.run.status == RunStatus::Cancelling => {
            Outcome::Cancelled(Error::new(Code::Cancelled, "the run was cancelled before this step began"))
        }
        Ok(false) if !status.success => {
            let error = Error::new(Code::UpstreamFailed, "a step that this one needs has failed");
            Outcome::Skipped { error: Some(error), tainted: true }
        }
        Ok(false) => Outcome::Skipped { error: None, tainted: false },
        Err(error) => Outcome::Failed(in_expression("if", error)),
    };
    ctx.enqueue(PendingWork::Finish(task, outcome));
    Ok(())
}

pub(crate) fn begin(ctx: &mut ApplyContext<'_>, task: StepInstanceId) -> Result<()> {
    let mut step = ctx.state.known_step(task)?;
    let granted = locked::is_granted(&step);
    if !(granted || step.state == StepState::Pending) || locate::is_left_behind(ctx.state, task)? {
        return Ok(());
    }
    let step_ref = locate(ctx.state, task)?;
    let inner =
        matches!(step_ref.kind, InstanceKind::Bid | InstanceKind::Body(Layer::Item | Layer::Iteration | Layer::Award));
    if step_ref.run.status == RunStatus::Cancelling && (inner || step_ref.run.forced) {
        // It was left to this record, and its run was cancelled in between.
        ctx.enqueue(PendingWork::Finish(
            task,
            Outcome::Cancelled(Error::new(Code::Cancelled, "the run was cancelled")),
        ));
        return Ok(());
    }
    if granted {
        locked::begin(ctx, task, &mut step);
    } else if !under_lock(ctx, &step_ref, task, &mut step)? {
        return Ok(());
    }
    let begun = match step_ref.kind {
        InstanceKind::Bid | InstanceKind::Body(Layer::Award) => auction::begin_task(ctx, &step_ref, task, step),
        InstanceKind::Body(layer) => begin_body(ctx, &step_ref, task, step, layer),
        InstanceKind::Call { .. } => begin_entry(ctx, &step_ref, task, step),
        InstanceKind::Compensation(_) | InstanceKind::Reconcile(_) => attempt::begin_task(ctx, &step_ref, task, step),
    };
    if let Err(error) = split_fatal(begun)? {
        ctx.enqueue(PendingWork::Finish(task, Outcome::Failed(error)));
    }
    Ok(())
}

/// Whether a step may continue: it needs no lock, or has it. Else it waits, or has failed.
fn under_lock(ctx: &mut ApplyContext<'_>, step_ref: &StepRef, task: StepInstanceId, step: &mut Step) -> Result<bool> {
    let Some(lock) = step_ref.step().with_lock.as_ref().filter(|_| step_ref.kind == InstanceKind::Body(Layer::Step))
    else {
        return Ok(true);
    };
    // The wait for the lock is a part of the step's time.
    arm_deadline(ctx, step_ref, task, step);
    match split_fatal(locked::acquire(ctx, step_ref, task, step, lock))? {
        Ok(held) => Ok(held),
        Err(error) => {
            ctx.enqueue(PendingWork::Finish(task, Outcome::Failed(error)));
            Ok(false)
        }
    }
}

fn arm_deadline(ctx: &mut ApplyContext<'_>, step_ref: &StepRef, task: StepInstanceId, step: &mut Step) {
    if let (Some(span), None) = (step_ref.step().deadline, step.deadline_at) {
        let due = ctx.now.after(span);
        step.deadline_at = Some(due);
        ctx.arm(due, task, TimerKind::Deadline, 0);
        ctx.put_step(task, step.clone());
    }
}

fn begin_body(
    ctx: &mut ApplyContext<'_>,
    step_ref: &StepRef,
    task: StepInstanceId,
    mut step: Step,
    layer: Layer,
) -> Result<()> {
    let definition = step_ref.step();
    if layer == Layer::Step {
        arm_deadline(ctx, step_ref, task, &mut step);
    }
    if let (Layer::Step, Some(for_each)) = (layer, &definition.for_each) {
        return fan_out::begin(ctx, step_ref, task, step, for_each);
    }
    if let (Layer::Step | Layer::Item, Some(repeat)) = (layer, &definition.repeat) {
        return iterate::begin(ctx, task, step, repeat);
    }
    if let Some(chosen) = &definition.auction {
        return auction::begin(ctx, step_ref, task, step, chosen);
    }
    match &definition.action {
        Action::Call { .. } => attempt::begin_task(ctx, step_ref, task, step),
        Action::Group(block) => begin_group(ctx, step_ref, task, step, *block),
        Action::Consensus(consensus) => begin_group(ctx, step_ref, task, step, consensus.block),
        Action::Workflow { name, version } => {
            child_runs::begin_child_run(ctx, step_ref, task, step, name, version.as_deref())
        }
        Action::Wait(wait) => wait::begin_wait(ctx, step_ref, task, step, wait),
        Action::Approve(approve) => approval::begin_approve(ctx, step_ref, task, step, approve),
        Action::Publish(event) => publish::begin_publish(ctx, step_ref, task, step, event),
        Action::State(action) => share::begin_state(ctx, step_ref, task, step, action),
    }
}

/// What a task's journal requests begins: a task of its own, or a question to a person.
fn begin_entry(ctx: &mut ApplyContext<'_>, step_ref: &StepRef, task: StepInstanceId, step: Step) -> Result<()> {
    let row = task_spec::entry_of(ctx.state, step_ref)?;
    let Some(JournalRequest::Approval { prompt, detail }) = row.as_deref().map(|row| &row.request) else {
        return attempt::begin_task(ctx, step_ref, task, step);
    };
    let details = Some(detail.clone()).filter(|detail| *detail != Payload::null());
    approval::ask_approval(ctx, step_ref, task, step, prompt.clone(), details);
    Ok(())
}

fn begin_group(
    ctx: &mut ApplyContext<'_>,
    step_ref: &StepRef,
    task: StepInstanceId,
    step: Step,
    block: BlockId,
) -> Result<()> {
    let key = scope::open_block(ctx, task.run, Some(task), block)?;
    instance::open(ctx, step_ref, task, step, Some(key.scope));
    Ok(())
}
