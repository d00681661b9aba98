//! `TaskTaken`: an instance holds the attempt.
//!
//! For: the command and its rule. Not for: choosing the instance (the dispatcher does).
//! Invariant: it may be recorded late, but is durable before a `write` attempt is sent.

use consort_types::{EffectClass, Result, StepInstanceId, Time, Token, WorkerInstance};
use minicbor::{Decode, Encode};

use crate::{
    context::ApplyContext,
    run::{
        keys::TimerKind,
        locate::locate,
        rows::{history::HistoryEvent, step::StepState},
    },
    task::{
        attempt::{self, Current, check_instance, check_version},
        task_spec,
    },
};

/// Records the holder of an attempt; its timeout runs from here.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct TaskTaken {
    /// The task.
    #[n(0)]
    pub task: StepInstanceId,
    /// The attempt's token.
    #[n(1)]
    pub token: Token,
    /// The instance.
    #[n(2)]
    pub instance: WorkerInstance,
    /// The effect class under which it was assigned.
    #[n(3)]
    pub effect: EffectClass,
    /// When it was assigned.
    #[n(4)]
    pub at: Time,
    /// The version of the agent that the instance serves; `None` in logs of before.
    #[n(5)]
    pub version: Option<String>,
}

impl TaskTaken {
    pub(crate) fn check(&self) -> Result<()> {
        check_instance(&self.instance)?;
        check_version(self.version.as_deref())
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let Self { task, token, ref instance, effect, at, ref version } = *self;
        let Current::Live(mut step) = attempt::reported(ctx.state, task, token, instance)? else { return Ok(()) };
        if step.state != StepState::Ready {
            // The worker has reconnected under another name and still holds the attempt.
            step.instance = Some(instance.clone());
            attempt::note_version(&mut step, version.as_ref());
            ctx.put_step(task, *step);
            return Ok(());
        }
        step.instance = Some(instance.clone());
        attempt::note_version(&mut step, version.as_ref());
        step.taken = Some(at.min(ctx.now));
        step.effect = Some(effect);
        ctx.set_state(task, &mut step, StepState::Taken);
        ctx.disarm(step.wake_at.take(), task, TimerKind::Wake);
        let step_ref = locate(ctx.state, task)?;
        if let Some(span) = task_spec::timeout_of(ctx.state, &step_ref)? {
            let due = ctx.now.after(span);
            step.timeout_at = Some(due);
            ctx.arm(due, task, TimerKind::Timeout, 0);
        }
        ctx.record_history(
            task.run,
            Some(task),
            HistoryEvent::AttemptTaken { attempt: step.attempt, instance: instance.clone(), version: version.clone() },
        );
        ctx.put_step(task, *step);
        Ok(())
    }
}
