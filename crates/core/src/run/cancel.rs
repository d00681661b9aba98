//! `CancelRun`: stop what is active, let clean-up steps run, compensate, and end as cancelled.
//!
//! For: cancelling a run and the runs below it, as many instances in a record as one may. Not for: deciding what
//! clean-up runs (conditions do), or what an instance leaves behind that ends early (see `stop`).
//! Invariant: cancel reaches every descendant (law 7); until it has reached every step of a run, nothing of the run
//! starts or is assigned, so clean-up begins after it.

use consort_types::{Code, Error, Name, Result, RunId, StepInstanceId, bounds::check_text, limits};
use minicbor::{Decode, Encode};

use crate::{
    context::{ApplyContext, Outcome, PendingWork},
    effect::Effect,
    run::{
        child_runs, defer, finish, give_up,
        keys::{ScopeKey, TimerKind, root_task},
        lifecycle::{self, refuse_ended},
        open_effect,
        rows::{
            history::HistoryEvent,
            run::{Cancelling, Run, RunStatus},
            step::StepState,
        },
    },
};

/// Cancels a run and everything below it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct CancelRun {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The run.
    #[n(1)]
    pub run: RunId,
    /// Why, for the journal.
    #[n(2)]
    pub reason: String,
    /// Whether clean-up steps (`always()`, `cancelled()`) are cancelled too.
    #[n(3)]
    pub force: bool,
}

impl CancelRun {
    pub(crate) fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        check_text("reason", &self.reason, limits::ERROR_MESSAGE_BYTES_MAX)
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let run = ctx.state.run_in(&self.namespace, self.run)?;
        refuse_ended(self.run, &run)?;
        if run.status == RunStatus::Compensating {
            return cancel_compensating(ctx, self.run, &self.reason, self.force);
        }
        cancel_run(ctx, self.run, run, &self.reason, self.force)
    }
}

/// A run that compensates ends when its compensations have: by force, those that wait are put before a person.
fn cancel_compensating(ctx: &mut ApplyContext<'_>, id: RunId, reason: &str, force: bool) -> Result<()> {
    if force {
        return give_up::give_up_waiting(ctx, id, reason);
    }
    let message = format!("run `{id}` is compensating: it ends when its compensations have");
    Err(Error::new(Code::StepState, message).hint(
        "`consort inbox` shows those that wait for you; `--force` puts those that wait for an instance there too",
    ))
}

pub(crate) fn cancel_run(ctx: &mut ApplyContext<'_>, id: RunId, mut run: Run, reason: &str, force: bool) -> Result<()> {
    let again = run.status != RunStatus::Running;
    if run.status == RunStatus::Compensating || (again && (!force || run.forced)) {
        return Ok(());
    }
    if run.paused {
        run.paused = false;
        ctx.effect(Effect::Hold { run: id, held: false });
    }
    run.set_status(RunStatus::Cancelling);
    run.forced |= force;
    run.error = Some(Error::new(Code::Cancelled, format!("the run was cancelled: {reason}")));
    ctx.put_run(id, run);
    ctx.record_history(id, None, HistoryEvent::RunCancelling { reason: reason.to_owned() });
    cancel_live(ctx, id, (0, 0), reason)
}

/// A step whose run is being cancelled, or that has ended, had started this run.
pub(crate) fn cancel_child(ctx: &mut ApplyContext<'_>, id: RunId, reason: &str, force: bool) -> Result<()> {
    match ctx.state.tables.runs.get(&id)? {
        Some(run) if !run.status.is_terminal() => cancel_run(ctx, id, run, reason, force),
        _ => Ok(()),
    }
}

/// Cancels the live steps of a run, from this one on; what is too much for one record is left to the next.
pub(crate) fn cancel_live(ctx: &mut ApplyContext<'_>, id: RunId, mut from: (u32, u32), reason: &str) -> Result<()> {
    let row = ctx.state.run(id)?;
    let error = row.error.clone().unwrap_or_else(|| Error::new(Code::Cancelled, "the run was cancelled"));
    let past = StepInstanceId { scope: u32::MAX, index: u32::MAX, ..root_task(id) };
    loop {
        if ctx.is_long() {
            return leave_cancelling(ctx, id, Cancelling { reason: reason.to_owned(), from });
        }
        let first = StepInstanceId { run: id, scope: from.0, index: from.1 };
        let limit = ctx.page();
        let page = ctx.state.tables.live.range(&first, &past, limit)?;
        for (task, _) in &page {
            ctx.charge(1);
            cancel_instance(ctx, *task, &error, reason, row.forced)?;
            finish::drain_ends(ctx)?;
        }
        match page.last() {
            Some((last, _)) if page.len() == limit => from = (last.scope, last.index.saturating_add(1)),
            _ => return cancelled(ctx, id),
        }
    }
}

/// The cancellation is resumed in a later record. Until then nothing of the run is assigned.
fn leave_cancelling(ctx: &mut ApplyContext<'_>, id: RunId, walk: Cancelling) -> Result<()> {
    let mut run = ctx.state.run(id)?;
    if run.status != RunStatus::Cancelling {
        return Ok(());
    }
    if run.cancelling.is_none() {
        ctx.effect(Effect::Hold { run: id, held: true });
    }
    run.cancelling = Some(walk);
    ctx.put_run(id, run);
    defer::arm_continuation(ctx, id)
}

/// The cancellation has reached every step; where that took several records, what has waited for it is resumed.
fn cancelled(ctx: &mut ApplyContext<'_>, id: RunId) -> Result<()> {
    let mut run = ctx.state.run(id)?;
    if lifecycle::end_cancelling(ctx, id, &mut run) {
        ctx.put_run(id, run);
        ctx.enqueue(PendingWork::Resume(id));
    }
    Ok(())
}

fn cancel_instance(
    ctx: &mut ApplyContext<'_>,
    task: StepInstanceId,
    error: &Error,
    reason: &str,
    force: bool,
) -> Result<()> {
    // It may have ended with the one before it.
    let Some(mut step) = ctx.state.step(task)?.filter(|step| !step.state.is_terminal() && !step.ending) else {
        return Ok(());
    };
    if step.state != StepState::Open {
        if open_effect::ends_later(ctx, task, &step, error) {
            return Ok(());
        }
        return finish::finish(ctx, task, Outcome::Cancelled(error.clone()));
    }
    if let Some(child) = step.child_run {
        child_runs::cancel_later(ctx, child, reason, force);
    } else if let Some(scope) = step.child {
        // A loop that pauses has nothing active that would end it.
        ctx.disarm(step.wake_at.take(), task, TimerKind::Wake);
        ctx.put_step(task, step);
        ctx.enqueue(PendingWork::Advance(ScopeKey { run: task.run, scope }));
    }
    Ok(())
}
