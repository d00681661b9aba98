//! Queues and quotas.
//!
//! For: queues as they stand, and quotas as operators set them. Not for: the built-in limits (see `server`).
//! Invariant: an answer to a change is sent after its command is durable.

use consort_api::queues::{ListQueues, ListQuotas, RemoveQuota, SetQuota};

use crate::{
    answer::Given,
    call::Call,
    convert,
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

async fn queues(call: Call<ListQueues>) -> Handled<ListQueues> {
    Ok(Given::Reply(convert::items(call.engine().queues(&call.namespace).await?, convert::queue)))
}

async fn quotas(call: Call<ListQuotas>) -> Handled<ListQuotas> {
    Ok(Given::Reply(convert::items(call.engine().quotas(&call.namespace).await?, convert::quota)))
}

async fn set(call: Call<SetQuota>) -> Handled<SetQuota> {
    call.engine().set_quota(&call.namespace, call.params.scope.clone(), call.body.clone().into()).await?;
    Ok(Given::Reply(()))
}

async fn remove(call: Call<RemoveQuota>) -> Handled<RemoveQuota> {
    call.engine().remove_quota(&call.namespace, call.params.scope.clone()).await?;
    Ok(Given::Reply(()))
}
