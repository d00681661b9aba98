//! Tasks that wait, and the limits that hold them back.
//!
//! For: queues as they stand, and limits as operators set them. Not for: the built-in bounds (see `server`).
//! Invariant: an answer to a change is sent after its command is durable.

use consort_types::{
    Code, Error, Result,
    registry::{LimitScope, TaskLimit},
};

use super::{done, ok};
use crate::{
    call::{Call, SMALL_BYTES_MAX},
    model,
    route::{Answer, Gives, Route, Takes, Verb, schema},
};

const DONE: &[(u16, &str, Gives)] = &[(204, "It is done, and durable.", Gives::Nothing)];

const fn route(
    (verb, path): (Verb, &'static str),
    name: &'static str,
    doc: &'static str,
    takes: Takes,
    answers: &'static [(u16, &'static str, Gives)],
    handle: fn(Call) -> futures::future::BoxFuture<'static, Answer>,
) -> Route {
    Route { verb, path, name, doc, namespaced: true, query: &[], headers: &[], takes, answers, handle }
}

pub(super) const ROUTES: &[Route] = &[
    route(
        (Verb::Get, "/v1/queues"),
        "listQueues",
        "Lists what waits for agents: how much, for how long, who works on it, and why nothing moves where it does not.",
        Takes::Nothing,
        &[(200, "The queues.", Gives::Json(schema::<model::Items<model::Queue>>))],
        |call| Box::pin(queues(call)),
    ),
    route(
        (Verb::Get, "/v1/limits"),
        "listLimits",
        "Lists the limits on tasks of the namespace, with what they hold back.",
        Takes::Nothing,
        &[(200, "The limits, by scope.", Gives::Json(schema::<model::Items<model::Limit>>))],
        |call| Box::pin(limits(call)),
    ),
    route(
        (Verb::Put, "/v1/limits/{scope}"),
        "setLimit",
        "Limits the tasks of a scope: `namespace`, `capability:NAME`, `agent:NAME` or `key:NAME`.",
        Takes::Json { schema: schema::<model::LimitRequest>, max_bytes: SMALL_BYTES_MAX, optional: false },
        DONE,
        |call| Box::pin(set(call)),
    ),
    route(
        (Verb::Delete, "/v1/limits/{scope}"),
        "removeLimit",
        "Removes the limit of a scope.",
        Takes::Nothing,
        DONE,
        |call| Box::pin(remove(call)),
    ),
];

async fn queues(call: Call) -> Answer {
    let items = call.engine().queues(&call.namespace).await?;
    Ok(ok(&model::Items { items })?)
}

async fn limits(call: Call) -> Answer {
    let items = call.engine().limits(&call.namespace).await?;
    Ok(ok(&model::Items { items })?)
}

fn scope(call: &Call) -> Result<LimitScope> {
    call.path("scope").parse()
}

async fn set(mut call: Call) -> Answer {
    let request: model::LimitRequest = call.json().await?;
    call.engine().set_limit(&call.namespace, scope(&call)?, request.limit()?).await?;
    Ok(done())
}

async fn remove(call: Call) -> Answer {
    let scope = scope(&call)?;
    // Who removes a limit between the look and the change has done what was asked for.
    if !call.engine().limits(&call.namespace).await?.iter().any(|limit| limit.scope == scope) {
        return Err(Error::new(Code::LimitNotFound, format!("no limit is set for `{scope}`"))
            .hint("`GET /v1/limits` lists those that are set")
            .into());
    }
    call.engine().set_limit(&call.namespace, scope, TaskLimit::default()).await?;
    Ok(done())
}
