//! `TaskComplete`: an attempt ended well.
//!
//! For: the command and its rule. Not for: what follows for the step (see `run::finish`).
//! Invariant: the first report of the current attempt counts; a repeated one gets the first answer, and one with an old
//! fencing token changes nothing.

use consort_types::{Payload, Result, StepInstanceId, Time, Token, WorkerInstance};
use minicbor::{Decode, Encode};

use crate::{
    context::{ApplyContext, Outcome, PendingWork},
    effect::{AttemptEnd, Effect},
    task::attempt::{self, Current, check_instance, check_taken, check_version},
};

/// Records the outcome of a task.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct TaskComplete {
    /// The task.
    #[n(0)]
    pub task: StepInstanceId,
    /// The attempt's token.
    #[n(1)]
    pub token: Token,
    /// What it made.
    #[n(2)]
    pub output: Payload,
    /// The holder and the time of the assignment, where that has no record of its own.
    #[n(3)]
    pub taken: Option<(WorkerInstance, Time)>,
    /// The instance that reports.
    #[n(4)]
    pub by: WorkerInstance,
    /// The version of the agent that the instance serves; `None` in logs of before.
    #[n(5)]
    pub version: Option<String>,
}

impl TaskComplete {
    pub(crate) fn check(&self) -> Result<()> {
        check_instance(&self.by)?;
        check_version(self.version.as_deref())?;
        check_taken(self.taken.as_ref())
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let Self { task, token, ref output, ref taken, ref by, ref version } = *self;
        let Current::Live(mut step) = attempt::reported(ctx.state, task, token, by)? else { return Ok(()) };
        attempt::note_taken(ctx, &mut step, taken.as_ref());
        attempt::note_version(&mut step, version.as_ref());
        ctx.put_step(task, *step);
        ctx.retain(output)?;
        ctx.effect(Effect::AttemptEnded { task, token, end: AttemptEnd::Completed });
        ctx.enqueue(PendingWork::Finish(task, Outcome::Completed(output.clone())));
        Ok(())
    }
}
