//! `TaskPark`: a task that only waits leaves its instance.
//!
//! For: the command and its rule. Not for: waking it (see `answer`).
//! Invariant: a parked task wakes when one of the entries that its code waits for is answered.

use consort_types::{Code, Error, Result, StepInstanceId, Token, WorkerInstance, worker::check_positions};
use minicbor::{Decode, Encode};

use crate::{
    context::ApplyContext,
    run::{open_effect, rows::step::StepState},
    task::{
        attempt::{self, Current, check_instance},
        keys::EntryKey,
        unknown_outcome,
    },
};

/// Parks a task.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct TaskPark {
    /// The task.
    #[n(0)]
    pub task: StepInstanceId,
    /// The attempt's token.
    #[n(1)]
    pub token: Token,
    /// Positions of the journal entries that its code waits for.
    #[n(2)]
    pub waiting: Vec<u32>,
    /// The instance that reports.
    #[n(3)]
    pub by: WorkerInstance,
}

impl TaskPark {
    pub(crate) fn check(&self) -> Result<()> {
        check_instance(&self.by)?;
        check_positions(&self.waiting)
    }

    /// The task leaves its instance until one of the entries that its code waits for is answered. Where one is
    /// answered already (the answer crossed the report), it is put up again at once.
    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let Self { task, token, ref waiting, ref by } = *self;
        let Current::Live(mut step) = attempt::reported(ctx.state, task, token, by)? else { return Ok(()) };
        let mut answered = false;
        for entry in waiting {
            let row = ctx.state.tables.entries.get(&EntryKey { task, entry: *entry })?;
            let Some(row) = row else {
                let message = format!("task `{task}` has no journal entry {entry} to wait for");
                return Err(Error::new(Code::BadRequest, message).hint("park on entries that were recorded"));
            };
            if let Some(by) = row.forgotten {
                let message =
                    format!("task `{task}` waits for entry {entry}, which its code had gone past (entry {by})");
                return Err(Error::new(Code::JournalDiverged, message)
                    .hint("what lost a race is not waited for again; make a new wait"));
            }
            answered |= row.is_answered();
        }
        if waiting.is_empty() {
            let message = format!("task `{task}` waits for nothing and cannot park");
            return Err(Error::new(Code::BadRequest, message).hint("complete or fail the task"));
        }
        unknown_outcome::leave_unknown(ctx, task, &mut step)?;
        if open_effect::ends_now(ctx, task, &step) {
            ctx.put_step(task, *step);
            return Ok(());
        }
        attempt::leave_instance(ctx, task, &mut step);
        step.taken = None;
        step.effect = None;
        if answered {
            return attempt::offer_again(ctx, task, *step, None);
        }
        step.parked_on.clone_from(waiting);
        ctx.set_state(task, &mut step, StepState::Parked);
        ctx.put_step(task, *step);
        Ok(())
    }
}
