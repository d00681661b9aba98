//! Scopes: blocks of steps and other lists of instances, and the outputs that they collect.
//!
//! For: opening a scope, making its instances, joining their outputs. Not for: when a scope closes (see `close`).
//! Invariant: instances are counted against the limit of their run before they are made, but for compensations and
//! reconcilers, which it must not keep from starting.

use consort_types::{Code, Error, Payload, Result, RunId, StepInstanceId, limits};
use consort_workflow::BlockId;

use crate::{
    context::{ApplyContext, LIGHT_PER_UNIT, PendingWork},
    encode::encode,
    run::{
        keys::ScopeKey,
        rows::step::{Scope, ScopeKind, Step},
    },
};

/// Opens a scope below an instance (or, without one, the root or the compensations).
pub(crate) fn new_scope(
    ctx: &mut ApplyContext<'_>,
    id: RunId,
    parent: Option<StepInstanceId>,
    kind: ScopeKind,
    total: u32,
) -> Result<ScopeKey> {
    let mut run = ctx.state.run(id)?;
    let key = ScopeKey { run: id, scope: run.next_scope };
    run.next_scope += 1;
    ctx.put_run(id, run);
    let parent = parent.map(|task| (task.scope, task.index));
    let scope = Scope { kind, parent, total, started: 0, ended: 0, failed: 0, error: None, closed: false };
    ctx.state.tables.scopes.insert_new(key, scope);
    Ok(key)
}

/// Makes room for `count` more step instances in a run.
pub(crate) fn count_instances(ctx: &mut ApplyContext<'_>, id: RunId, count: u32) -> Result<()> {
    let mut run = ctx.state.run(id)?;
    let made = run.steps_made.saturating_add(count);
    if made > limits::RUN_STEPS_MAX {
        let message = format!("run `{id}` would have {made} steps, the limit is {}", limits::RUN_STEPS_MAX);
        return Err(Error::new(Code::LimitReached, message).hint("split the work into several runs"));
    }
    run.steps_made = made;
    ctx.put_run(id, run);
    Ok(())
}

/// Opens a block: every step gets its row; those that need nothing are considered at once.
pub(crate) fn open_block(
    ctx: &mut ApplyContext<'_>,
    run: RunId,
    parent: Option<StepInstanceId>,
    block: BlockId,
) -> Result<ScopeKey> {
    let row = ctx.state.run(run)?;
    let definition = ctx.state.definition(row.hash)?;
    let steps = &definition.block(block).steps;
    let total = steps.len() as u32;
    count_instances(ctx, run, total)?;
    ctx.charge(steps.len());
    let key = new_scope(ctx, run, parent, ScopeKind::Steps { block: block.0 }, total)?;
    for (index, step) in steps.iter().enumerate() {
        let task = StepInstanceId { run, scope: key.scope, index: index as u32 };
        let waiting = step.needs.len() as u32;
        ctx.state.tables.steps.insert_new(task, Step { waiting, ..Step::default() });
        if waiting == 0 {
            ctx.enqueue(PendingWork::Consider(task));
        }
    }
    Ok(key)
}

/// Opens the workflow's own block.
pub(crate) fn open_root(ctx: &mut ApplyContext<'_>, id: RunId) -> Result<()> {
    open_block(ctx, id, None, BlockId::ROOT).map(drop)
}

pub(crate) fn start_instance(ctx: &mut ApplyContext<'_>, key: ScopeKey, index: u32) {
    let task = StepInstanceId { run: key.run, scope: key.scope, index };
    ctx.state.tables.steps.insert_new(task, Step::default());
    ctx.enqueue(PendingWork::Begin(task));
}

/// The output of a block: an object of step name to output, names in order.
pub(crate) fn block_output(ctx: &mut ApplyContext<'_>, key: ScopeKey, block: BlockId) -> Result<Payload> {
    let row = ctx.state.run(key.run)?;
    let definition = ctx.state.definition(row.hash)?;
    let names = definition.block(block).steps.iter().map(|step| step.name.as_str());
    let mut order: Vec<(&str, u32)> = names.zip(0..).collect();
    order.sort_unstable();
    let mut bytes = vec![b'{'];
    for (name, index) in order {
        if bytes.len() > 1 {
            bytes.push(b',');
        }
        bytes.extend(encode(name));
        bytes.push(b':');
        append_output(ctx, StepInstanceId { run: key.run, scope: key.scope, index }, &mut bytes)?;
    }
    bytes.push(b'}');
    ctx.store_payload("output of a block", bytes)
}

/// The output of a fan-out: the list of outputs in item order.
pub(crate) fn list_output(ctx: &mut ApplyContext<'_>, key: ScopeKey, total: u32) -> Result<Payload> {
    let mut bytes = vec![b'['];
    for index in 0..total {
        if index > 0 {
            bytes.push(b',');
        }
        append_output(ctx, StepInstanceId { run: key.run, scope: key.scope, index }, &mut bytes)?;
    }
    bytes.push(b']');
    ctx.store_payload("output of a fan-out", bytes)
}

fn append_output(ctx: &mut ApplyContext<'_>, task: StepInstanceId, bytes: &mut Vec<u8>) -> Result<()> {
    if (task.index as usize).is_multiple_of(LIGHT_PER_UNIT) {
        ctx.charge(1);
    }
    let output = ctx.state.step(task)?.and_then(|step| step.output).unwrap_or_default();
    let found = ctx.state.payload_bytes(&output)?;
    // Stop early: the check in `store_payload` would come after the memory was taken.
    if bytes.len() + found.len() > limits::PAYLOAD_BYTES_MAX {
        let message = format!("the outputs together have more than {} bytes", limits::PAYLOAD_BYTES_MAX);
        return Err(Error::new(Code::PayloadTooLarge, message).hint("let the steps return references"));
    }
    bytes.extend(&*found);
    Ok(())
}
