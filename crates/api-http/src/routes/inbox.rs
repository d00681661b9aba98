//! The inbox: what waits for a person.
//!
//! For: approvals and unknown outcomes. Not for: signals (any program may send those).
//! Invariant: a decision names who made it.

use consort_engine::{Resolution, view::InboxView};
use consort_types::{Code, Error, Payload, Result, limits};

use super::{CURSOR, LIMIT, documents::whole, done, ok};
use crate::{
    call::Call,
    document,
    model::{self, Decision},
    route::{Answer, Gives, Route, Takes, Verb, schema},
};

const fn look(
    path: &'static str,
    name: &'static str,
    doc: &'static str,
    query: &'static [crate::route::Param],
    answers: &'static [(u16, &'static str, Gives)],
    handle: fn(Call) -> futures::future::BoxFuture<'static, Answer>,
) -> Route {
    let (verb, takes) = (Verb::Get, Takes::Nothing);
    Route { verb, path, name, doc, namespaced: true, query, headers: &[], takes, answers, handle }
}

pub(super) const ROUTES: &[Route] = &[
    look(
        "/v1/inbox",
        "listInbox",
        "Lists what waits for a person.",
        &[CURSOR, LIMIT],
        &[(200, "A page.", Gives::Json(schema::<model::Page<model::InboxItem>>))],
        |call| Box::pin(list(call)),
    ),
    look(
        "/v1/inbox/{task}",
        "showInboxItem",
        "Shows one thing that waits for a person.",
        &[],
        &[(200, "The item.", Gives::Json(schema::<model::InboxItem>))],
        |call| Box::pin(show(call)),
    ),
    look(
        "/v1/inbox/{task}/details",
        "inboxDetails",
        "What to decide upon, in full.",
        &[],
        &[(200, "The JSON document; `null` where there is none.", Gives::AnyJson)],
        |call| Box::pin(details(call)),
    ),
    Route {
        verb: Verb::Post,
        path: "/v1/inbox/{task}",
        name: "decide",
        doc: "Decides an approval (`approve`, `reject`) or an unknown outcome (`done`, `retry`, `fail`).",
        namespaced: true,
        query: &[],
        headers: &[],
        takes: Takes::Json {
            schema: schema::<model::DecideRequest>,
            max_bytes: limits::HTTP_BODY_BYTES_MAX,
            optional: false,
        },
        answers: &[(204, "It is decided, and durable.", Gives::Nothing)],
        handle: |call| Box::pin(decide(call)),
    },
];

async fn list(call: Call) -> Answer {
    let (cursor, limit) = call.page();
    Ok(ok(&call.engine().inbox(&call.namespace, cursor, limit).await?)?)
}

async fn item(call: &Call) -> Result<InboxView> {
    let task = call.task()?;
    // A page begins at its cursor: the first item is the one that is asked for, or it is not there.
    let page = call.engine().inbox(&call.namespace, Some(task.to_string()), 1).await?;
    page.items.into_iter().find(|item| item.task == task).ok_or_else(|| {
        Error::new(Code::TaskNotFound, format!("nothing waits in the inbox as `{task}`"))
            .hint("it may have been decided; `GET /v1/inbox` lists what waits")
    })
}

async fn show(call: Call) -> Answer {
    Ok(ok(&item(&call).await?)?)
}

async fn details(call: Call) -> Answer {
    let details = item(&call).await?.details.unwrap_or_else(Payload::null);
    Ok(whole(&call, details).await?)
}

async fn decide(mut call: Call) -> Answer {
    let request: model::DecideRequest = call.json().await?;
    let (task, engine, namespace) = (call.task()?, call.engine(), &call.namespace);
    if request.by.trim().is_empty() {
        return Err(Error::new(Code::BadRequest, "`by` is empty").hint("say who decides").into());
    }
    if request.output.is_some() && request.decision != Decision::Done {
        return Err(Error::new(Code::BadRequest, "`output` goes only with the decision `done`").into());
    }
    let (by, comment) = (request.by.as_str(), request.comment);
    let resolution = match request.decision {
        Decision::Approve | Decision::Reject => {
            engine.approve(namespace, task, request.decision == Decision::Approve, by, comment).await?;
            return Ok(done());
        }
        Decision::Done => Resolution::Done(request.output.as_deref().map_or_else(Payload::null, document::inner)),
        Decision::Retry => Resolution::Retry,
        Decision::Fail => Resolution::Fail,
    };
    engine.resolve_unknown(namespace, task, resolution, by, comment).await?;
    Ok(done())
}
