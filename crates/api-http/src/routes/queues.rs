//! Queues and quotas.
//!
//! For: the current state of queues, and the quotas that operators set. Not for: the built-in limits (see `server`).
//! Invariant: an answer to a change is sent after its command is durable.

use consort_api::queues::{ListQueues, ListQuotas, RemoveQuota, SetQuota};

use crate::{
    answer::ResponseBody,
    convert,
    request::RequestContext,
    route::{Handled, Route, route},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route::<ListQueues, _>(queues),
        route::<ListQuotas, _>(quotas),
        route::<SetQuota, _>(set),
        route::<RemoveQuota, _>(remove),
    ]
}

async fn queues(request: RequestContext<ListQueues>) -> Handled<ListQueues> {
    Ok(ResponseBody::Reply(convert::items(request.engine().queues(&request.namespace).await?, convert::queue)))
}

async fn quotas(request: RequestContext<ListQuotas>) -> Handled<ListQuotas> {
    Ok(ResponseBody::Reply(convert::items(request.engine().quotas(&request.namespace).await?, convert::quota)))
}

async fn set(request: RequestContext<SetQuota>) -> Handled<SetQuota> {
    request.engine().set_quota(&request.namespace, request.params.scope.clone(), request.body.clone().into()).await?;
    Ok(ResponseBody::Reply(()))
}

async fn remove(request: RequestContext<RemoveQuota>) -> Handled<RemoveQuota> {
    request.engine().remove_quota(&request.namespace, request.params.scope.clone()).await?;
    Ok(ResponseBody::Reply(()))
}
