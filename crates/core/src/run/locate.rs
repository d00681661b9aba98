//! Which step of the definition an instance is, which layer of it, and its path.
//!
//! For: finding the definition behind a row. Not for: values (see `environment`).
//! Invariant: a step with `for_each` and `repeat` has up to three layers: the step, an item, an iteration.

use std::sync::Arc;

use consort_types::{Code, Error, Result, StepInstanceId};
use consort_workflow::{BlockId, Definition, Step};

use crate::{
    run::{
        keys::{ScopeKey, scope_of},
        rows::{
            run::Run,
            step::{Scope, ScopeKind},
        },
    },
    state::{Document, State, missing},
};

/// Which layer of a step an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    Step,
    Item,
    Iteration,
    /// The task of a call, with the agent that an auction awarded it to.
    Award,
}

/// What an instance is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InstanceKind {
    /// It is the step itself (or a layer of it).
    Body(Layer),
    /// It is a call out of the journal of the task `caller`, entry `entry`.
    Call { caller: StepInstanceId, entry: u32 },
    /// It compensates the step instance.
    Compensation(StepInstanceId),
    /// It finds out the outcome of the task's lost attempt.
    Reconcile(StepInstanceId),
    /// It calls an agent for its bid for a task.
    Bid,
}

/// A step instance with its definition.
#[derive(Clone)]
pub(crate) struct StepRef {
    pub(crate) run: Arc<Run>,
    pub(crate) definition: Arc<Definition>,
    pub(crate) block: u32,
    pub(crate) index: usize,
    pub(crate) kind: InstanceKind,
}

impl StepRef {
    pub(crate) fn step(&self) -> &Step {
        &self.definition.block(BlockId(self.block)).steps[self.index]
    }
}

pub(crate) fn parent_of(task: StepInstanceId, scope: &Scope) -> Option<StepInstanceId> {
    scope.parent.map(|(scope, index)| StepInstanceId { run: task.run, scope, index })
}

pub(crate) fn locate(state: &mut State, task: StepInstanceId) -> Result<StepRef> {
    let run = run_row(state, task)?;
    let definition = state.definition(run.hash)?;
    let (block, index, kind) = position(state, task)?;
    Ok(StepRef { run, definition, block, index, kind })
}

fn run_row(state: &mut State, task: StepInstanceId) -> Result<Arc<Run>> {
    state.tables.runs.get_shared(&task.run)?.ok_or_else(|| missing("run", &task.run))
}

/// The block, the position in it, and the role of an instance.
fn position(state: &mut State, task: StepInstanceId) -> Result<(u32, usize, InstanceKind)> {
    let scope = state.shared_scope(scope_of(task))?;
    let parent = parent_of(task, &scope);
    match (scope.kind, parent) {
        (ScopeKind::Steps { block }, _) => Ok((block, task.index as usize, InstanceKind::Body(Layer::Step))),
        (ScopeKind::Compensations, _) => {
            let original = compensated(state, task)?;
            let (block, index, _) = position(state, original)?;
            Ok((block, index, InstanceKind::Compensation(original)))
        }
        (kind, Some(parent)) => {
            let (block, index, _) = position(state, parent)?;
            let kind = match kind {
                ScopeKind::Items => InstanceKind::Body(Layer::Item),
                ScopeKind::Calls => InstanceKind::Call { caller: parent, entry: task.index },
                ScopeKind::Reconcile => InstanceKind::Reconcile(parent),
                ScopeKind::Auction { called } if task.index < called => InstanceKind::Bid,
                ScopeKind::Auction { .. } => InstanceKind::Body(Layer::Award),
                _ => InstanceKind::Body(Layer::Iteration),
            };
            Ok((block, index, kind))
        }
        (_, None) => Err(missing("scope above", &task)),
    }
}

/// The step instance that a compensation undoes.
pub(crate) fn compensated(state: &mut State, task: StepInstanceId) -> Result<StepInstanceId> {
    let list = items(state, scope_of(task))?;
    let step_ref = list.get(task.index as usize);
    let part = |at: usize| step_ref.and_then(|pair| pair.get(at)).and_then(serde_json::Value::as_u64);
    match (part(0), part(1)) {
        (Some(scope), Some(index)) => Ok(StepInstanceId { run: task.run, scope: scope as u32, index: index as u32 }),
        _ => Err(Error::new(Code::Damaged, format!("the list of compensations of run `{}` is damaged", task.run))),
    }
}

/// The items of a scope, parsed.
pub(crate) fn items(state: &mut State, key: ScopeKey) -> Result<Arc<serde_json::Value>> {
    let row = state.tables.items.get(&key)?;
    let row = row.ok_or_else(|| missing("items", &format_args!("{}.{}", key.run, key.scope)))?;
    state.document(Document::Items(key.run, key.scope), &row.list)
}

/// The path of an instance for people, such as `improve#2/write` or `gather[3]`.
pub(crate) fn path(state: &mut State, task: StepInstanceId) -> Result<String> {
    let scope = state.shared_scope(scope_of(task))?;
    let above = path_above(state, task)?;
    path_below(state, task, scope.kind, &above)
}

/// The path of the instance that opened the scope of this one; empty where none did.
pub(crate) fn path_above(state: &mut State, task: StepInstanceId) -> Result<String> {
    let scope = state.shared_scope(scope_of(task))?;
    parent_of(task, &scope).map_or_else(|| Ok(String::new()), |parent| path(state, parent))
}

/// The path of an instance in a scope of this kind, whose opener has the path `above`.
pub(crate) fn path_below(state: &mut State, task: StepInstanceId, kind: ScopeKind, above: &str) -> Result<String> {
    Ok(match kind {
        ScopeKind::Steps { .. } => {
            let name = locate(state, task)?.step().name.clone();
            if above.is_empty() { name } else { format!("{above}/{name}") }
        }
        ScopeKind::Items => format!("{above}[{}]", task.index),
        ScopeKind::Iterations => format!("{above}#{}", task.index + 1),
        ScopeKind::Calls => format!("{above}/call:{}", task.index),
        ScopeKind::Reconcile => format!("{above}/reconcile"),
        ScopeKind::Auction { called } => {
            let word = if task.index < called { "bid" } else { "award" };
            format!("{above}/{word}:{}", bidder(state, task)?.unwrap_or_default())
        }
        ScopeKind::Compensations => {
            let original = compensated(state, task)?;
            format!("compensate/{}", path(state, original)?)
        }
    })
}

/// The agent that an instance of an auction calls, or has awarded the task to.
pub(crate) fn bidder(state: &mut State, task: StepInstanceId) -> Result<Option<String>> {
    let Some(row) = state.tables.auctions.get_shared(&scope_of(task))? else { return Ok(None) };
    Ok(match row.called.get(task.index as usize) {
        Some(called) => Some(called.clone()),
        None => row.winner(task.index - row.called.len() as u32).map(|bid| bid.agent.clone()),
    })
}

/// The top-level step that an instance belongs to; of a compensation, that of what it undoes.
pub(crate) fn top_step(state: &mut State, task: StepInstanceId) -> Result<StepInstanceId> {
    let mut at = task;
    loop {
        let scope = state.shared_scope(scope_of(at))?;
        at = match parent_of(at, &scope) {
            Some(above) => above,
            None if scope.kind == ScopeKind::Compensations => compensated(state, at)?,
            None => return Ok(at),
        };
    }
}

/// Whether the instance is in a scope that has closed, though it has not ended: it is no longer needed.
pub(crate) fn is_left_behind(state: &mut State, task: StepInstanceId) -> Result<bool> {
    let scope = state.shared_scope(scope_of(task))?;
    let above = parent_of(task, &scope);
    let run_over = state.tables.runs.get_shared(&task.run)?.is_none_or(|run| run.status.is_terminal());
    if scope.closed || run_over {
        return Ok(true);
    }
    // What has begun to stop has not reached every scope below yet.
    match above {
        Some(above) => Ok(state.known_step(above)?.state.is_terminal()),
        None => Ok(false),
    }
}
