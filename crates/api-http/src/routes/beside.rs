//! Asking a run: exposed values, and updates.
//!
//! For: what is read of running code, and what its code answers. Not for: signals (see `runs`).
//! Invariant: an update is durable before it is answered; a wait ends with the time that it was given.

use consort_api::{
    Items, Operation,
    beside::{QueryRun, QueryValue, ShowUpdate, UpdateRun},
};
use consort_engine::{RunBeside, view::UpdateView};
use consort_types::{Result, RunId, Span};

use super::runs::{check_wait, whole};
use crate::{
    answer::ResponseBody,
    convert,
    request::RequestContext,
    route::{Handled, Route, route},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route::<QueryRun, _>(values),
        route::<QueryValue, _>(value),
        route::<UpdateRun, _>(update),
        route::<ShowUpdate, _>(show),
    ]
}

/// The run that a request asks.
fn beside<O: Operation>(request: &RequestContext<O>, run: RunId) -> Result<RunBeside> {
    RunBeside::of(request.engine(), &request.namespace, run)
}

async fn values(request: RequestContext<QueryRun>) -> Handled<QueryRun> {
    let values = beside(&request, request.params.run)?.values().await?;
    Ok(ResponseBody::Reply(Items { items: values.into_iter().map(convert::exposed).collect() }))
}

async fn value(request: RequestContext<QueryValue>) -> Handled<QueryValue> {
    let found = beside(&request, request.params.run)?.value(&request.params.name).await?;
    Ok(whole(&request, found.value).await?)
}

async fn update(request: RequestContext<UpdateRun>) -> Handled<UpdateRun> {
    let (params, input) = (request.params.clone(), request.body.clone().into());
    check_wait(params.wait)?;
    let beside = beside(&request, params.run)?;
    let (sent, warning) = beside.send(&params.name, params.id, input).await?;
    let found = answered(&request, &beside, sent, params.wait).await?;
    let warning = warning.filter(|_| !found.is_settled());
    Ok(ResponseBody::Reply(convert::update(found, warning)))
}

async fn show(request: RequestContext<ShowUpdate>) -> Handled<ShowUpdate> {
    check_wait(request.params.wait)?;
    let beside = beside(&request, request.params.run)?;
    let found = beside.update(&request.params.id).await?;
    let found = answered(&request, &beside, found, request.params.wait).await?;
    Ok(ResponseBody::Reply(convert::update(found, None)))
}

/// The update once it is settled, or as it is when the time is over or the server stops.
async fn answered<O: Operation>(
    request: &RequestContext<O>,
    beside: &RunBeside,
    update: UpdateView,
    wait: Option<Span>,
) -> Result<UpdateView> {
    let Some(wait) = wait.filter(|_| !update.is_settled()) else { return Ok(update) };
    let settled = tokio::select! {
        settled = tokio::time::timeout(wait.to_std(), beside.settled(&update.id)) => settled.ok(),
        () = request.closing.clone().closed() => None,
    };
    settled.unwrap_or(Ok(update))
}
