//! `ForkRun`: a new run that reuses recorded outcomes of an earlier one and runs the rest again.
//!
//! For: retry from a step (terminal states are final, so that is a fork with the same input), and "what if" with another
//! input. Not for: changing the old run.
//! Invariant: an outcome is reused only if nothing before it runs again, and never one that was compensated.

use std::{collections::BTreeMap, sync::Arc};

use consort_types::{Code, Error, Name, Payload, Result, RunId, StepInstanceId};
use consort_workflow::{Block, Definition};
use minicbor::{Decode, Encode};

use super::start::StartedRun;
use crate::{
    context::{ApplyContext, PendingWork},
    quota::namespace,
    run::{
        close,
        keys::ScopeKey,
        lifecycle::{self, NewRun},
        rows::{
            history::HistoryEvent,
            run::Origin,
            step::{Scope, ScopeKind, Step, StepState},
        },
        scope,
    },
    state::State,
};

/// Forks a run.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct ForkRun {
    /// The new run's id, made by the engine.
    #[n(0)]
    pub run: RunId,
    /// The namespace.
    #[n(1)]
    pub namespace: String,
    /// The run to take outcomes from.
    #[n(2)]
    pub from: RunId,
    /// The top-level step from which to run again, with all that need it; without one, everything that has not
    /// completed.
    #[n(3)]
    pub step: Option<String>,
    /// Another input, accepted by the definition that the old run is pinned to; without one, the old run's.
    #[n(4)]
    pub input: Option<Payload>,
}

impl ForkRun {
    /// As [`Command::check`].
    pub fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        Name::check_size("step", self.step.as_deref().unwrap_or(""))
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<StartedRun> {
        fork_run(ctx, self)?;
        Ok(StartedRun { run: self.run, existing: false })
    }
}

fn fork_run(ctx: &mut ApplyContext<'_>, command: &ForkRun) -> Result<()> {
    if ctx.state.tables.runs.get(&command.run)?.is_some() {
        return Err(Error::new(Code::RunExists, format!("run `{}` exists already", command.run)));
    }
    namespace::check_runs_active(ctx.state, &command.namespace)?;
    let old = ctx.state.run_in(&command.namespace, command.from)?;
    let definition = ctx.state.definition(old.hash)?;
    let rerun = steps_to_rerun(ctx.state, command, &definition)?;
    // Another input was accepted at the door, by the definition that the old run is pinned to.
    let input = command.input.clone().unwrap_or_else(|| old.input.clone());
    ctx.retain(&input)?;
    lifecycle::create_run(
        ctx,
        NewRun {
            id: command.run,
            namespace: old.namespace,
            hash: old.hash,
            definition: Arc::clone(&definition),
            input,
            parent: None,
            depth: 0,
            paused: false,
            origin: Some(Origin { run: command.from, step: command.step.clone() }),
            labels: old.labels,
            priority: old.priority,
            idempotency_key: None,
            timeout: None,
            traceparent: None,
            root: None,
        },
    )?;
    open_fork(ctx, command, definition.root(), &rerun)
}

/// Which steps of the root block run again.
fn steps_to_rerun(state: &mut State, command: &ForkRun, definition: &Definition) -> Result<Vec<bool>> {
    let steps = &definition.root().steps;
    let mut rerun = vec![false; steps.len()];
    if let Some(name) = &command.step {
        let Some(at) = definition.root().position(name) else {
            let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
            let message = format!("workflow `{}` has no top-level step `{name}`", definition.name);
            return Err(Error::new(Code::StepNotFound, message).hint(format!("it has {}", names.join(", "))));
        };
        rerun[at] = true;
    }
    for (index, flag) in rerun.iter_mut().enumerate() {
        let row = state.step(StepInstanceId { run: command.from, scope: 0, index: index as u32 })?.unwrap_or_default();
        let kept = match row.state {
            // What was undone must be done again.
            StepState::Completed => row.completed_seq.is_none() || !was_compensated(state, command.from)?,
            StepState::Skipped => !row.tainted,
            _ => false,
        };
        *flag |= !kept;
    }
    let mut open: Vec<usize> = (0..rerun.len()).filter(|index| rerun[*index]).collect();
    while let Some(index) = open.pop() {
        for dependent in &steps[index].dependents {
            if !std::mem::replace(&mut rerun[*dependent], true) {
                open.push(*dependent);
            }
        }
    }
    if command.step.is_none() && !rerun.contains(&true) {
        let message = format!("every step of run `{}` has completed", command.from);
        return Err(Error::new(Code::StepState, message).hint("name the step to run again from: `--from STEP`"));
    }
    Ok(rerun)
}

fn was_compensated(state: &mut State, id: RunId) -> Result<bool> {
    Ok(state.run(id)?.ending.is_some())
}

/// Opens the root block with the outcomes that are taken over in place.
fn open_fork(ctx: &mut ApplyContext<'_>, command: &ForkRun, root: &Block, rerun: &[bool]) -> Result<()> {
    let total = rerun.len() as u32;
    scope::count_instances(ctx, command.run, total)?;
    ctx.charge(rerun.len());
    let key = scope::new_scope(ctx, command.run, None, ScopeKind::Steps { block: 0 }, total)?;
    let mut taken_over = BTreeMap::new();
    for (index, step) in root.steps.iter().enumerate() {
        let at = |run| StepInstanceId { run, scope: 0, index: index as u32 };
        if rerun[index] {
            let waiting = step.needs.iter().filter(|need| rerun[**need]).count() as u32;
            ctx.state.tables.steps.insert_new(at(command.run), Step { waiting, ..Step::default() });
            if waiting == 0 {
                ctx.enqueue(PendingWork::Consider(at(command.run)));
            }
        } else {
            let row = ctx.state.known_step(at(command.from))?;
            taken_over.insert(at(command.run), row);
        }
    }
    let ended = taken_over.len() as u32;
    for (task, row) in taken_over {
        take_over(ctx, task, row)?;
    }
    ctx.put_scope(key, fork_scope(total, ended));
    if ended == total {
        close::close_block(ctx, ScopeKey { run: command.run, scope: key.scope })?;
    }
    Ok(())
}

fn take_over(ctx: &mut ApplyContext<'_>, task: StepInstanceId, row: Step) -> Result<()> {
    if let Some(output) = &row.output {
        ctx.retain(output)?;
    }
    // How a step ended is read from the journal alone, also where it ended in another run.
    let event = match row.state {
        StepState::Skipped => HistoryEvent::StepSkipped { error: row.error.clone() },
        _ => HistoryEvent::StepCopied,
    };
    ctx.record_history(task.run, Some(task), event);
    let step =
        Step { copied: true, child: None, child_run: None, completed_seq: None, entries: 0, entries_pending: 0, ..row };
    ctx.state.tables.steps.insert_new(task, step);
    Ok(())
}

fn fork_scope(total: u32, ended: u32) -> Scope {
    Scope {
        kind: ScopeKind::Steps { block: 0 },
        parent: None,
        total,
        started: 0,
        ended,
        failed: 0,
        error: None,
        closed: false,
    }
}
