//! The client's side: deploying workflows, starting runs, following and steering them, deciding what waits for a person.
//!
//! For: programs that use Consort over gRPC. Not for: doing work (see [`crate::Worker`]), and not for code inside a
//! task: that uses [`crate::TaskContext::call`], which is recorded.
//! Invariant: every answer is of durable, applied state; every refusal is a [`consort_types::Error`] with its code.

mod inbox;
mod run;
mod watch;

use std::time::Duration;

use consort_proto::v1::{
    self, inbox_service_client::InboxServiceClient, run_service_client::RunServiceClient,
    workflow_service_client::WorkflowServiceClient,
};
use consort_types::{Code, Error, Result, RunId, Span, TaskId, limits};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tonic::transport::Channel;

pub use inbox::{Ask, Decision, InboxItem, Resolution};
pub use run::{Deployed, Page, Run, RunFilter, RunStatus, StartOptions, Started};
pub use watch::{RunEvent, Watch};

use crate::{context, remote::link::Link};

/// How long a server may be away before a watch gives up.
const PATIENCE: Duration = Duration::from_mins(1);

/// A client of a server. Clones share its connection.
///
/// ```no_run
/// use consort_worker::Client;
///
/// # async fn example() -> consort_types::Result<()> {
/// let client = Client::new("http://127.0.0.1:7878");
/// let run = client.start("greet", &serde_json::json!({ "name": "Ada" })).await?;
/// let greeting: String = client.result(run).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    link: Link,
    namespace: String,
    patience: Duration,
}

impl Client {
    /// A client of the server at this address, such as `http://127.0.0.1:7878`, in the namespace `default`. A wrong
    /// address is an error of the first call.
    pub fn new(url: impl Into<String>) -> Self {
        Self { link: Link::new(url.into()), namespace: "default".into(), patience: PATIENCE }
    }

    /// The token that the server asks for.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.link.token(token.into());
        self
    }

    /// Works in another namespace than `default`.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// How long a server may be away (60 s) before [`Client::watch`] and [`Client::result`] give up; until then they
    /// connect again and go on where they were.
    #[must_use]
    pub fn patience(mut self, span: Duration) -> Self {
        self.patience = span;
        self
    }

    /// Deploys a workflow's source (YAML); the same source again is the same revision.
    pub async fn deploy(&self, source: impl Into<String>) -> Result<Deployed> {
        let request = v1::DeployWorkflowRequest { namespace: self.namespace.clone(), source: source.into() };
        let mut service = WorkflowServiceClient::new(self.link.channel()?);
        let answer = service.deploy_workflow(self.link.request(request)?).await;
        Ok(self.answer(answer)?.into())
    }

    /// Starts a run of the newest revision of a workflow.
    pub async fn start(&self, workflow: &str, input: &impl Serialize) -> Result<RunId> {
        Ok(self.start_with(workflow, input, StartOptions::new()).await?.run)
    }

    /// Starts a run, and says more about it. With an idempotency key it may be called again: the run is the same.
    pub async fn start_with(&self, workflow: &str, input: &impl Serialize, options: StartOptions) -> Result<Started> {
        let request = v1::StartRunRequest {
            namespace: self.namespace.clone(),
            workflow: workflow.into(),
            version: options.version,
            input: document("input", input)?,
            idempotency_key: options.idempotency_key,
            labels: options.labels.into_iter().collect(),
            priority: options.priority,
            timeout_us: options.timeout.map(|Span(micros)| micros),
        };
        let answer = self.runs()?.start_run(self.link.request(request)?).await;
        let v1::StartRunResponse { run, existing } = self.answer(answer)?;
        Ok(Started { run: run.parse()?, existing })
    }

    /// A run with its documents.
    pub async fn get(&self, run: RunId) -> Result<Run> {
        let request = v1::GetRunRequest { namespace: self.namespace.clone(), run: run.to_string() };
        let answer = self.runs()?.get_run(self.link.request(request)?).await;
        Run::read(self.answer(answer)?.run)
    }

    /// Waits until a run has ended, and gives its output.
    ///
    /// # Errors
    /// The run's own error where it failed or was cancelled; [`Code::BadOutput`] where the output is not a `T`.
    pub async fn result<T: DeserializeOwned>(&self, run: RunId) -> Result<T> {
        let mut watch = Watch::new(self.clone(), run, false);
        loop {
            match watch.next().await {
                Some(Ok(RunEvent::Ended(run))) => return run.into_result(),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Err(self.link.unreachable("it ended the watch before the run had ended")),
            }
        }
    }

    /// Follows a run from its start: what happens to it, what its attempts say and stream, and its end.
    pub fn watch(&self, run: RunId) -> Watch {
        Watch::new(self.clone(), run, true)
    }

    /// Sends a signal to a run.
    pub async fn signal(&self, run: RunId, name: &str, payload: &impl Serialize) -> Result<()> {
        let payload = document("payload", payload)?;
        let (namespace, run) = (self.namespace.clone(), run.to_string());
        let request = v1::SignalRunRequest { namespace, run, name: name.into(), payload };
        let answer = self.runs()?.signal_run(self.link.request(request)?).await;
        self.answer(answer).map(drop)
    }

    /// Cancels a run and all below it. Its clean-up steps still run; it ends when they have.
    pub async fn cancel(&self, run: RunId, reason: &str) -> Result<()> {
        let (namespace, run) = (self.namespace.clone(), run.to_string());
        let request = v1::CancelRunRequest { namespace, run, reason: reason.into(), force: false };
        let answer = self.runs()?.cancel_run(self.link.request(request)?).await;
        self.answer(answer).map(drop)
    }

    /// Holds back the tasks of a run.
    pub async fn pause(&self, run: RunId) -> Result<()> {
        let request = v1::PauseRunRequest { namespace: self.namespace.clone(), run: run.to_string() };
        let answer = self.runs()?.pause_run(self.link.request(request)?).await;
        self.answer(answer).map(drop)
    }

    /// Lets a paused run go on.
    pub async fn resume(&self, run: RunId) -> Result<()> {
        let request = v1::ResumeRunRequest { namespace: self.namespace.clone(), run: run.to_string() };
        let answer = self.runs()?.resume_run(self.link.request(request)?).await;
        self.answer(answer).map(drop)
    }

    /// A page of runs without their documents, newest first. `cursor` is [`Page::next`] of the page before; empty for
    /// the first.
    pub async fn list(&self, filter: RunFilter, cursor: &str) -> Result<Page<Run>> {
        let request = v1::ListRunsRequest {
            namespace: self.namespace.clone(),
            workflow: filter.workflow,
            statuses: filter.statuses.into_iter().map(|status| v1::RunStatus::from(status).into()).collect(),
            labels: filter.labels.into_iter().collect(),
            page_size: filter.page_size,
            cursor: cursor.into(),
        };
        let answer = self.runs()?.list_runs(self.link.request(request)?).await;
        let v1::ListRunsResponse { runs, next } = self.answer(answer)?;
        let items = runs.into_iter().map(|run| Run::read(Some(run))).collect::<Result<_>>()?;
        Ok(Page { items, next })
    }

    /// A page of what waits for a person. `cursor` is [`Page::next`] of the page before; empty for the first.
    pub async fn inbox(&self, cursor: &str) -> Result<Page<InboxItem>> {
        let namespace = self.namespace.clone();
        let request = v1::ListInboxRequest { namespace, page_size: 0, cursor: cursor.into() };
        let answer = self.inboxes()?.list_inbox(self.link.request(request)?).await;
        let v1::ListInboxResponse { items, next } = self.answer(answer)?;
        Ok(Page { items: items.into_iter().map(InboxItem::read).collect::<Result<_>>()?, next })
    }

    /// Decides an approval, of a workflow's step or of a task.
    pub async fn approve(&self, task: TaskId, decision: Decision) -> Result<()> {
        let Decision { approved, by, comment } = decision;
        let (namespace, task) = (self.namespace.clone(), task.to_string());
        let request = v1::ApproveRequest { namespace, task, approved, by, comment };
        let answer = self.inboxes()?.approve(self.link.request(request)?).await;
        self.answer(answer).map(drop)
    }

    /// Decides the unknown outcome of a lost `write` attempt.
    pub async fn resolve(&self, task: TaskId, resolution: Resolution, by: &str, comment: &str) -> Result<()> {
        let request = v1::ResolveUnknownRequest {
            namespace: self.namespace.clone(),
            task: task.to_string(),
            resolution: Some(resolution.write()?),
            by: by.into(),
            comment: comment.into(),
        };
        let answer = self.inboxes()?.resolve_unknown(self.link.request(request)?).await;
        self.answer(answer).map(drop)
    }

    fn runs(&self) -> Result<RunServiceClient<Channel>> {
        let service = RunServiceClient::new(self.link.channel()?);
        Ok(service.max_decoding_message_size(limits::GRPC_BATCH_BYTES_MAX))
    }

    fn inboxes(&self) -> Result<InboxServiceClient<Channel>> {
        let service = InboxServiceClient::new(self.link.channel()?);
        Ok(service.max_decoding_message_size(limits::GRPC_BATCH_BYTES_MAX))
    }

    fn answer<T>(&self, answer: Result<tonic::Response<T>, tonic::Status>) -> Result<T> {
        answer.map(tonic::Response::into_inner).map_err(|status| self.link.error(&status))
    }
}

/// A document as it travels.
fn document(what: &str, value: &impl Serialize) -> Result<bytes::Bytes> {
    let payload = context::write_payload(what, value).map_err(|error| error.error().clone())?;
    Ok(consort_proto::convert::document(payload))
}

/// A document that came.
fn read_document(what: &str, bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(|error| Error::new(Code::BadJson, format!("the {what} is not JSON: {error}")))
}
