//! Child runs: what a `workflow` step starts, and how it is cancelled.
//!
//! For: linking a run to the instance that waits for it. Not for: the life of the run itself.
//! Invariant: the id of a child run follows from its parent, so a replay makes the same run.

use consort_types::{BlobHash, Code, Error, Result, RunId, StepInstanceId, limits};
use consort_workflow::Action;

use crate::{
    context::{ApplyContext, PendingWork},
    quota::namespace,
    registry::workflows,
    run::{
        environment::{self, in_expression},
        instance,
        lifecycle::{self, NewRun},
        locate::StepRef,
        rows::{run::Run, step::Step},
        scope,
    },
    state::State,
    task::effect_key,
};

/// What it costs, in units, to give a run below its own cancellation.
pub(crate) const CHILD_UNITS: usize = 2;

pub(crate) fn begin_child_run(
    ctx: &mut ApplyContext<'_>,
    step_ref: &StepRef,
    task: StepInstanceId,
    step: Step,
    name: &str,
    version: Option<&str>,
) -> Result<()> {
    let depth = step_ref.run.depth + 1;
    if depth > limits::RUN_DEPTH_MAX {
        let message = format!("the child run would be {depth} runs deep, the limit is {}", limits::RUN_DEPTH_MAX);
        return Err(Error::new(Code::LimitReached, message).hint("does the workflow call itself without an end?"));
    }
    start_child_run(ctx, step_ref, task, step, name, version)
}

/// How many more runs may be started below the run at the top; at least 1, whose refusal then names the limit.
pub(crate) fn descendants_left(state: &mut State, id: RunId, step_ref: &StepRef) -> Result<u32> {
    let Action::Workflow { .. } = step_ref.step().action else { return Ok(u32::MAX) };
    let (_, top) = top_of(state, id, step_ref)?;
    Ok(state.descendants_max.saturating_sub(top.descendants).max(1))
}

/// The run at the top of the tree. It is there as long as a run below it is active.
fn top_of(state: &mut State, id: RunId, step_ref: &StepRef) -> Result<(RunId, Run)> {
    let id = step_ref.run.root.unwrap_or(id);
    Ok((id, state.run(id)?))
}

/// Counts one more run below the run at the top.
fn count_descendant(ctx: &mut ApplyContext<'_>, id: RunId, step_ref: &StepRef) -> Result<()> {
    let (id, mut top) = top_of(ctx.state, id, step_ref)?;
    let max = ctx.state.descendants_max;
    if top.descendants >= max {
        let message = format!("{} runs were started below run `{id}`, the limit is {max}", top.descendants);
        let hint = "does the workflow call itself without an end? else start runs of their own for parts of the work";
        return Err(Error::new(Code::LimitReached, message).hint(hint));
    }
    top.descendants += 1;
    ctx.put_run(id, top);
    Ok(())
}

/// The content that a step starts: what came with the start of its run, or else what is deployed.
fn content_of(state: &mut State, id: RunId, step_ref: &StepRef, name: &str, version: Option<&str>) -> Result<BlobHash> {
    if let Some(hash) = step_ref.run.pins.get(name).filter(|_| version.is_none()) {
        return Ok(*hash);
    }
    let namespace = &step_ref.run.namespace;
    let hash = workflows::resolve_workflow(state, namespace, name, version)?;
    // What was in flight when the workflow was retired continues.
    let (_, top) = top_of(state, id, step_ref)?;
    workflows::refuse_retired(state, namespace, name, Some(top.created))?;
    Ok(hash)
}

fn start_child_run(
    ctx: &mut ApplyContext<'_>,
    step_ref: &StepRef,
    task: StepInstanceId,
    mut step: Step,
    name: &str,
    version: Option<&str>,
) -> Result<()> {
    namespace::check_runs_active(ctx.state, &step_ref.run.namespace)?;
    let hash = content_of(ctx.state, task.run, step_ref, name, version)?;
    let definition = ctx.state.definition(hash)?;
    let given = environment::evaluate(ctx.state, step_ref, task, &step_ref.step().with)
        .map_err(|error| in_expression("with", error))?;
    let input = lifecycle::accept_input(ctx, &definition, &given)?;
    let input = ctx.store_payload("input", input)?;
    count_descendant(ctx, task.run, step_ref)?;
    let lineage = effect_key::lineage_below(ctx.state, step_ref, task)?;
    let id = child_id(ctx, task);
    step.child_run = Some(id);
    instance::open(ctx, step_ref, task, step, None);
    let mut above = ctx.state.run(task.run)?;
    above.children += 1;
    ctx.put_run(task.run, above);
    lifecycle::create_run(
        ctx,
        NewRun {
            parent: Some(task),
            depth: step_ref.run.depth + 1,
            paused: step_ref.run.paused,
            labels: step_ref.run.labels.clone(),
            priority: step_ref.run.priority,
            traceparent: Some(super::trace::of_child(&step_ref.run, task.run)),
            root: Some(step_ref.run.root.unwrap_or(task.run)),
            lineage: Some(lineage),
            pins: step_ref.run.pins.clone(),
            ..NewRun::of(id, &step_ref.run.namespace, hash, definition, input)
        },
    )?;
    scope::open_root(ctx, id)
}

fn child_id(ctx: &ApplyContext<'_>, task: StepInstanceId) -> RunId {
    derived_id(ctx, &format!("{task}@{}", ctx.seq))
}

/// The id of a run that the machine starts: the time of the record in front, so that ids sort by time; then a hash of
/// where it comes from.
pub(crate) fn derived_id(ctx: &ApplyContext<'_>, origin: &str) -> RunId {
    let hash = BlobHash::of(origin.as_bytes()).0;
    let millis = (ctx.now.0 / 1000).to_be_bytes();
    let mut id = [0; 16];
    id[..6].copy_from_slice(&millis[2..]);
    id[6..].copy_from_slice(&hash[..10]);
    RunId(id)
}

/// Leaves it to the queue to cancel a run that a step has started.
pub(crate) fn cancel_later(ctx: &mut ApplyContext<'_>, run: RunId, reason: &str, force: bool) {
    ctx.charge(CHILD_UNITS);
    ctx.enqueue(PendingWork::Cancel { run, reason: reason.to_owned(), force });
}
