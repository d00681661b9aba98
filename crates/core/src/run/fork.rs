//! `ForkRun`: a new run that reuses recorded outcomes of an earlier one and runs the rest again.
//!
//! For: retry from a step (terminal states are final, so that is a fork with the same input), and "what if" with another
//! input. Not for: changing the old run.
//! Invariant: an outcome is reused only if nothing before it runs again, and never one that was compensated.

use std::{collections::BTreeMap, sync::Arc};

use consort_types::{Code, Error, Name, Payload, Result, RunId, StepInstanceId};
use consort_workflow::{Block, Definition, Reference};
use minicbor::{Decode, Encode};

use super::start::StartedRun;
use crate::{
    context::{ApplyContext, LIGHT_PER_UNIT, PendingWork},
    quota::namespace,
    run::{
        beside, close,
        keep_journal::{self, Again, KeptJournal},
        keys::ScopeKey,
        lifecycle::{self, NewRun},
        locate,
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
    /// What is kept of the journals of tasks that run again; nothing in logs of before.
    #[n(5)]
    pub journal: Option<KeptJournal>,
}

impl ForkRun {
    /// As [`Command::check`].
    pub fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        if let (Some(KeptJournal::Entries(entry)), None) = (self.journal, &self.step) {
            return Err(Error::new(Code::BadRequest, format!("the entry `{entry}` belongs to no step"))
                .hint("name the step whose journal it is in: `--from STEP`"));
        }
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
    let undone = undone_steps(ctx, command.from)?;
    let rerun = steps_to_rerun(ctx.state, command, &definition, &undone)?;
    refuse_repeating(command, &definition, &rerun, &undone)?;
    // Another input was accepted at the door, by the definition that the old run is pinned to.
    let input = command.input.clone().unwrap_or_else(|| old.input.clone());
    ctx.retain(&input)?;
    lifecycle::create_run(
        ctx,
        NewRun {
            origin: Some(Origin { run: command.from, step: command.step.clone() }),
            labels: old.labels,
            priority: old.priority,
            lineage: Some(old.lineage.unwrap_or(command.from)),
            pins: old.pins,
            ..NewRun::of(command.run, &old.namespace, old.hash, Arc::clone(&definition), input)
        },
    )?;
    open_fork(ctx, command, definition.root(), &rerun, &undone)?;
    beside::take_over(ctx, (command.from, command.run), |state, task| {
        let top = locate::top_step(state, task)?;
        Ok(!rerun.get(top.index as usize).copied().unwrap_or(true))
    })
}

/// Which steps of the root block run again.
fn steps_to_rerun(state: &mut State, command: &ForkRun, definition: &Definition, undone: &Undone) -> Result<Vec<bool>> {
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
            // What was undone must be done again; what could not be undone still holds.
            StepState::Completed => undone.of(index).done == 0 && !(undone.all && row.completed_seq.is_some()),
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

/// How the compensations below a top-level step ended.
#[derive(Clone, Copy, Default)]
struct Compensated {
    /// Effects that were undone.
    done: u32,
    /// Effects that were to be undone, and were not.
    left: u32,
}

/// How the compensations of a run ended, by top-level step.
#[derive(Default)]
struct Undone {
    by_step: BTreeMap<u32, Compensated>,
    /// A run of before compensations were noted, which undid whatever had completed.
    all: bool,
}

impl Undone {
    fn of(&self, index: usize) -> Compensated {
        u32::try_from(index).ok().and_then(|index| self.by_step.get(&index)).copied().unwrap_or_default()
    }
}

fn undone_steps(ctx: &mut ApplyContext<'_>, id: RunId) -> Result<Undone> {
    let mut found = Undone::default();
    let run = ctx.state.run(id)?;
    let Some(scope) = run.compensations else {
        found.all = run.ending.is_some();
        return Ok(found);
    };
    let total = ctx.state.scope(ScopeKey { run: id, scope })?.total;
    for index in 0..total {
        let task = StepInstanceId { run: id, scope, index };
        let top = locate::top_step(ctx.state, task)?;
        let counted = found.by_step.entry(top.index).or_default();
        match ctx.state.step(task)?.unwrap_or_default().state {
            StepState::Completed => counted.done += 1,
            _ => counted.left += 1,
        }
    }
    ctx.charge(total as usize / LIGHT_PER_UNIT);
    Ok(found)
}

/// A step whose effect was not undone is not done again without a word: naming a step to run again from is one.
fn refuse_repeating(command: &ForkRun, definition: &Definition, rerun: &[bool], undone: &Undone) -> Result<()> {
    let is_left = |index: &usize| rerun[*index] && undone.of(*index).left > 0;
    let Some(index) = (0..rerun.len()).find(is_left).filter(|_| command.step.is_none()) else { return Ok(()) };
    let (name, Compensated { done, left }) = (&definition.root().steps[index].name, undone.of(index));
    let message =
        format!("step `{name}` would be done again, but {left} of its {} effects were not undone", done + left);
    Err(Error::new(Code::StepState, message).hint(format!(
        "look at its compensations with `consort runs show {}`; `--from {name}` does it again all the same",
        command.from
    )))
}

/// Opens the root block with the outcomes that are taken over in place.
fn open_fork(
    ctx: &mut ApplyContext<'_>,
    command: &ForkRun,
    root: &Block,
    rerun: &[bool],
    undone: &Undone,
) -> Result<()> {
    let total = rerun.len() as u32;
    scope::count_instances(ctx, command.run, total)?;
    ctx.charge(rerun.len());
    let key = scope::new_scope(ctx, command.run, None, ScopeKind::Steps { block: 0 }, total)?;
    let mut taken_over = BTreeMap::new();
    for (index, step) in root.steps.iter().enumerate() {
        let at = |run| StepInstanceId { run, scope: 0, index: index as u32 };
        if rerun[index] {
            let waiting = step.needs.iter().filter(|need| rerun[**need]).count() as u32;
            let before = ctx.state.step(at(command.from))?.and_then(|step| step.undone).unwrap_or_default();
            let times = Some(before + u32::from(undone.of(index).done > 0)).filter(|times| *times > 0);
            let entries = kept_entries(ctx, command, index, step, waiting == 0 && times.is_none())?;
            let row = Step { waiting, undone: times, entries, ..Step::default() };
            ctx.state.tables.steps.insert_new(at(command.run), row);
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

/// How many entries a task keeps that runs again. Where a step before it runs again too, or what it did was undone, it
/// begins again.
fn kept_entries(
    ctx: &mut ApplyContext<'_>,
    command: &ForkRun,
    index: usize,
    step: &consort_workflow::Step,
    same_input: bool,
) -> Result<u32> {
    let Some(kept) = command.journal.filter(|_| same_input && command.input.is_none() && !sees_others(step)) else {
        return Ok(0);
    };
    let task = StepInstanceId { run: command.run, scope: 0, index: index as u32 };
    let old = ctx.state.step(StepInstanceId { run: command.from, ..task })?.unwrap_or_default();
    let is_named = command.step.as_ref() == Some(&step.name);
    keep_journal::keep(ctx, kept, &Again { from: command.from, task, old: &old, is_named })
}

/// Whether the input of a step may be another one in another run, though the run's input and the steps before are the
/// same.
fn sees_others(step: &consort_workflow::Step) -> bool {
    step.reads.is_some() || step.with.references().contains(&Reference::Lock)
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
    let step = Step {
        copied: true,
        child: None,
        child_run: None,
        completed_seq: None,
        entries: 0,
        entries_pending: 0,
        pinned: None,
        lock: None,
        ..row
    };
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
