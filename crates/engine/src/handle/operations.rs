//! What changes the state: one method for each command of a client.
//!
//! For: making a command of a request, and an answer of its reply. Not for: reads.
//! Invariant: every method answers only once its record is durable and applied.

use std::collections::BTreeMap;

use consort_core::{
    Command, Reply,
    command::{
        Approve, CancelRun, DeleteRun, Deploy, ForkRun, PauseRun, Resolution, ResolveUnknown, SetRetention, SignalRun,
        StartRun,
    },
};
use consort_types::{BlobHash, Code, Error, Payload, Result, RunId, Span, TaskId};
use serde::Serialize;

use super::Handle;
use crate::keeper::Pin;

/// What starts a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StartRequest {
    /// The namespace.
    pub namespace: String,
    /// The workflow's name.
    pub workflow: String,
    /// A revision number or an author's version; without one, the newest.
    pub version: Option<String>,
    /// The input document; a large one is moved to the blob store.
    pub input: Payload,
    /// Makes the start repeatable: the same key with the same request answers the first run.
    pub idempotency_key: Option<String>,
    /// Labels, at most [`limits::LABELS_MAX`].
    pub labels: BTreeMap<String, String>,
    /// Added to the priority of every step.
    pub priority: i32,
    /// How long the run may take; without one, what the workflow says.
    pub timeout: Option<Span>,
    /// The trace of the caller, as a W3C `traceparent`; without one, the run begins a trace of its own.
    pub traceparent: Option<String>,
}

/// A run that was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Started {
    /// The run.
    pub run: RunId,
    /// Whether its idempotency key had started it before.
    pub existing: bool,
}

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

/// What makes a new run of an old one.
#[derive(Clone, Debug, PartialEq)]
pub struct ForkRequest {
    /// The namespace.
    pub namespace: String,
    /// The run to take outcomes from.
    pub from: RunId,
    /// The top-level step from which to run anew; without one, everything that has not completed.
    pub step: Option<String>,
    /// Another input; without one, the old run's.
    pub input: Option<Payload>,
}

fn unexpected(reply: &Reply) -> Error {
    Error::new(Code::Internal, format!("the machine answered `{reply:?}` to another question"))
}

fn started(reply: Reply) -> Result<Started> {
    match reply {
        Reply::Run { run, existing } => Ok(Started { run, existing }),
        other => Err(unexpected(&other)),
    }
}

impl Handle {
    /// Deploys a workflow; the same source again is the same revision.
    pub async fn deploy(&self, namespace: &str, source: &str) -> Result<Deployed> {
        let command = Deploy { namespace: namespace.to_owned(), source: source.to_owned() };
        match self.submit(Command::Deploy(command), None).await? {
            Reply::Deployed { name, revision, hash, new } => Ok(Deployed { name, revision, hash, new }),
            other => Err(unexpected(&other)),
        }
    }

    /// Starts a run.
    pub async fn start(&self, request: StartRequest) -> Result<Started> {
        let mut command = StartRun {
            run: Self::new_run_id(),
            namespace: request.namespace,
            workflow: request.workflow,
            version: request.version,
            input: request.input,
            idempotency_key: request.idempotency_key,
            labels: request.labels,
            priority: request.priority,
            timeout: request.timeout,
            traceparent: request.traceparent,
        };
        command.check()?;
        let pin = self.admit_in("input", &mut command.input).await?;
        started(self.submit(Command::StartRun(command), pin).await?)
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

    /// Makes a new run that takes outcomes over from an old one.
    pub async fn fork(&self, request: ForkRequest) -> Result<Started> {
        let (run, from) = (Self::new_run_id(), request.from);
        let ForkRequest { namespace, step, input, .. } = request;
        let mut command = ForkRun { run, namespace, from, step, input };
        command.check()?;
        let pin = match &mut command.input {
            Some(input) => self.admit_in("input", input).await?,
            None => None,
        };
        started(self.submit(Command::ForkRun(command), pin).await?)
    }

    /// Makes a new run that repeats what had not completed in an old one, or everything from `step` on.
    pub async fn retry(&self, namespace: &str, run: RunId, step: Option<String>) -> Result<Started> {
        self.fork(ForkRequest { namespace: namespace.to_owned(), from: run, step, input: None }).await
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
