//! `wait` steps: for a time, for a signal, or for an event.
//!
//! For: beginning a wait, and its end by time. Not for: back-off (see `task::fail`), matching signals
//! (see `signal`) or events (see `bus::waiting`).
//! Invariant: a wait that has ended has no timer left.

use consort_types::{Code, Error, Result, Span, StepInstanceId, event::check_topic_pattern};
use consort_workflow::{Action, Template, Wait, span_of, time_of};
use serde_json::Value;

use crate::{
    bus::waiting,
    context::{ApplyContext, Outcome, PendingWork},
    encode::encode,
    run::{
        auction,
        environment::{self, in_expression},
        iterate,
        keys::{ScopeKey, TimerKind},
        locate::{StepRef, locate},
        locked,
        rows::{
            history::HistoryEvent,
            step::{Step, StepState},
        },
        share, signal,
    },
};

pub(crate) fn begin_wait(
    ctx: &mut ApplyContext<'_>,
    step_ref: &StepRef,
    task: StepInstanceId,
    mut step: Step,
    wait: &Wait,
) -> Result<()> {
    let wake = match wait {
        Wait::For(template) => {
            let value = environment::evaluate(ctx.state, step_ref, task, template)
                .map_err(|error| in_expression("wait", error))?;
            Some(ctx.now.after(span_of(&value)?))
        }
        Wait::Until(template) => {
            let value = environment::evaluate(ctx.state, step_ref, task, template)
                .map_err(|error| in_expression("wait", error))?;
            Some(time_of(&value)?.max(ctx.now))
        }
        Wait::Signal { .. } | Wait::Event { .. } => None,
    };
    let topic = match wait {
        Wait::Event { topic, .. } => Some(topic_of(ctx, step_ref, task, topic)?),
        _ => None,
    };
    step.began = Some(ctx.now);
    step.wake_at = wake;
    if let Some(due) = wake {
        ctx.arm(due, task, TimerKind::Wake, 0);
    }
    let own = match wait {
        Wait::Signal { timeout, .. } | Wait::Event { timeout, .. } => *timeout,
        Wait::For(_) | Wait::Until(_) => None,
    };
    limit_wait(ctx, step_ref, task, &mut step, own);
    ctx.set_state(task, &mut step, StepState::Waiting);
    ctx.record_history(task.run, Some(task), HistoryEvent::StepBegan);
    ctx.put_step(task, step);
    match (wait, topic) {
        (Wait::Signal { name, .. }, _) => signal::await_signal(ctx, task, None, name),
        (_, Some(topic)) => waiting::wait(ctx, &step_ref.run.namespace, topic, task),
        _ => Ok(()),
    }
}

/// The topic, or the pattern of topics, that a step waits for.
fn topic_of(ctx: &mut ApplyContext<'_>, step_ref: &StepRef, task: StepInstanceId, topic: &Template) -> Result<String> {
    let topic = environment::evaluate(ctx.state, step_ref, task, topic);
    let read = |topic: Value| {
        let topic = topic.as_str().map_or_else(|| topic.to_string(), str::to_owned);
        check_topic_pattern(&topic).map(|()| topic)
    };
    topic.and_then(read).map_err(|error| in_expression("event", error))
}

pub(crate) fn limit_wait(
    ctx: &mut ApplyContext<'_>,
    step_ref: &StepRef,
    task: StepInstanceId,
    step: &mut Step,
    own: Option<Span>,
) {
    let shortest = [own, step_ref.step().timeout].into_iter().flatten().min();
    if let Some(span) = shortest {
        let due = ctx.now.after(span);
        step.timeout_at = Some(due);
        ctx.arm(due, task, TimerKind::Timeout, 0);
    }
}

/// A `wait` or a pause between iterations is over.
pub(crate) fn woken(ctx: &mut ApplyContext<'_>, task: StepInstanceId, mut step: Step) -> Result<()> {
    step.wake_at = None;
    let child = step.child;
    let state = step.state;
    let step_ref = locate(ctx.state, task)?;
    if let (StepState::Waiting, Action::State(action)) = (state, &step_ref.step().action) {
        return share::begin_state(ctx, &step_ref, task, step, action);
    }
    auction::not_taken(ctx, &step_ref, task, &step);
    ctx.put_step(task, step);
    match (state, child) {
        (StepState::Waiting, _) => {
            let output = ctx.store_payload("wait", encode(&Value::Null))?;
            ctx.enqueue(PendingWork::Finish(task, Outcome::Completed(output)));
            Ok(())
        }
        (StepState::Open, Some(scope)) => iterate::next_iteration(ctx, ScopeKey { run: task.run, scope }, task),
        _ => Ok(()),
    }
}

/// A step that waits, or that has opened others, did not end within its timeout.
pub(crate) fn wait_timed_out(ctx: &mut ApplyContext<'_>, task: StepInstanceId, step: &Step) {
    if let Some(name) = locked::awaited(step) {
        return ctx.enqueue(PendingWork::Finish(task, Outcome::Failed(locked::waited_in_vain(name))));
    }
    let last = step.error.as_ref().map(|error| format!(": {}", error.message)).unwrap_or_default();
    let error = Error::new(Code::TimedOut, format!("the step did not end within its timeout{last}"));
    ctx.enqueue(PendingWork::Finish(task, Outcome::Failed(error)));
}
