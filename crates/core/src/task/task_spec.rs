//! What a task requires: by its step, or by the call in a journal that it runs.
//!
//! For: capability, agent, route, retries and timeout of a task, and the checks of what a journal requests. Not for:
//! doing it.
//! Invariant: what a task requires stays the same, from its first attempt to its last.

use std::{collections::BTreeMap, sync::Arc};

use consort_types::{
    BlobHash, Code, Error, Name, OnUnknown, Result, Span, StepInstanceId,
    bounds::check_text,
    limits,
    worker::{CallOptions, CallRetry, JournalRequest, Route},
};
use consort_workflow::{Action, Compensate, Retry, RouteSpec, Step, Template};
use serde_json::Value;

use crate::{
    run::{
        environment::{self, in_expression},
        locate::{self, InstanceKind, Layer, StepRef},
    },
    state::State,
    task::{keys::EntryKey, rows::TaskEntry},
};

/// The capability and options of an entry, where it is a call.
fn call_of(row: &TaskEntry) -> Option<(&str, Option<&CallOptions>)> {
    match &row.request {
        JournalRequest::Call { capability, options, .. } => Some((capability, options.as_deref())),
        _ => None,
    }
}

fn options_of(row: Option<&TaskEntry>) -> Option<&CallOptions> {
    row.and_then(call_of).and_then(|(_, options)| options)
}

/// The capability that the author named for finding out the outcome of a lost attempt.
pub(crate) fn reconciler(step: &Step) -> Option<String> {
    match &step.on_unknown {
        OnUnknown::Reconcile(capability) => Some(capability.clone()),
        _ => None,
    }
}

/// The journal entry that an instance runs, where it runs one.
pub(crate) fn entry_of(state: &mut State, step_ref: &StepRef) -> Result<Option<Arc<TaskEntry>>> {
    match step_ref.kind {
        InstanceKind::Call { caller, entry } => state.tables.entries.get_shared(&EntryKey { task: caller, entry }),
        _ => Ok(None),
    }
}

/// The capability and agent that a task requires.
pub(crate) fn target(
    state: &mut State,
    step_ref: &StepRef,
    task: StepInstanceId,
) -> Result<(Option<String>, Option<String>)> {
    Ok(match step_ref.kind {
        InstanceKind::Bid => {
            let ask = step_ref.step().auction.as_ref().map(|auction| auction.ask.clone());
            (ask, locate::bidder(state, task)?)
        }
        InstanceKind::Body(Layer::Award) => {
            let capability = step_ref.step().action.capability();
            (capability.map(str::to_owned), locate::bidder(state, task)?)
        }
        InstanceKind::Body(_) => match &step_ref.step().action {
            Action::Call { capability, agent } => (capability.clone(), agent.clone()),
            _ => (None, None),
        },
        InstanceKind::Call { .. } => {
            let row = entry_of(state, step_ref)?;
            let call = row.as_deref().and_then(call_of);
            call.map_or((None, None), |(capability, options)| {
                (Some(capability.to_owned()), options.and_then(|options| options.agent.clone()))
            })
        }
        InstanceKind::Compensation(_) => (undo_of(step_ref).map(|undo| undo.capability.clone()), None),
        InstanceKind::Reconcile(_) => (reconciler(step_ref.step()), None),
    })
}

/// What the call adds to the priority of its run and step.
pub(crate) fn call_priority(state: &mut State, step_ref: &StepRef) -> Result<i32> {
    let row = entry_of(state, step_ref)?;
    Ok(options_of(row.as_deref()).and_then(|options| options.priority).unwrap_or_default())
}

/// How failed attempts of a task are repeated.
pub(crate) fn retry_of(state: &mut State, step_ref: &StepRef) -> Result<Retry> {
    match step_ref.kind {
        InstanceKind::Body(_) => Ok(step_ref.step().retry.clone()),
        InstanceKind::Call { .. } => {
            let row = entry_of(state, step_ref)?;
            let retry = options_of(row.as_deref()).and_then(|options| options.retry);
            Ok(retry.map_or_else(Retry::default, |CallRetry { attempts, initial, factor_milli, max }| Retry {
                attempts,
                initial,
                factor_milli,
                max,
                ..Retry::default()
            }))
        }
        InstanceKind::Compensation(_) => Ok(undo_of(step_ref).map(Compensate::retry).unwrap_or_default()),
        // A reconciler has no policy of its own to read.
        InstanceKind::Reconcile(_) => Ok(Retry { attempts: 3, ..Retry::default() }),
        // Who does not answer does not bid.
        InstanceKind::Bid => Ok(Retry::default()),
    }
}

/// How long one attempt of a task may take.
pub(crate) fn timeout_of(state: &mut State, step_ref: &StepRef) -> Result<Option<Span>> {
    match step_ref.kind {
        InstanceKind::Body(_) => Ok(step_ref.step().timeout),
        InstanceKind::Call { .. } => {
            let row = entry_of(state, step_ref)?;
            Ok(options_of(row.as_deref()).and_then(|options| options.timeout))
        }
        InstanceKind::Compensation(_) => Ok(undo_of(step_ref).and_then(|undo| undo.timeout)),
        InstanceKind::Reconcile(_) | InstanceKind::Bid => Ok(None),
    }
}

/// What undoes the step of an instance.
fn undo_of(step_ref: &StepRef) -> Option<&Compensate> {
    step_ref.step().compensate.as_ref()
}

/// Which instances may take a task, where the capability and the agent are not all that is required.
pub(crate) fn route_of(state: &mut State, step_ref: &StepRef, task: StepInstanceId) -> Result<Option<Route>> {
    match step_ref.kind {
        InstanceKind::Body(_) => match &step_ref.step().route {
            Some(route) => evaluated(state, step_ref, task, route),
            None => Ok(None),
        },
        InstanceKind::Call { .. } => {
            let row = entry_of(state, step_ref)?;
            Ok(options_of(row.as_deref()).and_then(|options| options.route.clone()))
        }
        InstanceKind::Compensation(original) => match undo_of(step_ref).and_then(|undo| undo.route.as_ref()) {
            Some(route) => evaluated(state, step_ref, original, route),
            None => Ok(None),
        },
        InstanceKind::Reconcile(_) | InstanceKind::Bid => Ok(None),
    }
}

/// A route, evaluated as seen from an instance.
fn evaluated(state: &mut State, step_ref: &StepRef, task: StepInstanceId, route: &RouteSpec) -> Result<Option<Route>> {
    let mut labels = BTreeMap::new();
    for (label, template) in &route.labels {
        let value = route_text(state, step_ref, task, template)?;
        check_text(&format!("value of label `{label}` of the route"), &value, limits::NAME_BYTES_MAX)
            .map_err(|error| in_expression("route", error))?;
        labels.insert(label.clone(), value);
    }
    let sticky = match &route.sticky {
        Some(template) => Some(short_key(route_text(state, step_ref, task, template)?)),
        None => None,
    };
    Ok(Some(Route { version: route.version.clone(), labels, sticky }))
}

/// The text that a template of a route gives; what is no text is written as JSON.
fn route_text(state: &mut State, step_ref: &StepRef, task: StepInstanceId, template: &Template) -> Result<String> {
    match environment::evaluate(state, step_ref, task, template).map_err(|error| in_expression("route", error))? {
        Value::String(text) => Ok(text),
        other => Ok(other.to_string()),
    }
}

/// A key as it is compared: a long one by its hash, so that documents may be keys.
fn short_key(key: String) -> String {
    if key.len() <= limits::KEY_BYTES_MAX { key } else { BlobHash::of(key.as_bytes()).to_string() }
}

/// Checks a request of a journal, whose sizes were checked before it was recorded. What does not fit is answered with
/// the error.
pub(crate) fn check_request(request: &JournalRequest) -> Result<()> {
    match request {
        JournalRequest::Call { capability, options, .. } => {
            Name::check("capability", capability)?;
            options.as_deref().map_or(Ok(()), check_options)
        }
        JournalRequest::Signal { name, .. } => Name::check("signal", name),
        JournalRequest::Update { name, .. } => Name::check("update", name),
        JournalRequest::Run { .. }
        | JournalRequest::Sleep { .. }
        | JournalRequest::Approval { .. }
        | JournalRequest::Forget { .. }
        | JournalRequest::State { .. }
        | JournalRequest::Expose { .. }
        | JournalRequest::Labels { .. }
        | JournalRequest::Answer { .. } => Ok(()),
    }
}

fn check_options(options: &CallOptions) -> Result<()> {
    if let Some(agent) = &options.agent {
        Name::check("agent", agent)?;
    }
    if let Some(retry) = &options.retry {
        check_retry(retry)?;
    }
    if options.timeout == Some(Span::ZERO) {
        return Err(Error::new(Code::BadRequest, "the timeout of the call is zero")
            .hint("give it a time above zero, or leave it out"));
    }
    options.route.as_ref().map_or(Ok(()), check_route)
}

fn check_retry(retry: &CallRetry) -> Result<()> {
    let (attempts, max) = (retry.attempts, limits::ATTEMPTS_MAX);
    if attempts == 0 || attempts > max {
        let message = format!("the call asks for `{attempts}` attempts, it must ask for 1 to {max}");
        return Err(Error::new(Code::LimitReached, message).hint("1 tries it once; raise the pauses, not the attempts"));
    }
    if retry.factor_milli < 1_000 {
        let message = format!("the pauses of the call grow by `{}` thousandths, the least is 1000", retry.factor_milli);
        return Err(Error::new(Code::BadRequest, message).hint("1000 keeps them as they are, 2000 doubles them"));
    }
    Ok(())
}

fn check_route(route: &Route) -> Result<()> {
    route.labels.keys().try_for_each(|label| Name::check("label", label))
}
