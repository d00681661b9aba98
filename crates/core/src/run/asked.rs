//! What a task asks for: by its step, or by the call in a journal that it stands for.
//!
//! For: capability, agent, route, retries and timeout of a task, and the checks of what a journal asks. Not for: doing
//! it.
//! Invariant: what is asked for stays as it is, from the first attempt of a task to the last.

use std::{collections::BTreeMap, sync::Arc};

use consort_types::{
    BlobHash, Code, Error, Name, Result, Span, TaskId,
    bounds::check_text,
    limits,
    worker::{CallOptions, CallRetry, JournalRequest, Route},
};
use consort_workflow::{Action, Retry, Template};
use serde_json::Value;

use super::{Place, Role, step::in_expression};
use crate::{fold::Fold, keys::EntryKey, rows::TaskEntry};

/// What stands at an entry where it is a call: its capability and options.
fn call_of(row: &TaskEntry) -> Option<(&str, Option<&CallOptions>)> {
    match &row.request {
        JournalRequest::Call { capability, options, .. } => Some((capability, options.as_deref())),
        _ => None,
    }
}

fn options_of(row: Option<&TaskEntry>) -> Option<&CallOptions> {
    row.and_then(call_of).and_then(|(_, options)| options)
}

impl Fold<'_> {
    /// The journal entry that an instance stands for, where it stands for one.
    pub(crate) fn entry_of(&mut self, place: &Place) -> Result<Option<Arc<TaskEntry>>> {
        match place.role {
            Role::Call { caller, entry } => self.machine.tables.entries.look(&EntryKey { task: caller, entry }),
            _ => Ok(None),
        }
    }

    /// The capability and agent that a task asks for.
    pub(crate) fn target(&mut self, place: &Place) -> Result<(Option<String>, Option<String>)> {
        Ok(match place.role {
            Role::Body(_) => match &place.step().action {
                Action::Call { capability, agent } => (capability.clone(), agent.clone()),
                _ => (None, None),
            },
            Role::Call { .. } => {
                let row = self.entry_of(place)?;
                let call = row.as_deref().and_then(call_of);
                call.map_or((None, None), |(capability, options)| {
                    (Some(capability.to_owned()), options.and_then(|options| options.agent.clone()))
                })
            }
            Role::Compensation(_) => (place.step().compensate.as_ref().map(|undo| undo.capability.clone()), None),
            Role::Reconcile(_) => (super::unknown::reconciler(place.step()), None),
        })
    }

    /// What the call adds to the priority of its run and step.
    pub(crate) fn call_priority(&mut self, place: &Place) -> Result<i32> {
        let row = self.entry_of(place)?;
        Ok(options_of(row.as_deref()).and_then(|options| options.priority).unwrap_or_default())
    }

    /// How failed attempts of a task are repeated.
    pub(crate) fn retry_of(&mut self, place: &Place) -> Result<Retry> {
        match place.role {
            Role::Body(_) => Ok(place.step().retry),
            Role::Call { .. } => {
                let row = self.entry_of(place)?;
                let retry = options_of(row.as_deref()).and_then(|options| options.retry);
                Ok(retry.map_or_else(Retry::default, |CallRetry { attempts, initial, factor_milli, max }| Retry {
                    attempts,
                    initial,
                    factor_milli,
                    max,
                }))
            }
            // Compensations and reconcilers have no policy of their own to read.
            Role::Compensation(_) | Role::Reconcile(_) => Ok(Retry { attempts: 3, ..Retry::default() }),
        }
    }

    /// How long one attempt of a task may take.
    pub(crate) fn timeout_of(&mut self, place: &Place) -> Result<Option<Span>> {
        match place.role {
            Role::Body(_) => Ok(place.step().timeout),
            Role::Call { .. } => {
                let row = self.entry_of(place)?;
                Ok(options_of(row.as_deref()).and_then(|options| options.timeout))
            }
            Role::Compensation(_) | Role::Reconcile(_) => Ok(None),
        }
    }

    /// Which instances may take a task, where more is asked for than the capability and the agent.
    pub(crate) fn route_of(&mut self, place: &Place, task: TaskId) -> Result<Option<Route>> {
        match place.role {
            Role::Body(_) => self.step_route(place, task),
            Role::Call { .. } => {
                let row = self.entry_of(place)?;
                Ok(options_of(row.as_deref()).and_then(|options| options.route.clone()))
            }
            Role::Compensation(_) | Role::Reconcile(_) => Ok(None),
        }
    }

    /// The route of a step, evaluated.
    fn step_route(&mut self, place: &Place, task: TaskId) -> Result<Option<Route>> {
        let Some(route) = &place.step().route else { return Ok(None) };
        let mut labels = BTreeMap::new();
        for (label, template) in &route.labels {
            let value = self.route_text(place, task, template)?;
            check_text(&format!("value of label `{label}` of the route"), &value, limits::NAME_BYTES_MAX)
                .map_err(|error| in_expression("route", error))?;
            labels.insert(label.clone(), value);
        }
        let sticky = match &route.sticky {
            Some(template) => Some(short_key(self.route_text(place, task, template)?)),
            None => None,
        };
        Ok(Some(Route { version: route.version.clone(), labels, sticky }))
    }

    /// The text that a template of a route gives; what is no text is written as JSON.
    fn route_text(&mut self, place: &Place, task: TaskId, template: &Template) -> Result<String> {
        match self.evaluate(place, task, template).map_err(|error| in_expression("route", error))? {
            Value::String(text) => Ok(text),
            other => Ok(other.to_string()),
        }
    }
}

/// A key as it is compared: a long one by its hash, so that documents may be keys.
fn short_key(key: String) -> String {
    if key.len() <= limits::KEY_BYTES_MAX { key } else { BlobHash::of(key.as_bytes()).to_string() }
}

/// Checks what a journal asks for, whose sizes were checked before it was recorded. What does not fit is answered with
/// the error.
pub(crate) fn check_request(request: &JournalRequest) -> Result<()> {
    match request {
        JournalRequest::Call { capability, options, .. } => {
            Name::check("capability", capability)?;
            options.as_deref().map_or(Ok(()), check_options)
        }
        JournalRequest::Signal { name } => Name::check("signal", name),
        JournalRequest::Run { .. } | JournalRequest::Sleep { .. } | JournalRequest::Approval { .. } => Ok(()),
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
