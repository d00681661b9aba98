//! The client's side: every operation of [`consort_api`] over HTTP.
//!
//! For: programs that use Consort. Not for: doing work (see [`crate::Worker`]), and not for code inside a task: that
//! uses [`crate::TaskContext::call`], which is recorded.
//! Invariant: every answer is of durable, applied state; every refusal is a [`consort_types::Error`] with its code.

mod operate;
mod replica;
mod watch;

use std::time::Duration;

/// The operations and their documents, for [`Client::call`] and for what the methods take and give.
pub use consort_api::{
    self as api,
    agents::{Agent, AgentFilter},
    inbox::{DecideRequest, Decision, InboxItem, InboxKind},
    inside::{HistoryEntry, Step, StepNode, StepState},
    queues::{Queue, Quota, QuotaRequest},
    runs::{ListRunsParams, Run, RunParams, RunStatus, RunSummary, StartParams, StartRequest, Started, StatusFilter},
    watch::{Progress, RunEvent},
    workflows::{Check, Deployed, WorkflowSummary},
};
use consort_api::{
    Document, NoParams, Operation, Page,
    client::Tcp,
    inside::RunOutput,
    runs::{ListRuns, ShowRun, ShowRunParams, StartRun},
    workflows::{CheckWorkflow, DeployRequest, DeployWorkflow, ListWorkflows},
};
use consort_types::{Code, Error, Result, RunId};
use serde::{Serialize, de::DeserializeOwned};

pub use replica::{Replica, ReplicaConflict, ReplicaOptions, ReplicaSync, ReplicaValue};
pub use watch::Watch;

/// How long a server may be away before a watch gives up.
const RECONNECT_TIMEOUT: Duration = Duration::from_mins(1);

/// A client of a server. Clones share its connections.
///
/// ```no_run
/// use consort_sdk::Client;
///
/// # async fn example() -> consort_types::Result<()> {
/// let client = Client::new("http://127.0.0.1:7878");
/// let run = client.start("greet", &serde_json::json!({ "name": "Ada" })).await?;
/// let greeting: String = client.result(run).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    /// The client, or why the address is none.
    inner: Result<api::client::Client>,
    reconnect_timeout: Duration,
}

/// A client whose requests go another way, such as to an engine in this process.
impl From<api::client::Client> for Client {
    fn from(inner: api::client::Client) -> Self {
        Self { inner: Ok(inner), reconnect_timeout: RECONNECT_TIMEOUT }
    }
}

impl Client {
    /// A client of the server at this address, such as `http://127.0.0.1:7878`, in the namespace `default`. A wrong
    /// address is an error of the first call.
    pub fn new(url: impl AsRef<str>) -> Self {
        Self { inner: Tcp::new(url.as_ref()).map(api::client::Client::new), reconnect_timeout: RECONNECT_TIMEOUT }
    }

    /// The server's token.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.inner = self.inner.map(|client| client.token(token));
        self
    }

    /// Works in another namespace than `default`.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.inner = self.inner.map(|client| client.namespace(namespace));
        self
    }

    /// How long a server may be unreachable (60 s) before [`Client::watch`] and [`Client::result`] fail; until then
    /// they reconnect and continue where they were.
    #[must_use]
    pub fn reconnect_timeout(mut self, span: Duration) -> Self {
        self.reconnect_timeout = span;
        self
    }

    /// Calls any operation of [`api`], also those that have no method here.
    pub async fn call<O: Operation>(&self, params: &O::Params, body: &O::Body) -> Result<O::Reply> {
        self.inner()?.call::<O>(params, body).await
    }

    fn inner(&self) -> Result<&api::client::Client> {
        self.inner.as_ref().map_err(Clone::clone)
    }

    /// Deploys a workflow's source (YAML); the same source again is the same revision.
    pub async fn deploy(&self, source: impl Into<String>) -> Result<Deployed> {
        self.call::<DeployWorkflow>(&NoParams {}, &DeployRequest { source: source.into() }).await
    }

    /// Checks a workflow's source (YAML) and deploys nothing.
    pub async fn check(&self, source: impl Into<String>) -> Result<Check> {
        self.call::<CheckWorkflow>(&NoParams {}, &DeployRequest { source: source.into() }).await
    }

    /// Every deployed workflow, by name.
    pub async fn workflows(&self) -> Result<Vec<WorkflowSummary>> {
        self.inner()?.all::<ListWorkflows, _>(api::PageParams::at).await
    }

    /// Starts a run of the newest revision of a workflow.
    pub async fn start(&self, workflow: &str, input: &impl Serialize) -> Result<RunId> {
        let request = StartRequest { input: Some(Document::of("input", input)?), ..StartRequest::of(workflow) };
        Ok(self.start_with(&request, None).await?.run)
    }

    /// Starts a run with options. With an idempotency key it may be called again: the run is the same.
    pub async fn start_with(&self, request: &StartRequest, idempotency_key: Option<&str>) -> Result<Started> {
        let params = StartParams { idempotency_key: idempotency_key.map(str::to_owned), traceparent: None };
        self.call::<StartRun>(&params, request).await
    }

    /// A run. Its documents are references where they are large: [`Client::output`] gives the output in full.
    pub async fn get(&self, run: RunId) -> Result<Run> {
        self.call::<ShowRun>(&ShowRunParams { run, wait: None }, &()).await
    }

    /// A page of runs without their documents, newest first.
    pub async fn list(&self, filter: &ListRunsParams) -> Result<Page<RunSummary>> {
        self.call::<ListRuns>(filter, &()).await
    }

    /// Waits until a run has ended, and gives its output.
    ///
    /// # Errors
    /// The run's own error where it failed or was cancelled; [`Code::BadOutput`] where the output is not a `T`.
    pub async fn result<T: DeserializeOwned>(&self, run: RunId) -> Result<T> {
        let mut watch = self.watch(run);
        while let Some(event) = watch.next().await {
            let RunEvent::End(ended) = event? else { continue };
            if ended.summary.status == RunStatus::Completed {
                return self.output(run).await;
            }
            let status = ended.summary.status;
            return Err(ended
                .summary
                .error
                .map_or_else(|| Error::new(Code::Cancelled, format!("the run is {status}")), Into::into));
        }
        Err(Error::new(Code::Unreachable, "the server ended the watch before the run had ended"))
    }

    /// The output of a completed run, in full.
    ///
    /// # Errors
    /// [`Code::RunActive`] where it has not ended, [`Code::BadOutput`] where the output is not a `T`.
    pub async fn output<T: DeserializeOwned>(&self, run: RunId) -> Result<T> {
        let output = self.call::<RunOutput>(&RunParams { run }, &()).await?;
        output.read("output").map_err(|error| Error { code: Code::BadOutput, ..error })
    }

    /// Follows a run from its start: its history, the progress and partial output of its attempts, and its end.
    pub fn watch(&self, run: RunId) -> Watch {
        Watch::new(self.clone(), run)
    }
}
