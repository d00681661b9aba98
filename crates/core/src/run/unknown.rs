//! Lost attempts, and `write` attempts whose outcome is unknown.
//!
//! For: what follows when an instance vanishes. Not for: noticing that (the engine does).
//! Invariant: a `write` attempt is never repeated before somebody, or the author's own rule, said so.

use consort_types::{Code, EffectClass, Error, OnUnknown, Payload, Result, TaskId, Token, limits};
use consort_workflow::Step as Definition;
use serde_json::Value;

use super::{Role, task::Current};
use crate::{
    cache::Document,
    command::Resolution,
    effect::{AttemptEnd, Effect},
    fold::{Fold, Outcome, Work, encode},
    keys::InboxKey,
    rows::{Ask, Event, InboxItem, ScopeKind, Step, StepState},
};

/// The capability that the author named for finding out what became of a lost attempt.
pub(crate) fn reconciler(step: &Definition) -> Option<String> {
    match &step.on_unknown {
        OnUnknown::Reconcile(capability) => Some(capability.clone()),
        _ => None,
    }
}

/// Whether an attempt that ends without a report may have had its effect: nobody can tell of one that writes.
pub(crate) fn leaves_doubt(step: &Step) -> bool {
    step.effect == Some(EffectClass::Write)
}

impl Fold<'_> {
    pub(crate) fn attempt_lost(&mut self, task: TaskId, token: Token, reason: &str) -> Result<()> {
        let Current::Live(step) = self.current(task, token)? else { return Ok(()) };
        if step.state == StepState::Unknown {
            return Ok(());
        }
        let holder = step.instance.as_ref().map_or_else(|| "an instance".to_owned(), ToString::to_string);
        let error =
            Error::new(Code::InstanceLost, format!("attempt {} was lost with `{holder}`: {reason}", step.attempt));
        let doubt = leaves_doubt(&step);
        let end = if doubt { AttemptEnd::Unknown } else { AttemptEnd::Lost };
        self.effect(Effect::AttemptEnded { task, token, end });
        if doubt {
            return self.outcome_unknown(task, *step, error);
        }
        self.repeat_lost(task, *step, error)
    }

    /// A lost attempt that may be repeated does not count against the retry policy.
    fn repeat_lost(&mut self, task: TaskId, mut step: Step, error: Error) -> Result<()> {
        step.losses += 1;
        if step.losses > limits::LOSSES_MAX {
            let message = format!("{} attempts were lost, the limit is {}", step.losses, limits::LOSSES_MAX);
            let hint = format!("does the task crash its worker? the last loss: {}", error.message);
            let error = Error::new(Code::InstanceLost, message).hint(hint);
            self.put_step(task, step);
            self.work(Work::Finish(task, Outcome::Failed(error)));
            return Ok(());
        }
        self.leave_instance(task, &mut step);
        let event = Event::AttemptFailed { attempt: step.attempt, error, retry_at: Some(self.now) };
        self.journal(task.run, Some(task), event);
        step.instance = None;
        step.effect = None;
        self.ready(task, step, None)
    }

    /// The attempt may or may not have done its work.
    pub(crate) fn outcome_unknown(&mut self, task: TaskId, mut step: Step, error: Error) -> Result<()> {
        let place = self.place(task)?;
        let rule = match place.role {
            Role::Body(_) => place.step().on_unknown.clone(),
            _ => OnUnknown::Ask,
        };
        match rule {
            OnUnknown::Retry => return self.repeat_lost(task, step, error),
            OnUnknown::Fail => {
                let message = format!("the outcome of attempt {} is unknown: {}", step.attempt, error.message);
                self.put_step(task, step);
                self.work(Work::Finish(task, Outcome::Failed(Error::new(Code::OutcomeUnknown, message))));
                return Ok(());
            }
            OnUnknown::Ask | OnUnknown::Reconcile(_) => {}
        }
        self.leave_instance(task, &mut step);
        step.error = Some(error);
        self.set_state(task, &mut step, StepState::Unknown);
        self.journal(task.run, Some(task), Event::OutcomeUnknown { attempt: step.attempt });
        if let OnUnknown::Reconcile(_) = rule {
            let key = self.new_scope(task.run, Some(task), ScopeKind::Reconcile, 1)?;
            self.start_instance(key, 0);
            step.asking = Some(key.scope);
            self.put_step(task, step);
            return Ok(());
        }
        self.put_step(task, step);
        self.ask_unknown(task)
    }

    /// The outcome is not unknown any more: takes back the question, and stops who was asked. An answer about this
    /// attempt must not decide a later one.
    pub(crate) fn leave_unknown(&mut self, task: TaskId, step: &mut Step) -> Result<()> {
        if step.state != StepState::Unknown {
            return Ok(());
        }
        let namespace = self.run(task.run)?.namespace;
        self.machine.tables.inbox.delete(&InboxKey { namespace, task });
        step.asking.take().map_or(Ok(()), |scope| self.stop_asking(task, scope))
    }

    /// Puts the question into the operators' inbox.
    fn ask_unknown(&mut self, task: TaskId) -> Result<()> {
        let step = self.known_step(task)?;
        let namespace = self.run(task.run)?.namespace;
        let path = self.path(task)?;
        let why = step.error.map(|error| error.message).unwrap_or_default();
        let title = format!("did attempt {} of `{path}` happen? {why}", step.attempt);
        let item = InboxItem { since: self.now, ask: Ask::UnknownOutcome, title, details: None };
        self.machine.tables.inbox.put(InboxKey { namespace, task }, item);
        Ok(())
    }

    /// The reconciler has ended.
    pub(crate) fn reconciled(&mut self, asker: TaskId, answer: &Step) -> Result<()> {
        if self.known_step(asker)?.state != StepState::Unknown {
            return Ok(());
        }
        let value = match (&answer.state, &answer.output) {
            (StepState::Completed, Some(output)) => {
                let document = self.document(Document::Output(asker), output)?;
                // The asker's own output is another document: do not let this one stand for it.
                self.machine.documents.take(&Document::Output(asker));
                (*document).clone()
            }
            _ => Value::Null,
        };
        let word = value.as_str().or_else(|| value.get("decision").and_then(Value::as_str));
        let resolution = match word {
            Some("done") => {
                let output = value.get("output").cloned().unwrap_or_default();
                Resolution::Done(self.machine.keep(encode(&output)))
            }
            Some("retry") => Resolution::Retry,
            Some("fail") => Resolution::Fail,
            _ => return self.ask_unknown(asker),
        };
        self.resolve_unknown(asker, &resolution, "reconciler", None)
    }

    pub(crate) fn resolve_unknown(
        &mut self,
        task: TaskId,
        resolution: &Resolution,
        by: &str,
        comment: Option<&str>,
    ) -> Result<()> {
        let step = self.step(task)?;
        let Some(mut step) = step.filter(|step| step.state == StepState::Unknown) else {
            return Err(Error::new(Code::StepState, format!("task `{task}` has no unknown outcome to decide"))
                .hint("`consort inbox` shows what waits for a decision"));
        };
        let decided = Event::Decided {
            decision: resolution.as_str().to_owned(),
            by: by.to_owned(),
            comment: comment.map(str::to_owned),
        };
        self.journal(task.run, Some(task), decided);
        match resolution {
            Resolution::Done(output) => {
                self.complete_decided(task, output)?;
            }
            Resolution::Retry => {
                self.leave_unknown(task, &mut step)?;
                self.ready(task, Step { instance: None, effect: None, ..step }, None)?;
            }
            Resolution::Fail => {
                let message = format!("`{by}` decided that attempt {} has failed", step.attempt);
                self.work(Work::Finish(task, Outcome::Failed(Error::new(Code::AgentFailed, message))));
            }
        }
        Ok(())
    }

    fn complete_decided(&mut self, task: TaskId, output: &Payload) -> Result<()> {
        self.retain(output)?;
        self.work(Work::Finish(task, Outcome::Completed(output.clone())));
        Ok(())
    }
}
