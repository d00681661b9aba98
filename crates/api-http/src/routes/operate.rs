//! Runs, operated: cancel, pause, resume, signal, retry, fork, delete.
//!
//! For: one run at a time. Not for: many (see `bulk`).
//! Invariant: every answer is sent after its command is durable.

use axum::http::StatusCode;
use consort_engine::{ForkRequest, Started};
use consort_types::{Result, limits};

use super::{done, json, located};
use crate::{
    call::{Call, SMALL_BYTES_MAX},
    document, model,
    route::{Answer, Gives, Route, SchemaOf, Takes, Verb, schema},
};

const DONE: &[(u16, &str, Gives)] = &[(204, "It is done, and durable.", Gives::Nothing)];
const STARTED: &[(u16, &str, Gives)] = &[(201, "The new run.", Gives::Json(schema::<model::Started>))];

const fn small(schema: SchemaOf) -> Takes {
    Takes::Json { schema, max_bytes: SMALL_BYTES_MAX, optional: true }
}

const fn operation(
    path: &'static str,
    name: &'static str,
    doc: &'static str,
    takes: Takes,
    answers: &'static [(u16, &'static str, Gives)],
    handle: fn(Call) -> futures::future::BoxFuture<'static, Answer>,
) -> Route {
    Route { verb: Verb::Post, path, name, doc, namespaced: true, query: &[], headers: &[], takes, answers, handle }
}

pub(super) const ROUTES: &[Route] = &[
    operation(
        "/v1/runs/{run}/cancel",
        "cancelRun",
        "Cancels a run and everything below it.",
        small(schema::<model::CancelRequest>),
        DONE,
        |call| Box::pin(cancel(call)),
    ),
    operation(
        "/v1/runs/{run}/pause",
        "pauseRun",
        "Holds back the tasks of a run.",
        small(schema::<model::EmptyRequest>),
        DONE,
        |call| Box::pin(pause(call)),
    ),
    operation(
        "/v1/runs/{run}/resume",
        "resumeRun",
        "Lets a paused run go on.",
        small(schema::<model::EmptyRequest>),
        DONE,
        |call| Box::pin(resume(call)),
    ),
    operation(
        "/v1/runs/{run}/signals/{name}",
        "signalRun",
        "Sends a signal to a run; the body is what it brings.",
        Takes::Any,
        DONE,
        |call| Box::pin(signal(call)),
    ),
    operation(
        "/v1/runs/{run}/retry",
        "retryRun",
        "Makes a new run that repeats what had not completed, or everything from a step on.",
        small(schema::<model::RetryRequest>),
        STARTED,
        |call| Box::pin(retry(call)),
    ),
    operation(
        "/v1/runs/{run}/fork",
        "forkRun",
        "Makes a new run that takes outcomes over from this one, with another input if wanted.",
        Takes::Json { schema: schema::<model::ForkRequest>, max_bytes: limits::HTTP_BODY_BYTES_MAX, optional: true },
        STARTED,
        |call| Box::pin(fork(call)),
    ),
    Route {
        verb: Verb::Delete,
        path: "/v1/runs/{run}",
        name: "deleteRun",
        doc: "Deletes an ended run.",
        namespaced: true,
        query: &[],
        headers: &[],
        takes: Takes::Nothing,
        answers: DONE,
        handle: |call| Box::pin(delete(call)),
    },
];

async fn cancel(mut call: Call) -> Answer {
    let request: model::CancelRequest = call.json().await?;
    call.engine().cancel(&call.namespace, call.run()?, &request.reason, request.force).await?;
    Ok(done())
}

async fn pause(mut call: Call) -> Answer {
    let model::EmptyRequest {} = call.json().await?;
    call.engine().pause(&call.namespace, call.run()?).await?;
    Ok(done())
}

async fn resume(mut call: Call) -> Answer {
    let model::EmptyRequest {} = call.json().await?;
    call.engine().resume(&call.namespace, call.run()?).await?;
    Ok(done())
}

async fn signal(mut call: Call) -> Answer {
    let payload = call.document("signal").await?;
    call.engine().signal(&call.namespace, call.run()?, call.path("name"), payload).await?;
    Ok(done())
}

async fn retry(mut call: Call) -> Answer {
    let request: model::RetryRequest = call.json().await?;
    let made = call.engine().retry(&call.namespace, call.run()?, request.from).await?;
    Ok(made_run(&call, made)?)
}

async fn fork(mut call: Call) -> Answer {
    let request: model::ForkRequest = call.json().await?;
    let request = ForkRequest {
        namespace: call.namespace.clone(),
        from: call.run()?,
        step: request.from,
        input: request.input.as_deref().map(document::inner),
    };
    let made = call.engine().fork(request).await?;
    Ok(made_run(&call, made)?)
}

fn made_run(call: &Call, made: Started) -> Result<axum::http::Response<axum::body::Body>> {
    Ok(located(json(StatusCode::CREATED, &made)?, &format!("/v1/runs/{}", made.run), &call.namespace))
}

async fn delete(call: Call) -> Answer {
    call.engine().delete(&call.namespace, call.run()?).await?;
    Ok(done())
}
