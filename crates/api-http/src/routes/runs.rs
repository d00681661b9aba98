//! Runs: start, list, show, look inside, operate.
//!
//! For: the operations on runs but for following one (see `watch`). Not for: the inbox.
//! Invariant: a document is given only through a run of the caller's namespace (law 12).

use axum::http::StatusCode;
use bytes::Bytes;
use consort_api::{
    Document, Operation,
    bulk::BulkRuns,
    failed::{ListFailedSteps, ListFailedStepsParams},
    inside::{CompareRuns, ReplayRun, RunHistory, RunInput, RunOutput, RunSource, RunSteps, RunTree},
    operate::{CancelRun, DeleteRun, ForkRun, PauseRun, ResumeRun, RetryRun, SignalRun, SignalSent},
    runs::{self, ListRuns, ShowRun, StartRun},
    server::{Retention, SetRetention, ShowRetention},
    steps::{JournalParams, ShowStep, StepInput, StepJournal, StepOutput, StepParams},
};
use consort_engine::{FailedSteps, ForkRequest, StartRequest, Started, StepReader, view::RunFilter};
use consort_types::{Code, Error, Payload, Result, Span, accept_traceparent, limits};
use consort_workflow_check::Checked;

use super::workflows;
use crate::{
    answer::{ResponseBody, content},
    convert,
    problem::Problem,
    request::RequestContext,
    route::{Handled, Route, route},
};

/// How long a client may wait in one request, for the end of a run or the answer to an update.
const WAIT_MAX: Span = Span::from_secs(60);

pub(super) fn routes() -> Vec<Route> {
    vec![
        route::<StartRun, _>(start),
        route::<ListRuns, _>(list),
        route::<ListFailedSteps, _>(failed_steps),
        route::<BulkRuns, _>(bulk),
        route::<ShowRun, _>(show),
        route::<RunTree, _>(tree),
        route::<RunSteps, _>(steps),
        route::<RunHistory, _>(history),
        route::<RunSource, _>(source),
        route::<ReplayRun, _>(replay),
        route::<CompareRuns, _>(compare),
        route::<RunInput, _>(input),
        route::<RunOutput, _>(output),
        route::<ShowStep, _>(step),
        route::<StepInput, _>(step_input),
        route::<StepOutput, _>(step_output),
        route::<StepJournal, _>(step_journal),
        route::<CancelRun, _>(cancel),
        route::<PauseRun, _>(pause),
        route::<ResumeRun, _>(resume),
        route::<SignalRun, _>(signal),
        route::<RetryRun, _>(retry),
        route::<ForkRun, _>(fork),
        route::<DeleteRun, _>(delete),
        route::<ShowRetention, _>(retention),
        route::<SetRetention, _>(set_retention),
    ]
}

async fn start(request: RequestContext<StartRun>) -> Handled<StartRun> {
    // A `traceparent` that cannot be parsed is ignored and a new trace started, as W3C Trace Context requires.
    let traceparent = request.params.traceparent.as_deref().and_then(|text| accept_traceparent(text).ok());
    let definitions = definitions(&request.body).await?;
    let runs::StartRequest { workflow, version, input, labels, priority, timeout, .. } = request.body.clone();
    let start = StartRequest {
        namespace: request.namespace.clone(),
        workflow,
        version,
        definitions: definitions.into_iter().map(|checked| checked.compiled).collect(),
        input: input.map(Into::into),
        idempotency_key: request.params.idempotency_key.clone(),
        labels,
        priority,
        timeout,
        traceparent,
    };
    Ok(made(request.engine().start(start).await?))
}

/// The workflows that come with a start, checked.
async fn definitions(start: &runs::StartRequest) -> Result<Vec<Checked>, Problem> {
    let Some(own) = &start.source else {
        if start.children.is_empty() {
            return Ok(Vec::new());
        }
        let error = Error::new(Code::BadRequest, "`children` comes without `source`");
        return Err(error.hint("a run of a deployed workflow starts deployed ones").into());
    };
    if start.version.is_some() {
        let error = Error::new(Code::BadRequest, "`source` and `version` exclude each other");
        return Err(error.hint("leave `version` out: the run is of the text in `source`").into());
    }
    let max = limits::START_DEFINITIONS_MAX;
    if start.children.len() >= max {
        let message = format!("the start carries {} workflows, the limit is {max}", start.children.len() + 1);
        return Err(Error::new(Code::LimitReached, message).hint("deploy the workflows that it calls").into());
    }
    let mut checked = Vec::with_capacity(1 + start.children.len());
    for source in std::iter::once(own).chain(&start.children) {
        checked.push(workflows::parse(source.clone()).await??);
    }
    Ok(checked)
}

/// A run that was started, and where it can be found.
fn made(started: Started) -> ResponseBody<runs::Started> {
    let path = format!("/v1/runs/{}", started.run);
    ResponseBody::Made { new: !started.deduplicated, reply: convert::started(started), path }
}

async fn list(request: RequestContext<ListRuns>) -> Handled<ListRuns> {
    let params = request.params.clone();
    let runs::ListRunsParams { workflow, labels, children, since, until, text, cursor, limit, .. } = params;
    let (statuses, code) = (convert::statuses(&params.status), code(params.code.as_deref())?);
    let filter = RunFilter { statuses, workflow, labels, children, since, until, code, text };
    let page = request.engine().runs(&request.namespace, filter, cursor, limit).await?;
    Ok(ResponseBody::Reply(convert::page(page, convert::summary)))
}

/// The code that a parameter names.
fn code(named: Option<&str>) -> Result<Option<Code>> {
    named.map(str::parse).transpose()
}

async fn failed_steps(request: RequestContext<ListFailedSteps>) -> Handled<ListFailedSteps> {
    let params = request.params.clone();
    let ListFailedStepsParams { capability, workflow, labels, since, until, cursor, limit, .. } = params;
    let code = code(params.code.as_deref())?;
    let filter = RunFilter { workflow, labels, children: true, since, until, code, ..RunFilter::default() };
    let page = FailedSteps::of(request.engine(), &request.namespace)?.list(filter, capability, cursor, limit).await?;
    Ok(ResponseBody::Reply(convert::page(page, convert::failed_step)))
}

async fn bulk(request: RequestContext<BulkRuns>) -> Handled<BulkRuns> {
    let result = request.engine().bulk(&request.namespace, convert::bulk_request(request.body.clone())).await?;
    Ok(ResponseBody::Reply(convert::bulk_result(result)))
}

async fn show(request: RequestContext<ShowRun>) -> Handled<ShowRun> {
    let (run, engine) = (request.params.run, request.engine());
    if let Some(wait) = request.params.wait {
        check_wait(Some(wait))?;
        let ended = tokio::select! {
            ended = tokio::time::timeout(wait.to_std(), engine.wait_end(&request.namespace, run)) => ended.ok(),
            () = request.closing.clone().closed() => None,
        };
        if let Some(ended) = ended {
            return Ok(ResponseBody::Reply(convert::run(ended?)));
        }
    }
    Ok(ResponseBody::Reply(convert::run(engine.run(&request.namespace, run).await?)))
}

/// Refuses to wait longer than one request may.
pub(super) fn check_wait(wait: Option<Span>) -> Result<()> {
    let Some(wait) = wait.filter(|wait| *wait > WAIT_MAX) else { return Ok(()) };
    let message = format!("`wait` is `{wait}`, the limit is `{WAIT_MAX}`");
    Err(Error::new(Code::BadRequest, message).hint("repeat the request when the time is over"))
}

async fn tree(request: RequestContext<RunTree>) -> Handled<RunTree> {
    let nodes = request.engine().run_tree(&request.namespace, request.params.run).await?;
    Ok(ResponseBody::Reply(nodes.into_iter().map(convert::node).collect()))
}

async fn steps(request: RequestContext<RunSteps>) -> Handled<RunSteps> {
    let (run, cursor, limit) = (request.params.run, request.params.cursor.clone(), request.params.limit);
    let page = request.engine().steps(&request.namespace, run, cursor, limit).await?;
    Ok(ResponseBody::Reply(convert::page(page, convert::step)))
}

async fn history(request: RequestContext<RunHistory>) -> Handled<RunHistory> {
    let after = request.params.after.as_deref().map(str::parse).transpose()?;
    let page = request.engine().history(&request.namespace, request.params.run, after, request.params.limit).await?;
    Ok(ResponseBody::Reply(convert::page(page, convert::entry)))
}

async fn source(request: RequestContext<RunSource>) -> Handled<RunSource> {
    Ok(ResponseBody::Reply(request.engine().run_source(&request.namespace, request.params.run).await?))
}

async fn replay(request: RequestContext<ReplayRun>) -> Handled<ReplayRun> {
    Ok(ResponseBody::Reply(convert::replay(request.engine().replay(&request.namespace, request.params.run).await?)))
}

async fn compare(request: RequestContext<CompareRuns>) -> Handled<CompareRuns> {
    let found = request.engine().compare(&request.namespace, request.params.run, request.params.other).await?;
    Ok(ResponseBody::Reply(convert::comparison(found)))
}

/// A document in full, without copying it.
pub(super) async fn whole<O: Operation<Reply = Document>>(
    request: &RequestContext<O>,
    payload: Payload,
) -> Result<ResponseBody<Document>> {
    let bytes = request.engine().payload(&request.namespace, payload).await?;
    Ok(ResponseBody::Raw(content(StatusCode::OK, "application/json", Bytes::from_owner(bytes))))
}

async fn input(request: RequestContext<RunInput>) -> Handled<RunInput> {
    let run = request.engine().run(&request.namespace, request.params.run).await?;
    Ok(whole(&request, run.input).await?)
}

async fn output(request: RequestContext<RunOutput>) -> Handled<RunOutput> {
    let output = request.engine().run_output(&request.namespace, request.params.run).await?;
    Ok(whole(&request, output).await?)
}

/// The step that a request is about.
fn reader<O: Operation<Params = StepParams>>(request: &RequestContext<O>) -> Result<StepReader> {
    request.engine().step(&request.namespace, request.params.run, request.params.task)
}

async fn step(request: RequestContext<ShowStep>) -> Handled<ShowStep> {
    Ok(ResponseBody::Reply(convert::step_detail(reader(&request)?.detail().await?)))
}

async fn step_input(request: RequestContext<StepInput>) -> Handled<StepInput> {
    let input = reader(&request)?.input().await?;
    Ok(whole(&request, input).await?)
}

async fn step_output(request: RequestContext<StepOutput>) -> Handled<StepOutput> {
    let output = reader(&request)?.output().await?;
    Ok(whole(&request, output).await?)
}

async fn step_journal(request: RequestContext<StepJournal>) -> Handled<StepJournal> {
    let JournalParams { run, task, whole, cursor, limit } = request.params.clone();
    let step = request.engine().step(&request.namespace, run, task)?;
    Ok(ResponseBody::Reply(convert::page(step.journal(cursor, limit, whole).await?, convert::task_entry)))
}

async fn cancel(request: RequestContext<CancelRun>) -> Handled<CancelRun> {
    request.engine().cancel(&request.namespace, request.params.run, &request.body.reason, request.body.force).await?;
    Ok(ResponseBody::Reply(()))
}

async fn pause(request: RequestContext<PauseRun>) -> Handled<PauseRun> {
    request.engine().pause(&request.namespace, request.params.run).await?;
    Ok(ResponseBody::Reply(()))
}

async fn resume(request: RequestContext<ResumeRun>) -> Handled<ResumeRun> {
    request.engine().resume(&request.namespace, request.params.run).await?;
    Ok(ResponseBody::Reply(()))
}

async fn signal(request: RequestContext<SignalRun>) -> Handled<SignalRun> {
    let payload = request.body.clone().into();
    let warning =
        request.engine().signal(&request.namespace, request.params.run, &request.params.name, payload).await?;
    Ok(ResponseBody::Reply(SignalSent { warning }))
}

async fn retry(request: RequestContext<RetryRun>) -> Handled<RetryRun> {
    let (namespace, from) = (request.namespace.clone(), request.params.run);
    let (step, entry) = (request.body.from.clone(), request.body.entry);
    Ok(made(request.engine().fork(ForkRequest { namespace, from, step, input: None, entry }).await?))
}

async fn fork(request: RequestContext<ForkRun>) -> Handled<ForkRun> {
    let fork = ForkRequest {
        namespace: request.namespace.clone(),
        from: request.params.run,
        step: request.body.from.clone(),
        input: request.body.input.clone().map(Into::into),
        entry: request.body.entry,
    };
    Ok(made(request.engine().fork(fork).await?))
}

async fn delete(request: RequestContext<DeleteRun>) -> Handled<DeleteRun> {
    request.engine().delete(&request.namespace, request.params.run).await?;
    Ok(ResponseBody::Reply(()))
}

async fn retention(request: RequestContext<ShowRetention>) -> Handled<ShowRetention> {
    Ok(ResponseBody::Reply(Retention { keep: request.engine().retention(&request.namespace).await? }))
}

async fn set_retention(request: RequestContext<SetRetention>) -> Handled<SetRetention> {
    request.engine().set_retention(&request.namespace, request.body.keep).await?;
    Ok(ResponseBody::Reply(()))
}
