//! Runs: start, list, show, look inside, operate.
//!
//! For: the operations on runs but for following one (see `watch`). Not for: the inbox.
//! Invariant: a document is given only through a run of the caller's namespace (law 12).

use axum::http::StatusCode;
use bytes::Bytes;
use consort_api::{
    Document, Operation,
    bulk::BulkRuns,
    inside::{CompareRuns, ReplayRun, RunHistory, RunInput, RunOutput, RunSource, RunSteps, RunTree, StepOutput},
    operate::{CancelRun, DeleteRun, ForkRun, PauseRun, ResumeRun, RetryRun, SignalRun},
    runs::{self, ListRuns, ShowRun, StartRun},
    server::SetRetention,
};
use consort_engine::{ForkRequest, StartRequest, Started, view::RunFilter};
use consort_types::{Code, Error, Payload, Result, Span, accept_traceparent};

use crate::{
    answer::{Given, content},
    call::Call,
    convert,
    route::{Handled, Route, route},
};

/// How long a client may wait for the end of a run in one request.
const WAIT_MAX: Span = Span::from_secs(60);

pub(super) fn routes() -> Vec<Route> {
    vec![
        route::<StartRun, _>(start),
        route::<ListRuns, _>(list),
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
        route::<StepOutput, _>(step_output),
        route::<CancelRun, _>(cancel),
        route::<PauseRun, _>(pause),
        route::<ResumeRun, _>(resume),
        route::<SignalRun, _>(signal),
        route::<RetryRun, _>(retry),
        route::<ForkRun, _>(fork),
        route::<DeleteRun, _>(delete),
        route::<SetRetention, _>(retention),
    ]
}

async fn start(call: Call<StartRun>) -> Handled<StartRun> {
    // A trace that cannot be read is begun anew, as W3C has it: it is no part of the request.
    let traceparent = call.params.traceparent.as_deref().and_then(|text| accept_traceparent(text).ok());
    let runs::StartRequest { workflow, version, input, labels, priority, timeout } = call.body.clone();
    let request = StartRequest {
        namespace: call.namespace.clone(),
        workflow,
        version,
        input: input.map(Into::into),
        idempotency_key: call.params.idempotency_key.clone(),
        labels,
        priority,
        timeout,
        traceparent,
    };
    Ok(made(call.engine().start(request).await?))
}

/// A run that was started, and where it can be found.
fn made(started: Started) -> Given<runs::Started> {
    let path = format!("/v1/runs/{}", started.run);
    Given::Made { new: !started.deduplicated, reply: convert::started(started), path }
}

async fn list(call: Call<ListRuns>) -> Handled<ListRuns> {
    let runs::ListRunsParams { status, workflow, labels, children, cursor, limit } = call.params.clone();
    let filter = RunFilter { statuses: convert::statuses(&status), workflow, labels, children };
    let page = call.engine().runs(&call.namespace, filter, cursor, limit).await?;
    Ok(Given::Reply(convert::page(page, convert::summary)))
}

async fn bulk(call: Call<BulkRuns>) -> Handled<BulkRuns> {
    let result = call.engine().bulk(&call.namespace, convert::bulk_request(call.body.clone())).await?;
    Ok(Given::Reply(convert::bulk_result(result)))
}

async fn show(call: Call<ShowRun>) -> Handled<ShowRun> {
    let (run, engine) = (call.params.run, call.engine());
    if let Some(wait) = call.params.wait {
        if wait > WAIT_MAX {
            let message = format!("`wait` is `{wait}`, the limit is `{WAIT_MAX}`");
            return Err(Error::new(Code::BadRequest, message).hint("ask again when it is over").into());
        }
        let ended = tokio::select! {
            ended = tokio::time::timeout(wait.to_std(), engine.wait_end(&call.namespace, run)) => ended.ok(),
            () = call.closing.clone().closed() => None,
        };
        if let Some(ended) = ended {
            return Ok(Given::Reply(convert::run(ended?)));
        }
    }
    Ok(Given::Reply(convert::run(engine.run(&call.namespace, run).await?)))
}

async fn tree(call: Call<RunTree>) -> Handled<RunTree> {
    let nodes = call.engine().run_tree(&call.namespace, call.params.run).await?;
    Ok(Given::Reply(nodes.into_iter().map(convert::node).collect()))
}

async fn steps(call: Call<RunSteps>) -> Handled<RunSteps> {
    let (run, cursor, limit) = (call.params.run, call.params.cursor.clone(), call.params.limit);
    let page = call.engine().steps(&call.namespace, run, cursor, limit).await?;
    Ok(Given::Reply(convert::page(page, convert::step)))
}

async fn history(call: Call<RunHistory>) -> Handled<RunHistory> {
    let after = call.params.after.as_deref().map(str::parse).transpose()?;
    let page = call.engine().history(&call.namespace, call.params.run, after, call.params.limit).await?;
    Ok(Given::Reply(convert::page(page, convert::entry)))
}

async fn source(call: Call<RunSource>) -> Handled<RunSource> {
    Ok(Given::Reply(call.engine().run_source(&call.namespace, call.params.run).await?))
}

async fn replay(call: Call<ReplayRun>) -> Handled<ReplayRun> {
    Ok(Given::Reply(convert::replay(call.engine().replay(&call.namespace, call.params.run).await?)))
}

async fn compare(call: Call<CompareRuns>) -> Handled<CompareRuns> {
    let found = call.engine().compare(&call.namespace, call.params.run, call.params.other).await?;
    Ok(Given::Reply(convert::comparison(found)))
}

/// A document in full, without copying it.
pub(super) async fn whole<O: Operation<Reply = Document>>(call: &Call<O>, payload: Payload) -> Result<Given<Document>> {
    let bytes = call.engine().payload(&call.namespace, payload).await?;
    Ok(Given::Raw(content(StatusCode::OK, "application/json", Bytes::from_owner(bytes))))
}

async fn input(call: Call<RunInput>) -> Handled<RunInput> {
    let run = call.engine().run(&call.namespace, call.params.run).await?;
    Ok(whole(&call, run.input).await?)
}

async fn output(call: Call<RunOutput>) -> Handled<RunOutput> {
    let output = call.engine().run_output(&call.namespace, call.params.run).await?;
    Ok(whole(&call, output).await?)
}

async fn step_output(call: Call<StepOutput>) -> Handled<StepOutput> {
    let output = call.engine().step_output(&call.namespace, call.params.run, call.params.task).await?;
    Ok(whole(&call, output).await?)
}

async fn cancel(call: Call<CancelRun>) -> Handled<CancelRun> {
    call.engine().cancel(&call.namespace, call.params.run, &call.body.reason, call.body.force).await?;
    Ok(Given::Reply(()))
}

async fn pause(call: Call<PauseRun>) -> Handled<PauseRun> {
    call.engine().pause(&call.namespace, call.params.run).await?;
    Ok(Given::Reply(()))
}

async fn resume(call: Call<ResumeRun>) -> Handled<ResumeRun> {
    call.engine().resume(&call.namespace, call.params.run).await?;
    Ok(Given::Reply(()))
}

async fn signal(call: Call<SignalRun>) -> Handled<SignalRun> {
    let payload = call.body.clone().into();
    call.engine().signal(&call.namespace, call.params.run, &call.params.name, payload).await?;
    Ok(Given::Reply(()))
}

async fn retry(call: Call<RetryRun>) -> Handled<RetryRun> {
    Ok(made(call.engine().retry(&call.namespace, call.params.run, call.body.from.clone()).await?))
}

async fn fork(call: Call<ForkRun>) -> Handled<ForkRun> {
    let request = ForkRequest {
        namespace: call.namespace.clone(),
        from: call.params.run,
        step: call.body.from.clone(),
        input: call.body.input.clone().map(Into::into),
    };
    Ok(made(call.engine().fork(request).await?))
}

async fn delete(call: Call<DeleteRun>) -> Handled<DeleteRun> {
    call.engine().delete(&call.namespace, call.params.run).await?;
    Ok(Given::Reply(()))
}

async fn retention(call: Call<SetRetention>) -> Handled<SetRetention> {
    call.engine().set_retention(&call.namespace, call.body.keep).await?;
    Ok(Given::Reply(()))
}
