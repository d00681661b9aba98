//! `ResolveUnknown`: a person (or a reconciler) decides the outcome of a lost `write` attempt.
//!
//! For: attempts whose outcome is unknown, from the loss to the decision. Not for: failures (see `fail`).
//! Invariant: a `write` attempt is never repeated before a person, or the author's own rule, has decided so.

use consort_types::{Code, EffectClass, Error, OnUnknown, Payload, Result, StepInstanceId, limits, text::truncate};
use minicbor::{Decode, Encode};
use serde_json::Value;

use crate::{
    context::{ApplyContext, Outcome, PendingWork},
    encode::encode,
    run::{
        approval::check_decision,
        instance,
        locate::{self, InstanceKind, Layer, locate},
        open_effect,
        rows::{
            history::HistoryEvent,
            step::{ScopeKind, Step, StepState},
        },
        scope, stop,
    },
    state::Document,
    task::{attempt, diverged, offer, question, rows::Ask, task_spec},
};

/// The outcome.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Resolution {
    /// It happened; this is what it made.
    #[n(0)]
    Done(#[n(0)] Payload),
    /// It did not happen: try again.
    #[n(1)]
    Retry,
    /// Count it as failed.
    #[n(2)]
    Fail,
}

impl Resolution {
    /// The word for the journal.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Retry => "retry",
            Self::Fail => "fail",
        }
    }
}

/// Decides an unknown outcome.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct ResolveUnknown {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The task, as the inbox names it.
    #[n(1)]
    pub task: StepInstanceId,
    /// The outcome.
    #[n(2)]
    pub resolution: Resolution,
    /// The name of the person who decides.
    #[n(3)]
    pub by: String,
    /// In their words.
    #[n(4)]
    pub comment: Option<String>,
}

impl ResolveUnknown {
    /// As [`Command::check`].
    pub fn check(&self) -> Result<()> {
        check_decision(&self.namespace, &self.by, self.comment.as_deref())
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        ctx.state.run_in(&self.namespace, self.task.run)?;
        resolve_unknown(ctx, self.task, &self.resolution, &self.by, self.comment.as_deref())
    }
}

/// Whether an attempt that ends without a report may have had its effect: of one that writes it is not known.
pub(crate) fn leaves_doubt(step: &Step) -> bool {
    step.effect == Some(EffectClass::Write)
}

/// The attempt may or may not have done its work.
pub(crate) fn outcome_unknown(
    ctx: &mut ApplyContext<'_>,
    task: StepInstanceId,
    mut step: Step,
    error: Error,
    died: bool,
) -> Result<()> {
    let step_ref = locate(ctx.state, task)?;
    let rule = match (step_ref.kind, step_ref.step().on_unknown.clone()) {
        // Nothing is tried again that is to end.
        (InstanceKind::Body(_), OnUnknown::Retry) if step.ends_as.is_some() => OnUnknown::Ask,
        (InstanceKind::Body(_), rule) => rule,
        _ => OnUnknown::Ask,
    };
    match rule {
        OnUnknown::Retry => return repeat_lost(ctx, task, step, error, died),
        OnUnknown::Fail => {
            let message = format!("the outcome of attempt {} is unknown: {}", step.attempt, error.message);
            ctx.put_step(task, step);
            ctx.enqueue(PendingWork::Finish(task, Outcome::Failed(Error::new(Code::OutcomeUnknown, message))));
            return Ok(());
        }
        OnUnknown::Ask | OnUnknown::Reconcile(_) => {}
    }
    attempt::leave_instance(ctx, task, &mut step);
    step.error = Some(error);
    ctx.set_state(task, &mut step, StepState::Unknown);
    ctx.record_history(task.run, Some(task), HistoryEvent::OutcomeUnknown { attempt: step.attempt });
    if let OnUnknown::Reconcile(_) = rule {
        let key = scope::new_scope(ctx, task.run, Some(task), ScopeKind::Reconcile, 1)?;
        scope::start_instance(ctx, key, 0);
        step.asking = Some(key.scope);
        ctx.put_step(task, step);
        return Ok(());
    }
    ctx.put_step(task, step);
    ask_unknown(ctx, task)
}

/// A lost attempt that may be repeated is no failure for the retry policy; but one in which the instance died may have
/// caused that, and does not take down one worker after the other.
pub(crate) fn repeat_lost(
    ctx: &mut ApplyContext<'_>,
    task: StepInstanceId,
    mut step: Step,
    error: Error,
    died: bool,
) -> Result<()> {
    step.losses += 1;
    step.deaths = Some(step.deaths.unwrap_or_default() + u32::from(died)).filter(|deaths| *deaths > 0);
    if let Some(over) = too_many_losses(ctx, task, &step, &error, died)? {
        ctx.put_step(task, step);
        ctx.enqueue(PendingWork::Finish(task, Outcome::Failed(over)));
        return Ok(());
    }
    attempt::leave_instance(ctx, task, &mut step);
    let event = HistoryEvent::AttemptFailed { attempt: step.attempt, error, retry_at: Some(ctx.now) };
    ctx.record_history(task.run, Some(task), event);
    step.instance = None;
    step.effect = None;
    attempt::next_attempt(ctx, task, step, None)
}

/// The error of a task that lost one worker too many.
fn too_many_losses(
    ctx: &mut ApplyContext<'_>,
    task: StepInstanceId,
    step: &Step,
    error: &Error,
    died: bool,
) -> Result<Option<Error>> {
    if step.losses > limits::LOSSES_MAX {
        let message = format!("{} attempts were lost, the limit is {}", step.losses, limits::LOSSES_MAX);
        let hint = format!("does the task crash its worker? the last loss: {}", error.message);
        return Ok(Some(Error::new(Code::InstanceLost, message).hint(hint)));
    }
    let step_ref = locate(ctx.state, task)?;
    if matches!(step_ref.kind, InstanceKind::Bid | InstanceKind::Body(Layer::Award)) {
        // The next bid gets the task, or the others are compared without this one.
        return Ok(Some(error.clone()));
    }
    let max = task_spec::retry_of(ctx.state, &step_ref)?.losses.unwrap_or(limits::LOSSES_DEFAULT);
    let deaths = step.deaths.unwrap_or_default();
    if !died || deaths < max {
        return Ok(None);
    }
    let times = if deaths == 1 { "once".to_owned() } else { format!("{deaths} times") };
    let message = format!("its worker died {times} while it ran, the limit is {max}: {}", error.message);
    let hint = "does the task crash its worker, by too much memory perhaps? `retry: { losses: N }` allows more";
    Ok(Some(Error::new(Code::InstanceLost, message).hint(hint)))
}

/// The outcome is no longer unknown: removes the inbox item, and stops the query. An answer about this attempt must not
/// decide a later one.
pub(crate) fn leave_unknown(ctx: &mut ApplyContext<'_>, task: StepInstanceId, step: &mut Step) -> Result<()> {
    if step.state != StepState::Unknown {
        return Ok(());
    }
    question::withdraw(ctx, task)?;
    step.asking.take().map_or(Ok(()), |scope| stop::stop_reconciler(ctx, task, scope))
}

/// Puts the question into the operators' inbox.
fn ask_unknown(ctx: &mut ApplyContext<'_>, task: StepInstanceId) -> Result<()> {
    let step = ctx.state.known_step(task)?;
    let path = locate::path(ctx.state, task)?;
    let why = step.error.map(|error| error.message).unwrap_or_default();
    let title = format!("did attempt {} of `{path}` happen? {why}", step.attempt);
    question::put(ctx, task, Ask::UnknownOutcome, title, None)
}

/// The reconciler has ended.
pub(crate) fn reconciled(ctx: &mut ApplyContext<'_>, asker: StepInstanceId, answer: &Step) -> Result<()> {
    if ctx.state.known_step(asker)?.state != StepState::Unknown {
        return Ok(());
    }
    let value = match (&answer.state, &answer.output) {
        (StepState::Completed, Some(output)) => {
            let document = ctx.state.document(Document::Output(asker), output)?;
            // The output of the query is another document: do not use it as the step's.
            ctx.state.documents.take(&Document::Output(asker));
            (*document).clone()
        }
        _ => Value::Null,
    };
    let word = value.as_str().or_else(|| value.get("decision").and_then(Value::as_str));
    let resolution = match word {
        Some("done") => {
            let output = value.get("output").cloned().unwrap_or_default();
            Resolution::Done(ctx.state.store_bytes(encode(&output)))
        }
        Some("retry") => Resolution::Retry,
        Some("fail") => Resolution::Fail,
        _ => return ask_unknown(ctx, asker),
    };
    resolve_unknown(ctx, asker, &resolution, "reconciler", None)
}

fn resolve_unknown(
    ctx: &mut ApplyContext<'_>,
    task: StepInstanceId,
    resolution: &Resolution,
    by: &str,
    comment: Option<&str>,
) -> Result<()> {
    let step = ctx.state.step(task)?;
    let waits = |step: &Step| matches!(step.state, StepState::Unknown | StepState::Diverged | StepState::GaveUp);
    let Some(mut step) = step.filter(waits) else {
        return Err(Error::new(Code::StepState, format!("task `{task}` waits for no such decision"))
            .hint("`consort inbox` shows what waits for a decision"));
    };
    // What is tried again is evaluated again: where that fails, nothing has changed yet.
    let again = matches!((step.state, resolution), (StepState::GaveUp, Resolution::Retry));
    let input = if again { Some(input_again(ctx, task, &step)?) } else { None };
    let decided = HistoryEvent::Decided {
        decision: resolution.as_str().to_owned(),
        by: by.to_owned(),
        comment: comment.map(str::to_owned),
    };
    ctx.record_history(task.run, Some(task), decided);
    // Where it did not happen, it is not needed any more.
    if *resolution == Resolution::Retry && open_effect::ends_now(ctx, task, &step) {
        return Ok(());
    }
    match resolution {
        Resolution::Done(output) => {
            complete_decided(ctx, task, output)?;
        }
        Resolution::Retry if step.state == StepState::Diverged => diverged::retry(ctx, task, step, None)?,
        Resolution::Retry if step.state == StepState::GaveUp => {
            instance::withdraw(ctx, task, &mut step)?;
            attempt::next_attempt(ctx, task, Step { failures: 0, losses: 0, deaths: None, ..step }, input)?;
        }
        Resolution::Retry => {
            leave_unknown(ctx, task, &mut step)?;
            attempt::next_attempt(ctx, task, Step { instance: None, effect: None, ..step }, None)?;
        }
        Resolution::Fail => {
            ctx.enqueue(PendingWork::Finish(task, Outcome::Failed(failure(step, by, comment))));
        }
    }
    Ok(())
}

/// The error of a step that a person has failed.
fn failure(step: Step, by: &str, comment: Option<&str>) -> Error {
    match (step.state, step.error) {
        (StepState::Diverged, Some(error)) => error,
        (StepState::GaveUp, Some(error)) => {
            let why = comment.map(|comment| format!(" ({comment})")).unwrap_or_default();
            let mut message = format!("`{by}` left it undone{why}: {}", error.message);
            truncate(&mut message, limits::ERROR_MESSAGE_BYTES_MAX);
            Error { message, ..error }
        }
        _ => Error::new(Code::AgentFailed, format!("`{by}` decided that attempt {} has failed", step.attempt)),
    }
}

/// The input of a task that is tried again after it gave up, and proof that it can be assigned.
fn input_again(ctx: &mut ApplyContext<'_>, task: StepInstanceId, step: &Step) -> Result<Payload> {
    let step_ref = locate(ctx.state, task)?;
    let input = offer::task_input(ctx.state, &step_ref, task)?;
    offer::ready_task(ctx.state, task, step)?;
    Ok(input)
}

fn complete_decided(ctx: &mut ApplyContext<'_>, task: StepInstanceId, output: &Payload) -> Result<()> {
    ctx.retain(output)?;
    ctx.enqueue(PendingWork::Finish(task, Outcome::Completed(output.clone())));
    Ok(())
}
