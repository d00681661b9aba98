//! `Tick`: log time advances, and timers that are due fire, in order, a bounded number at a time.
//!
//! For: what each kind of timer does when it fires. Not for: when to look (the engine appends ticks).
//! Invariant: a timer whose reason no longer holds does nothing; it never acts on a later attempt or step.

use consort_types::{Result, StepInstanceId, limits};
use minicbor::{Decode, Encode};

use crate::{
    ballot, bus,
    context::ApplyContext,
    coordination::due,
    quota::{namespace, retain},
    run::{
        auction, cancel, delete,
        keys::{TimerKey, TimerKind, root_task},
        locate::locate,
        open_effect, pending, resume,
        rows::{
            run::RunStatus,
            step::{Step, StepState},
        },
        wait,
    },
    schedule,
    space::{delete_space, expire},
    task::{answer, attempt, fail},
};

/// Fires due timers. The time of the record determines what is due.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub struct Tick {}

impl Tick {
    pub(crate) fn apply(ctx: &mut ApplyContext<'_>) -> Result<()> {
        for timer in ctx.state.pass_due_timers(limits::TIMERS_PER_TICK_MAX)? {
            assert!(timer.due <= ctx.now, "no timer fires early (law 6)");
            if ctx.is_long() {
                // It and those behind it fire in the next tick.
                ctx.state.timer_armed(timer);
                break;
            }
            ctx.charge(1);
            ctx.state.tables.timers.delete(&timer);
            fire(ctx, timer)?;
            pending::drain_pending(ctx)?;
        }
        Ok(())
    }
}

fn fire(ctx: &mut ApplyContext<'_>, timer: TimerKey) -> Result<()> {
    let (task, id) = (timer.task, timer.task.run);
    match timer.kind {
        TimerKind::RunTimeout => return run_timed_out(ctx, task),
        TimerKind::Reap => return delete::reap(ctx, id),
        TimerKind::Retention => {
            let run = ctx.state.tables.runs.get(&id)?;
            let Some(run) = run.filter(|run| run.status != RunStatus::Deleted) else { return Ok(()) };
            // Where another retention was set since, it has a timer of its own.
            let keep = match &run.delivers {
                Some(delivers) => delivers.keep,
                None => namespace::namespace(ctx.state, &run.namespace)?.retention,
            };
            if keep.zip(run.ended).is_some_and(|(keep, ended)| ended.after(keep) <= ctx.now) {
                delete::delete_run(ctx, id, run)?;
            }
            return Ok(());
        }
        TimerKind::Retain => return retain::go_on(ctx),
        TimerKind::Coordination => return due::fired(ctx, timer),
        TimerKind::BallotDeadline => return ballot::rounds::deadline_passed(ctx, timer),
        TimerKind::BallotReap => return ballot::delete::reap(ctx, timer),
        TimerKind::Events | TimerKind::EventsContinue => return bus::due::go_on(ctx),
        TimerKind::Schedule | TimerKind::ScheduleContinue => return schedule::due::fired(ctx, timer),
        TimerKind::Continue => return resume::continue_run(ctx, id),
        TimerKind::StateExpiry => return expire::fire(ctx, &timer),
        TimerKind::StatePurge => return delete_space::fire(ctx, &timer),
        TimerKind::Sleep => return answer::slept(ctx, task, timer.entry),
        _ => {}
    }
    let Some(step) = ctx.state.step(task)?.filter(|step| !step.state.is_terminal()) else { return Ok(()) };
    fire_step(ctx, timer, task, step)
}

fn fire_step(ctx: &mut ApplyContext<'_>, timer: TimerKey, task: StepInstanceId, mut step: Step) -> Result<()> {
    match timer.kind {
        TimerKind::Timeout if step.timeout_at == Some(timer.due) => match step.state {
            StepState::Taken | StepState::Ready => fail::attempt_timed_out(ctx, task, step),
            _ => {
                step.timeout_at = None;
                wait::wait_timed_out(ctx, task, &step);
                ctx.put_step(task, step);
                Ok(())
            }
        },
        TimerKind::Deadline if step.deadline_at == Some(timer.due) => {
            open_effect::deadline_passed(ctx, task, step);
            Ok(())
        }
        TimerKind::Backoff if step.state == StepState::Backoff && step.wake_at == Some(timer.due) => {
            step.wake_at = None;
            step.instance = None;
            step.effect = None;
            attempt::next_attempt(ctx, task, step, None)?;
            let step_ref = locate(ctx.state, task)?;
            auction::await_taking(ctx, &step_ref, task)
        }
        TimerKind::Wake if step.wake_at == Some(timer.due) => wait::woken(ctx, task, step),
        _ => Ok(()),
    }
}

fn run_timed_out(ctx: &mut ApplyContext<'_>, task: StepInstanceId) -> Result<()> {
    let Some(mut run) = ctx.state.tables.runs.get(&task.run)? else { return Ok(()) };
    if run.status != RunStatus::Running {
        return Ok(());
    }
    run.deadline = None;
    ctx.put_run(task.run, run.clone());
    debug_assert_eq!(task, root_task(task.run));
    cancel::cancel_run(ctx, task.run, run, "it did not end within its timeout", false)
}
