//! Runs: start, look, list, follow, cancel, pause, resume, signal.
//!
//! For: `RunService`. Not for: how a run is followed (see `watch`).
//! Invariant: a start with the same idempotency key answers the same run.

use std::pin::Pin;

use consort_engine::{
    StartRequest,
    view::{RunFilter, RunStatus, RunSummary, RunView},
};
use consort_proto::{
    convert,
    v1::{self, run_service_server::RunService},
};
use consort_types::{Code, Error, Result, RunId, Span, accept_traceparent};
use futures::Stream;
use tonic::{Request, Response, Status};

use super::{Clients, answer, document, given, id, namespace, page_size};

impl Clients {
    async fn start(&self, request: Request<v1::StartRunRequest>) -> Result<v1::StartRunResponse> {
        let traceparent = request.metadata().get("traceparent").and_then(|text| text.to_str().ok());
        let traceparent = traceparent.and_then(|text| accept_traceparent(text).ok());
        let request = request.into_inner();
        let request = StartRequest {
            namespace: namespace(request.namespace)?,
            workflow: request.workflow,
            version: given(request.version),
            input: document(&request.input),
            idempotency_key: given(request.idempotency_key),
            labels: request.labels.into_iter().collect(),
            priority: request.priority,
            timeout: request.timeout_us.map(Span),
            traceparent,
        };
        let started = self.engine.start(request).await?;
        Ok(v1::StartRunResponse { run: started.run.to_string(), existing: started.deduplicated })
    }

    async fn show(&self, request: v1::GetRunRequest) -> Result<v1::GetRunResponse> {
        let (namespace, run) = (namespace(request.namespace)?, id("run", &request.run)?);
        let view = self.engine.run(&namespace, run).await?;
        Ok(v1::GetRunResponse { run: Some(self.whole_run(view).await?) })
    }

    /// A run with its documents in full.
    pub(super) async fn whole_run(&self, view: RunView) -> Result<v1::Run> {
        let mut run = run(view.summary, view.namespace);
        run.input = Some(self.document(view.input).await?);
        if let Some(output) = view.output {
            run.output = Some(self.document(output).await?);
        }
        Ok(run)
    }

    async fn list(&self, request: v1::ListRunsRequest) -> Result<v1::ListRunsResponse> {
        let namespace = namespace(request.namespace)?;
        let filter = RunFilter {
            statuses: request.statuses.iter().map(|number| status_of(*number)).collect::<Result<_>>()?,
            workflow: given(request.workflow),
            labels: request.labels.into_iter().collect(),
            children: false,
        };
        let limit = page_size(request.page_size);
        let page = self.engine.runs(&namespace, filter, given(request.cursor), limit).await?;
        let runs = page.items.into_iter().map(|summary| run(summary, namespace.clone()));
        Ok(v1::ListRunsResponse { runs: runs.collect(), next: page.next.unwrap_or_default() })
    }

    async fn cancel(&self, request: v1::CancelRunRequest) -> Result<v1::CancelRunResponse> {
        let (namespace, run) = named(request.namespace, &request.run)?;
        self.engine.cancel(&namespace, run, &request.reason, request.force).await?;
        Ok(v1::CancelRunResponse {})
    }

    async fn signal(&self, request: v1::SignalRunRequest) -> Result<v1::SignalRunResponse> {
        let (namespace, run) = named(request.namespace, &request.run)?;
        let payload = document(&request.payload).unwrap_or_default();
        self.engine.signal(&namespace, run, &request.name, payload).await?;
        Ok(v1::SignalRunResponse {})
    }

    async fn hold(&self, space: String, run: &str, paused: bool) -> Result<()> {
        let (namespace, run) = named(space, run)?;
        if paused { self.engine.pause(&namespace, run).await } else { self.engine.resume(&namespace, run).await }
    }
}

fn named(space: String, run: &str) -> Result<(String, RunId)> {
    Ok((namespace(space)?, id("run", run)?))
}

/// A run in a few words.
fn run(summary: RunSummary, namespace: String) -> v1::Run {
    v1::Run {
        run: summary.run.to_string(),
        namespace,
        workflow: summary.workflow,
        status: wire_status(summary.status).into(),
        paused: summary.paused,
        created_us: summary.created.0,
        ended_us: summary.ended.map(|time| time.0),
        labels: summary.labels.into_iter().collect(),
        priority: summary.priority,
        input: None,
        output: None,
        error: summary.error.map(convert::error_to_wire),
    }
}

fn wire_status(status: RunStatus) -> v1::RunStatus {
    match status {
        RunStatus::Running => v1::RunStatus::Running,
        RunStatus::Cancelling => v1::RunStatus::Cancelling,
        RunStatus::Compensating => v1::RunStatus::Compensating,
        RunStatus::Completed => v1::RunStatus::Completed,
        RunStatus::Failed => v1::RunStatus::Failed,
        RunStatus::Cancelled => v1::RunStatus::Cancelled,
        RunStatus::Deleted => v1::RunStatus::Deleted,
    }
}

fn status_of(number: i32) -> Result<RunStatus> {
    match v1::RunStatus::try_from(number) {
        Ok(v1::RunStatus::Running) => Ok(RunStatus::Running),
        Ok(v1::RunStatus::Cancelling) => Ok(RunStatus::Cancelling),
        Ok(v1::RunStatus::Compensating) => Ok(RunStatus::Compensating),
        Ok(v1::RunStatus::Completed) => Ok(RunStatus::Completed),
        Ok(v1::RunStatus::Failed) => Ok(RunStatus::Failed),
        Ok(v1::RunStatus::Cancelled) => Ok(RunStatus::Cancelled),
        Ok(v1::RunStatus::Deleted) => Ok(RunStatus::Deleted),
        Ok(v1::RunStatus::Unspecified) | Err(_) => {
            Err(Error::new(Code::BadRequest, format!("`statuses` has `{number}`, which is no state of a run"))
                .hint("leave it empty for runs in any state"))
        }
    }
}

#[async_trait::async_trait]
impl RunService for Clients {
    async fn start_run(&self, request: Request<v1::StartRunRequest>) -> Result<Response<v1::StartRunResponse>, Status> {
        answer(self.start(request).await)
    }

    async fn get_run(&self, request: Request<v1::GetRunRequest>) -> Result<Response<v1::GetRunResponse>, Status> {
        answer(self.show(request.into_inner()).await)
    }

    async fn list_runs(&self, request: Request<v1::ListRunsRequest>) -> Result<Response<v1::ListRunsResponse>, Status> {
        answer(self.list(request.into_inner()).await)
    }

    type WatchRunStream = Pin<Box<dyn Stream<Item = Result<v1::WatchRunResponse, Status>> + Send>>;

    async fn watch_run(&self, request: Request<v1::WatchRunRequest>) -> Result<Response<Self::WatchRunStream>, Status> {
        answer(self.watch(request.into_inner()).await)
    }

    async fn cancel_run(
        &self,
        request: Request<v1::CancelRunRequest>,
    ) -> Result<Response<v1::CancelRunResponse>, Status> {
        answer(self.cancel(request.into_inner()).await)
    }

    async fn pause_run(&self, request: Request<v1::PauseRunRequest>) -> Result<Response<v1::PauseRunResponse>, Status> {
        let v1::PauseRunRequest { namespace, run } = request.into_inner();
        answer(self.hold(namespace, &run, true).await.map(|()| v1::PauseRunResponse {}))
    }

    async fn resume_run(
        &self,
        request: Request<v1::ResumeRunRequest>,
    ) -> Result<Response<v1::ResumeRunResponse>, Status> {
        let v1::ResumeRunRequest { namespace, run } = request.into_inner();
        answer(self.hold(namespace, &run, false).await.map(|()| v1::ResumeRunResponse {}))
    }

    async fn signal_run(
        &self,
        request: Request<v1::SignalRunRequest>,
    ) -> Result<Response<v1::SignalRunResponse>, Status> {
        answer(self.signal(request.into_inner()).await)
    }
}
