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
use consort_types::{BlobHash, Code, Error, Name, Payload, Result, RunId, Span, TaskId, limits};

use super::Handle;
use crate::{
    admit::{check_labels, check_text},
    keeper::Pin,
};

/// What starts a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StartRequest {
    /// The namespace.
    pub namespace: String,
    /// The workflow's name.
    pub workflow: String,
    /// A revision number or an author's version; without one, the newest.
    pub version: Option<String>,
    /// The input document; without one, `{}`. A large one is moved to the blob store.
    pub input: Option<Payload>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// The run.
    pub run: RunId,
    /// Whether its idempotency key had started it before.
    pub deduplicated: bool,
}

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
}

/// What a person decides.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// An approval: yes.
    Approve,
    /// An approval: no.
    Reject,
    /// An unknown outcome: it happened, with this output.
    Done(Payload),
    /// An unknown outcome: it did not happen, try again.
    Retry,
    /// An unknown outcome: count it as failed.
    Fail,
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
        Reply::Run { run, existing } => Ok(Started { run, deduplicated: existing }),
        other => Err(unexpected(&other)),
    }
}

impl Handle {
    /// Deploys a workflow; the same source again is the same revision.
    pub async fn deploy(&self, namespace: &str, source: &str) -> Result<Deployed> {
        Name::check("namespace", namespace)?;
        check_text("workflow", source, limits::WORKFLOW_BYTES_MAX)?;
        let command = Deploy { namespace: namespace.to_owned(), source: source.to_owned() };
        match self.submit(Command::Deploy(command), None).await? {
            Reply::Deployed { name, revision, hash, new } => Ok(Deployed { name, revision, hash, new }),
            other => Err(unexpected(&other)),
        }
    }

    /// Starts a run.
    pub async fn start(&self, request: StartRequest) -> Result<Started> {
        Name::check("namespace", &request.namespace)?;
        Name::check("workflow", &request.workflow)?;
        check_labels("run", &request.labels)?;
        check_text("version", request.version.as_deref().unwrap_or(""), limits::NAME_BYTES_MAX)?;
        check_key(request.idempotency_key.as_deref())?;
        let input = request.input.unwrap_or_else(|| Payload::inline(&b"{}"[..]));
        let (input, pin) = self.admit("input", input).await?;
        let command = StartRun {
            run: Self::new_run_id(),
            namespace: request.namespace,
            workflow: request.workflow,
            version: request.version,
            input,
            idempotency_key: request.idempotency_key,
            labels: request.labels,
            priority: request.priority,
            timeout: request.timeout,
            traceparent: request.traceparent,
        };
        started(self.submit(Command::StartRun(command), pin).await?)
    }

    /// Cancels a run and everything below it; `force` cancels its clean-up steps too. An empty reason is replaced by
    /// one that says who asked.
    pub async fn cancel(&self, namespace: &str, run: RunId, reason: &str, force: bool) -> Result<()> {
        check_text("reason", reason, limits::ERROR_MESSAGE_BYTES_MAX)?;
        let reason = if reason.is_empty() { "cancelled by a client" } else { reason }.to_owned();
        let command = CancelRun { namespace: namespace.to_owned(), run, reason, force };
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
        Name::check("signal", name)?;
        let (payload, pin) = self.admit("signal", payload).await?;
        let command = SignalRun { namespace: namespace.to_owned(), run, name: name.to_owned(), payload };
        self.done(Command::SignalRun(command), pin).await
    }

    /// Decides what waits in the inbox; `by` says who, `comment` why.
    ///
    /// # Errors
    /// [`Code::BadRequest`] where `by` is empty; [`Code::StepState`] where the task does not wait for such a decision.
    pub async fn decide(
        &self,
        namespace: &str,
        task: TaskId,
        decision: Decision,
        by: &str,
        comment: Option<String>,
    ) -> Result<()> {
        check_decision(by, comment.as_deref())?;
        let (namespace, by) = (namespace.to_owned(), by.to_owned());
        let (resolution, pin) = match decision {
            Decision::Approve | Decision::Reject => {
                let approved = decision == Decision::Approve;
                return self.done(Command::Approve(Approve { namespace, task, approved, by, comment }), None).await;
            }
            Decision::Done(output) => {
                let (output, pin) = self.admit("output", output).await?;
                (Resolution::Done(output), pin)
            }
            Decision::Retry => (Resolution::Retry, None),
            Decision::Fail => (Resolution::Fail, None),
        };
        self.done(Command::ResolveUnknown(ResolveUnknown { namespace, task, resolution, by, comment }), pin).await
    }

    /// Makes a new run that takes outcomes over from an old one.
    pub async fn fork(&self, request: ForkRequest) -> Result<Started> {
        let (input, pin) = match request.input {
            Some(input) => {
                let (input, pin) = self.admit("input", input).await?;
                (Some(input), pin)
            }
            None => (None, None),
        };
        let (run, from) = (Self::new_run_id(), request.from);
        let command = ForkRun { run, namespace: request.namespace, from, step: request.step, input };
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
        Name::check("namespace", namespace)?;
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

/// An empty key would make every start without one the same.
fn check_key(key: Option<&str>) -> Result<()> {
    if key == Some("") {
        return Err(Error::new(Code::BadRequest, "the idempotency key is empty").hint("leave it out, or choose one"));
    }
    check_text("idempotency key", key.unwrap_or(""), limits::IDEMPOTENCY_KEY_BYTES_MAX)
}

fn check_decision(by: &str, comment: Option<&str>) -> Result<()> {
    if by.trim().is_empty() {
        return Err(Error::new(Code::BadRequest, "`by` is empty").hint("say who decides"));
    }
    check_text("name of who decides", by, limits::NAME_BYTES_MAX)?;
    check_text("comment", comment.unwrap_or(""), limits::ERROR_MESSAGE_BYTES_MAX)
}
