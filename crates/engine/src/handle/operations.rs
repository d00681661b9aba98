//! What changes the state: one method for each command of a client.
//!
//! For: making a command of a request, and an answer of its reply. Not for: reads.
//! Invariant: every method answers only once its record is durable and applied.

use consort_core::{
    Command, Reply,
    command::{
        CancelRun, DeleteRun, DeleteWorkflow, Deploy, PauseRun, ReplacedRevision, RetireWorkflow, SetRetention,
        SignalRun,
    },
    view::SignalWaits,
};
use consort_types::{BlobHash, Code, Error, Name, Payload, Result, RunId, Span, bounds::check_optional_text, limits};
use consort_workflow::{CompiledWorkflow, did_you_mean};

use std::sync::Arc;

use super::{Handle, contracts};
use crate::shell;

/// A workflow that was deployed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// Its name.
    pub name: String,
    /// Its revision, from 1.
    pub revision: u32,
    /// Its content hash.
    pub hash: BlobHash,
    /// Whether this revision is new.
    pub new: bool,
    /// The revision that the name took before, where that was another one.
    pub replaced: Option<ReplacedRevision>,
}

fn deployed(reply: Reply) -> Result<Deployed> {
    match reply {
        Reply::Deployed { name, revision, hash, new, replaced } => Ok(Deployed { name, revision, hash, new, replaced }),
        other => Err(unexpected(&other)),
    }
}

pub(super) fn unexpected(reply: &Reply) -> Error {
    Error::new(Code::Internal, format!("the machine answered `{reply:?}` to another question"))
}

impl Handle {
    /// Checks and deploys a workflow; the same source again is the same revision.
    ///
    /// # Errors
    /// [`Code::BadWorkflow`] with everything that is wrong with the text.
    pub async fn deploy(&self, namespace: &str, source: &str) -> Result<Deployed> {
        Deploy::check_source(source)?;
        let source = source.to_owned();
        // A hostile text costs bounded time, but may cost all of it.
        let checked = tokio::task::spawn_blocking(move || consort_workflow_check::check(&source));
        let checked = checked.await.map_err(|_| shell::stopping())??;
        self.deploy_checked(namespace, checked.compiled).await
    }

    /// Deploys a workflow that was checked.
    pub async fn deploy_checked(&self, namespace: &str, workflow: CompiledWorkflow) -> Result<Deployed> {
        let command = Deploy { namespace: namespace.to_owned(), workflow };
        deployed(self.of(namespace).submit(Command::Deploy(command), None).await?)
    }

    /// Has the name of a workflow take an earlier revision again: the one that `to` names by number, author's version
    /// or content hash, or else the one before the current one. Runs in flight keep their own.
    pub async fn roll_back(&self, namespace: &str, name: &str, to: Option<String>) -> Result<Deployed> {
        check_optional_text("version", to.as_deref(), limits::NAME_BYTES_MAX)?;
        Name::check_size("workflow", name)?;
        let (of, name) = (namespace.to_owned(), name.to_owned());
        let partition = self.of(namespace);
        let command =
            partition.read(move |machine| machine.deployments().roll_back(&of, &name, to.as_deref())).await??;
        deployed(partition.submit(Command::RollBack(command), None).await?)
    }

    /// Has a workflow take no new starts, until it is deployed again.
    pub async fn retire_workflow(&self, namespace: &str, name: &str) -> Result<()> {
        let command = RetireWorkflow { namespace: namespace.to_owned(), name: name.to_owned() };
        self.of(namespace).done(Command::RetireWorkflow(command), None).await
    }

    /// Forgets a retired workflow without active runs.
    ///
    /// # Errors
    /// [`Code::WorkflowInUse`] with what it is used by.
    pub async fn delete_workflow(&self, namespace: &str, name: &str) -> Result<()> {
        let command = DeleteWorkflow { namespace: namespace.to_owned(), name: name.to_owned() };
        self.of(namespace).done(Command::DeleteWorkflow(command), None).await
    }

    /// Cancels a run and everything below it; `force` cancels its clean-up steps too. An empty reason is replaced by
    /// one that names the client.
    pub async fn cancel(&self, namespace: &str, run: RunId, reason: &str, force: bool) -> Result<()> {
        let reason = if reason.is_empty() { "cancelled by a client" } else { reason }.to_owned();
        let command = CancelRun { namespace: namespace.to_owned(), run, reason, force };
        self.of(&command.namespace).done(Command::CancelRun(command), None).await
    }

    /// Holds back the tasks of a run and of the runs below it.
    pub async fn pause(&self, namespace: &str, run: RunId) -> Result<()> {
        let command = PauseRun { namespace: namespace.to_owned(), run, paused: true };
        self.of(&command.namespace).done(Command::PauseRun(command), None).await
    }

    /// Resumes a paused run.
    pub async fn resume(&self, namespace: &str, run: RunId) -> Result<()> {
        let command = PauseRun { namespace: namespace.to_owned(), run, paused: false };
        self.of(&command.namespace).done(Command::PauseRun(command), None).await
    }

    /// Sends a signal to a run. Where nothing waits for it, it is kept, and a warning says what is waited for.
    ///
    /// # Errors
    /// [`Code::BadInput`] where the payload does not fit the schema that the wait has, with the path; the wait continues.
    pub async fn signal(&self, namespace: &str, run: RunId, name: &str, payload: Payload) -> Result<Option<String>> {
        let mut command = SignalRun { namespace: namespace.to_owned(), run, name: name.to_owned(), payload };
        command.check()?;
        let (of, signal) = (namespace.to_owned(), name.to_owned());
        let waits = self.of(namespace).read(move |machine| machine.signal_waits(&of, run, &signal)).await??;
        self.check_signal(name, waits.schema.as_ref(), &command.payload).await?;
        let warning = (!waits.expected).then(|| unawaited(name, &waits));
        let pin = self.of(namespace).admit_in("signal", &mut command.payload).await?;
        self.of(&command.namespace).done(Command::SignalRun(command), pin).await?;
        Ok(warning)
    }

    /// Refuses a payload that does not fit what the wait for the signal says.
    pub(super) async fn check_signal(&self, name: &str, schema: Option<&Payload>, payload: &Payload) -> Result<()> {
        let (Some(Payload::Inline(schema)), Payload::Inline(payload)) = (schema, payload) else { return Ok(()) };
        let (schema, payload, name) = (Arc::clone(schema), Arc::clone(payload), name.to_owned());
        let checked = tokio::task::spawn_blocking(move || contracts::check_signal(&name, &schema, &payload));
        checked.await.map_err(|_| shell::stopping())?
    }

    /// Deletes an ended run.
    pub async fn delete(&self, namespace: &str, run: RunId) -> Result<()> {
        let command = DeleteRun { namespace: namespace.to_owned(), run };
        self.of(&command.namespace).done(Command::DeleteRun(command), None).await
    }

    /// Sets how long a namespace keeps ended runs; `None` keeps them.
    pub async fn set_retention(&self, namespace: &str, keep: Option<Span>) -> Result<()> {
        let command = SetRetention { namespace: namespace.to_owned(), keep };
        self.of(&command.namespace).done(Command::SetRetention(command), None).await
    }
}

/// The warning about a signal that nothing waits for.
fn unawaited(name: &str, waits: &SignalWaits) -> String {
    let others = waits.others.iter().map(String::as_str);
    let mut text = format!("nothing waits for the signal `{name}`; it is kept until something does");
    if !waits.others.is_empty() {
        let shown: Vec<String> = others.clone().take(8).map(|other| format!("`{other}`")).collect();
        text.extend([" (waited for: ", &shown.join(", "), ")"]);
    }
    text.extend(did_you_mean(name, others).map(|hint| format!(" · {hint}")));
    text
}
