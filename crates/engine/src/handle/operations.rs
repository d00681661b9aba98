//! What changes the state: one method for each command of a client.
//!
//! For: making a command of a request, and an answer of its reply. Not for: reads.
//! Invariant: every method answers only once its record is durable and applied.

use consort_core::{
    Command, Reply,
    command::{Approve, CancelRun, DeleteRun, Deploy, PauseRun, Resolution, ResolveUnknown, SetRetention, SignalRun},
};
use consort_types::{BlobHash, Code, Error, Payload, Result, RunId, Span, TaskId};
use consort_workflow::CompiledWorkflow;
use serde::Serialize;

use super::Handle;
use crate::{keeper::Pin, shell};

/// A workflow that was deployed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deployed {
    /// Its name.
    pub name: String,
    /// Its revision, from 1.
    pub revision: u32,
    /// Its content hash.
    pub hash: BlobHash,
    /// Whether this revision is new.
    pub new: bool,
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
        let source = source.to_owned();
        // A hostile text costs bounded time, but may cost all of it.
        let checked = tokio::task::spawn_blocking(move || consort_workflow_check::check(&source));
        let checked = checked.await.map_err(|_| shell::stopping())??;
        self.deploy_checked(namespace, checked.compiled).await
    }

    /// Deploys a workflow that was checked.
    pub async fn deploy_checked(&self, namespace: &str, workflow: CompiledWorkflow) -> Result<Deployed> {
        let command = Deploy { namespace: namespace.to_owned(), workflow };
        match self.submit(Command::Deploy(command), None).await? {
            Reply::Deployed { name, revision, hash, new } => Ok(Deployed { name, revision, hash, new }),
            other => Err(unexpected(&other)),
        }
    }

    /// Cancels a run and everything below it; `force` cancels its clean-up steps too.
    pub async fn cancel(&self, namespace: &str, run: RunId, reason: &str, force: bool) -> Result<()> {
        let command = CancelRun { namespace: namespace.to_owned(), run, reason: reason.to_owned(), force };
        self.done(Command::CancelRun(command), None).await
    }

    /// Holds back the tasks of a run and of the runs below it.
    pub async fn pause(&self, namespace: &str, run: RunId) -> Result<()> {
        let command = PauseRun { namespace: namespace.to_owned(), run, paused: true };
        self.done(Command::PauseRun(command), None).await
    }

    /// Lets a paused run go on.
    pub async fn resume(&self, namespace: &str, run: RunId) -> Result<()> {
        let command = PauseRun { namespace: namespace.to_owned(), run, paused: false };
        self.done(Command::PauseRun(command), None).await
    }

    /// Sends a signal to a run.
    pub async fn signal(&self, namespace: &str, run: RunId, name: &str, payload: Payload) -> Result<()> {
        let mut command = SignalRun { namespace: namespace.to_owned(), run, name: name.to_owned(), payload };
        command.check()?;
        let pin = self.admit_in("signal", &mut command.payload).await?;
        self.done(Command::SignalRun(command), pin).await
    }

    /// Decides an approval; `by` says who, `comment` why.
    pub async fn approve(
        &self,
        namespace: &str,
        task: TaskId,
        approved: bool,
        by: &str,
        comment: Option<String>,
    ) -> Result<()> {
        let command = Approve { namespace: namespace.to_owned(), task, approved, by: by.to_owned(), comment };
        self.done(Command::Approve(command), None).await
    }

    /// Decides an unknown outcome; `by` says who, `comment` why.
    pub async fn resolve_unknown(
        &self,
        namespace: &str,
        task: TaskId,
        resolution: Resolution,
        by: &str,
        comment: Option<String>,
    ) -> Result<()> {
        let (namespace, by) = (namespace.to_owned(), by.to_owned());
        let mut command = ResolveUnknown { namespace, task, resolution, by, comment };
        command.check()?;
        let pin = match &mut command.resolution {
            Resolution::Done(output) => self.admit_in("output", output).await?,
            Resolution::Retry | Resolution::Fail => None,
        };
        self.done(Command::ResolveUnknown(command), pin).await
    }

    /// Deletes an ended run.
    pub async fn delete(&self, namespace: &str, run: RunId) -> Result<()> {
        let command = DeleteRun { namespace: namespace.to_owned(), run };
        self.done(Command::DeleteRun(command), None).await
    }

    /// Sets how long a namespace keeps ended runs; `None` keeps them.
    pub async fn set_retention(&self, namespace: &str, keep: Option<Span>) -> Result<()> {
        let command = SetRetention { namespace: namespace.to_owned(), keep };
        self.done(Command::SetRetention(command), None).await
    }

    pub(super) async fn done(&self, command: Command, pin: Option<Pin>) -> Result<()> {
        match self.submit(command, pin).await? {
            Reply::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }
}
