//! Attempts: queued, found by a report, taken back.
//!
//! For: what all commands about an attempt share. Not for: what each of them decides (their modules).
//! Invariant: an outcome is recorded at most once (law 2), and only for the current fencing token (law 3).

use consort_types::{
    Code, Error, Payload, Result, StepInstanceId, Time, Token, WorkerInstance, bounds::check_text, limits,
};

use crate::{
    context::ApplyContext,
    effect::Effect,
    run::{
        keys::TimerKind,
        locate::StepRef,
        rows::step::{Step, StepState},
    },
    state::State,
    task::offer,
};

/// What a report of an instance that does not hold the attempt is, where it is one of its former holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LateReport {
    /// The attempt had ended by such a report: the first answer holds.
    Repeated,
    /// The outcome of the attempt is unknown, and the report would settle it.
    Settles,
    /// The attempt is recorded as being with an instance of the agent, which must claim it first.
    Unclaimed,
}

fn stranger(task: StepInstanceId, token: Token, holder: &WorkerInstance) -> Error {
    Error::new(Code::Fenced, format!("attempt {token} of task `{task}` is held by `{holder}`, of another agent"))
        .hint("drop the work; only the instance that was given a task reports on it")
}

/// What a report is about.
pub(crate) enum Current {
    /// The attempt that counts.
    Live(Box<Step>),
    /// The attempt completed before, by this very token.
    Done,
}

/// Makes the first attempt of a task ready. An input that cannot be evaluated fails the step.
pub(crate) fn begin_task(
    ctx: &mut ApplyContext<'_>,
    step_ref: &StepRef,
    task: StepInstanceId,
    mut step: Step,
) -> Result<()> {
    let input = offer::task_input(ctx.state, step_ref, task)?;
    step.began = Some(ctx.now);
    next_attempt(ctx, task, step, Some(input))
}

/// Makes the next attempt of a task ready, under a new fencing token.
pub(crate) fn next_attempt(
    ctx: &mut ApplyContext<'_>,
    task: StepInstanceId,
    mut step: Step,
    input: Option<Payload>,
) -> Result<()> {
    step.attempt += 1;
    offer_again(ctx, task, step, input)
}

/// Makes the current attempt ready for assignment under a new fencing token.
pub(crate) fn offer_again(
    ctx: &mut ApplyContext<'_>,
    task: StepInstanceId,
    mut step: Step,
    input: Option<Payload>,
) -> Result<()> {
    let token = Token(ctx.seq.0);
    assert!(token >= step.token, "fencing tokens only grow");
    step.token = token;
    // What it requires may be an expression that fails: then nothing has changed yet.
    let ready = offer::ready_task(ctx.state, task, &step)?;
    ctx.disarm(step.timeout_at.take(), task, TimerKind::Timeout);
    ctx.disarm(step.wake_at.take(), task, TimerKind::Backoff);
    step.taken = None;
    ctx.set_state(task, &mut step, StepState::Ready);
    ctx.put_step(task, step);
    if let Some(input) = input {
        let weight = input.len() as usize;
        ctx.state.inputs.put((task, token), input, weight);
    }
    ctx.effect(Effect::Ready(ready));
    Ok(())
}

/// Finds the attempt that a report is about.
pub(crate) fn current(state: &mut State, task: StepInstanceId, token: Token) -> Result<Current> {
    let Some(step) = state.step(task)? else {
        return Err(Error::new(Code::TaskNotFound, format!("there is no task `{task}`"))
            .hint("its run may have been deleted; drop the work"));
    };
    if step.state == StepState::Completed && step.token == token && step.attempt > 0 {
        return Ok(Current::Done);
    }
    let open = matches!(step.state, StepState::Ready | StepState::Taken | StepState::Unknown);
    if open && step.token == token && step.attempt > 0 {
        return Ok(Current::Live(Box::new(step)));
    }
    let message = if step.token == token {
        format!("the attempt {token} of task `{task}` is over: the task is {}", step.state.as_str())
    } else {
        format!("token {token} of task `{task}` is old: the current one is {}", step.token)
    };
    Err(Error::new(Code::Fenced, message).hint("drop the work; what was recorded stays"))
}

/// Finds the attempt that an instance reports on, and refuses one whose recorded holder serves another agent.
pub(crate) fn reported(state: &mut State, task: StepInstanceId, token: Token, by: &WorkerInstance) -> Result<Current> {
    let current = current(state, task, token)?;
    if let Current::Live(step) = &current
        // Until its assignment is recorded, the row names the previous holder.
        && step.state != StepState::Ready
        && let Some(holder) = step.instance.as_ref().filter(|holder| holder.agent != by.agent)
    {
        return Err(stranger(task, token, holder));
    }
    Ok(current)
}

/// How a report is answered by an instance that does not hold the attempt: with an error where it changes nothing.
pub(crate) fn late_report(
    state: &mut State,
    namespace: &str,
    task: StepInstanceId,
    token: Token,
    by: &WorkerInstance,
) -> Result<LateReport> {
    let failed = state.step(task)?.filter(|step| step.token == token && step.state == StepState::Backoff);
    let (step, answered) = match failed {
        Some(step) => (step, true),
        None => match current(state, task, token)? {
            Current::Done => (state.known_step(task)?, true),
            Current::Live(step) => (*step, false),
        },
    };
    // The run may have been deleted while its steps are still there.
    let of_run = state.tables.runs.get_shared(&task.run)?.is_some_and(|run| run.namespace == namespace);
    match step.instance.filter(|holder| of_run && holder.agent == by.agent) {
        Some(_) if answered => Ok(LateReport::Repeated),
        Some(_) if step.state == StepState::Unknown => Ok(LateReport::Settles),
        Some(_) if step.state == StepState::Taken => Ok(LateReport::Unclaimed),
        _ => Err(Error::new(Code::Fenced, format!("attempt {token} of task `{task}` is not with this instance"))
            .hint("drop the work; only the instance that was given a task reports on it")),
    }
}

/// Records the holder of the attempt, where the assignment had no record of its own.
pub(crate) fn note_taken(ctx: &mut ApplyContext<'_>, step: &mut Step, taken: Option<&(WorkerInstance, Time)>) {
    if let (StepState::Ready, Some((instance, at))) = (step.state, taken) {
        step.instance = Some(instance.clone());
        step.taken = Some((*at).min(ctx.now));
    }
}

/// Notes the version of the agent that serves the attempt, where the record has it.
pub(crate) fn note_version(step: &mut Step, version: Option<&String>) {
    if let Some(version) = version.filter(|version| step.version.as_ref() != Some(*version)) {
        step.version = Some(version.clone());
    }
}

/// The attempt is taken away from its holder.
pub(crate) fn leave_instance(ctx: &mut ApplyContext<'_>, task: StepInstanceId, step: &mut Step) {
    ctx.disarm(step.timeout_at.take(), task, TimerKind::Timeout);
    ctx.disarm(step.wake_at.take(), task, TimerKind::Wake);
    ctx.state.inputs.take(&(task, step.token));
    ctx.effect(Effect::Gone { task, token: step.token, stop: Some("the attempt is over") });
}

pub(crate) fn check_instance(instance: &WorkerInstance) -> Result<()> {
    check_text("name of the instance's agent", &instance.agent, limits::NAME_BYTES_MAX)
}

/// Checks the version of an agent.
pub(crate) fn check_version(version: Option<&str>) -> Result<()> {
    version.map_or(Ok(()), |version| check_text("version", version, limits::NAME_BYTES_MAX))
}

/// Checks an assignment that comes with a report.
pub(crate) fn check_taken(taken: Option<&(WorkerInstance, Time)>) -> Result<()> {
    taken.map_or(Ok(()), |(instance, _)| check_instance(instance))
}
