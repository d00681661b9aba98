//! `PauseRun`: pause the assignment of a run's tasks, or resume it.
//!
//! For: a run and the runs below it. Not for: attempts that are running: they are finished.
//! Invariant: pausing reaches every run below, over as many records as that takes.

use consort_types::{Name, Result, RunId, StepInstanceId};
use minicbor::{Decode, Encode};

use super::keys::root_task;
use crate::{
    context::{ApplyContext, PendingWork},
    effect::Effect,
    run::{child_runs::CHILD_UNITS, defer, lifecycle::refuse_ended, rows::history::HistoryEvent},
};

/// Pauses or resumes a run and the runs below it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct PauseRun {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The run.
    #[n(1)]
    pub run: RunId,
    /// `true` pauses, `false` resumes.
    #[n(2)]
    pub paused: bool,
}

impl PauseRun {
    pub(crate) fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let run = ctx.state.run_in(&self.namespace, self.run)?;
        refuse_ended(self.run, &run)?;
        pause_run(ctx, self.run, self.paused)
    }
}

pub(crate) fn pause_run(ctx: &mut ApplyContext<'_>, id: RunId, paused: bool) -> Result<()> {
    let Some(mut run) = ctx.state.tables.runs.get(&id)? else { return Ok(()) };
    if run.paused == paused || run.status.is_terminal() {
        return Ok(());
    }
    run.paused = paused;
    let held = run.is_held();
    ctx.put_run(id, run);
    ctx.record_history(id, None, if paused { HistoryEvent::RunPaused } else { HistoryEvent::RunResumed });
    ctx.effect(Effect::Hold { run: id, held });
    pause_children(ctx, id, (0, 0))
}

/// Pauses or resumes the runs that steps of this run have started, from this step on.
pub(crate) fn pause_children(ctx: &mut ApplyContext<'_>, id: RunId, mut from: (u32, u32)) -> Result<()> {
    let mut row = ctx.state.run(id)?;
    let past = StepInstanceId { scope: u32::MAX, index: u32::MAX, ..root_task(id) };
    row.pausing = None;
    let mut more = row.children > 0;
    while more {
        if ctx.is_long() {
            row.pausing = Some(from);
            break;
        }
        let first = StepInstanceId { run: id, scope: from.0, index: from.1 };
        let limit = ctx.page();
        let page = ctx.state.tables.live.range(&first, &past, limit)?;
        for (task, _) in &page {
            ctx.charge(1);
            if let Some(run) = ctx.state.known_step(*task)?.child_run {
                ctx.charge(CHILD_UNITS);
                ctx.enqueue(PendingWork::Pause { run, paused: row.paused });
            }
            from = (task.scope, task.index.saturating_add(1));
        }
        more = page.len() == limit;
    }
    let left = row.pausing.is_some();
    ctx.put_run(id, row);
    if left { defer::arm_continuation(ctx, id) } else { Ok(()) }
}
