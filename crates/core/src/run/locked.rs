//! `with_lock`: a step that begins once it holds a lock, and gives it back when it ends.
//!
//! For: the claims of steps on locks. Not for: the queue of a lock (see `coordination`).
//! Invariant: the claim of a step is there exactly while the step is active: it is renewed for as long, and ends in the
//! record in which the step does. A step under a lock does nothing before it holds it.

use consort_types::{Code, Error, Name, Result, Span, StepInstanceId, limits, text};
use consort_workflow::WithLock;
use serde_json::Value;

use crate::{
    context::ApplyContext,
    coordination::{
        acquire::{self, Asked, LockClaim},
        release, step_claim,
    },
    run::{
        environment::{self, in_expression},
        keys::TimerKind,
        locate::{self, StepRef},
        rows::step::{Step, StepLock, StepState},
    },
};

/// Whether a step has the lock that it has waited for, and has not begun yet.
pub(crate) fn is_granted(step: &Step) -> bool {
    step.state == StepState::Waiting && step.lock.as_ref().is_some_and(|lock| lock.token.is_some() && !lock.begun)
}

/// The lock that a step waits for.
pub(crate) fn awaited(step: &Step) -> Option<&str> {
    let waits = step.state == StepState::Waiting;
    step.lock.as_ref().filter(|lock| waits && !lock.begun).map(|lock| lock.name.as_str())
}

/// Acquires the lock of a step that is to begin: `false` where it waits in the queue. An error has changed nothing.
pub(crate) fn acquire(
    ctx: &mut ApplyContext<'_>,
    step_ref: &StepRef,
    task: StepInstanceId,
    step: &mut Step,
    spec: &WithLock,
) -> Result<bool> {
    let name = environment::evaluate(ctx.state, step_ref, task, &spec.name);
    let read = |name: Value| {
        let name = name.as_str().map_or_else(|| name.to_string(), str::to_owned);
        Name::check("lock", &name).map(|()| name)
    };
    let name = name.and_then(read).map_err(|error| in_expression("with_lock", error))?;
    let mut shown = format!("{}/{}", step_ref.run.workflow, locate::path(ctx.state, task)?);
    text::truncate(&mut shown, limits::LOCK_VALUE_BYTES_MAX);
    let renewal = Span::from_secs(limits::STEP_LOCK_RENEWAL_SECONDS);
    let asked = Asked {
        namespace: &step_ref.run.namespace,
        name: &name,
        holder: &step_claim::holder_of(task),
        permits: spec.permits,
        ttl: renewal,
        wait: renewal,
        value: Some(shown),
        step: Some(task),
    };
    let token = match acquire::acquire(ctx, asked)? {
        LockClaim::Held { token, .. } => Some(token),
        LockClaim::Waiting { .. } => None,
    };
    step.lock = Some(StepLock { name, token, begun: token.is_some() });
    if token.is_none() {
        if let Some(wait) = spec.wait {
            step.timeout_at = Some(ctx.now.after(wait));
            ctx.arm(ctx.now.after(wait), task, TimerKind::Timeout, 0);
        }
        ctx.set_state(task, step, StepState::Waiting);
    }
    ctx.put_step(task, step.clone());
    Ok(token.is_some())
}

/// A step that holds the lock it has waited for begins.
pub(crate) fn begin(ctx: &mut ApplyContext<'_>, task: StepInstanceId, step: &mut Step) {
    if let Some(lock) = &mut step.lock {
        lock.begun = true;
    }
    ctx.put_step(task, step.clone());
}

/// The step has ended: what it has of its lock goes to the next.
pub(crate) fn release(ctx: &mut ApplyContext<'_>, step_ref: &StepRef, task: StepInstanceId, step: &Step) -> Result<()> {
    match &step.lock {
        Some(lock) => release::give_up(ctx, &step_ref.run.namespace, &lock.name, task),
        None => Ok(()),
    }
}

/// Why a step ends whose wait for its lock is over.
pub(crate) fn waited_in_vain(name: &str) -> Error {
    Error::new(Code::LockHeld, format!("the step did not get lock `{name}` within its `wait`"))
        .hint(format!("`consort locks show {name}` tells who holds it"))
}
