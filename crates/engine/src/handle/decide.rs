//! What people decide.
//!
//! For: approvals, unknown outcomes, divergences and compensations that gave up. Not for: listing them (see `reads`).
//! Invariant: a decision names the person, and what it brings fits what is declared.

use std::sync::Arc;

use consort_core::{
    Command,
    command::{Approve, Resolution, ResolveUnknown},
};
use consort_types::{Code, Payload, Result, StepInstanceId};

use super::{Handle, contracts};
use crate::shell;

/// What a person decides.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// An approval: yes, to what was asked about, or to what the person made of it.
    Approve(Option<Payload>),
    /// An approval: no.
    Reject,
    /// An unknown outcome: it happened, with this output.
    Done(Payload),
    /// An unknown outcome: it did not happen, try again.
    Retry,
    /// An unknown outcome: count it as failed.
    Fail,
}

impl Handle {
    /// Decides an item of the inbox; `by` names the person, `comment` gives the reason. The output of [`Decision::Done`]
    /// must fit what the agent declares ([`Code::BadOutput`]).
    ///
    /// # Errors
    /// [`Code::BadRequest`] where `by` is empty; [`Code::StepState`] where the task does not wait for such a decision.
    pub async fn decide(
        &self,
        namespace: &str,
        task: StepInstanceId,
        decision: Decision,
        by: &str,
        comment: Option<String>,
    ) -> Result<()> {
        let (namespace, by) = (namespace.to_owned(), by.to_owned());
        let resolution = match decision {
            Decision::Approve(value) => {
                let (approved, value) = (true, Some(approved_value(self, &namespace, task, value).await?));
                return approve(self, Approve { namespace, task, approved, by, comment, value }).await;
            }
            Decision::Reject => {
                let command = Approve { namespace, task, approved: false, by, comment, value: None };
                return approve(self, command).await;
            }
            Decision::Done(output) => Resolution::Done(output),
            Decision::Retry => Resolution::Retry,
            Decision::Fail => Resolution::Fail,
        };
        let mut command = ResolveUnknown { namespace, task, resolution, by, comment };
        command.check()?;
        let pin = match &mut command.resolution {
            Resolution::Done(output) => {
                check_decided(self, &command.namespace, task, output).await?;
                self.of(&command.namespace).admit_in("output", output).await?
            }
            Resolution::Retry | Resolution::Fail => None,
        };
        self.of(&command.namespace).done(Command::ResolveUnknown(command), pin).await
    }
}

async fn approve(handle: &Handle, mut command: Approve) -> Result<()> {
    command.check()?;
    let of = handle.of(&command.namespace);
    let pin = match &mut command.value {
        Some(value) => of.admit_in("value", value).await?,
        None => None,
    };
    of.done(Command::Approve(command), pin).await
}

/// What is approved: what the person made of it, or what was asked about.
async fn approved_value(
    handle: &Handle,
    namespace: &str,
    task: StepInstanceId,
    edited: Option<Payload>,
) -> Result<Payload> {
    if let Some(edited) = edited {
        return Ok(edited);
    }
    match handle.inbox_item(namespace, task).await {
        Ok(item) => Ok(item.details.unwrap_or_default()),
        // What is wrong with the decision is for the machine to say.
        Err(error) if error.code == Code::TaskNotFound => Ok(Payload::null()),
        Err(error) => Err(error),
    }
}

/// Refuses an output that does not fit what the agent of the task declares, as one that the agent reports is.
async fn check_decided(handle: &Handle, namespace: &str, task: StepInstanceId, output: &Payload) -> Result<()> {
    let Payload::Inline(bytes) = output else { return Ok(()) };
    let of = namespace.to_owned();
    let schemas = handle.of(namespace).read(move |machine| machine.tasks().schemas_of_output(&of, task)).await??;
    let bytes = Arc::clone(bytes);
    // A hostile schema, or a large document, costs bounded time, but may cost all of it.
    let checked = tokio::task::spawn_blocking(move || contracts::check_decided(&schemas, &bytes));
    checked.await.map_err(|_| shell::stopping())?
}
