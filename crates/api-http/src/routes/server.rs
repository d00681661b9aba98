//! The server itself: status, bounds, retention, error pages, the document, the probes.
//!
//! For: what is not about one run, workflow or agent. Not for: configuration (a server's is read at its start).
//! Invariant: a probe tells nothing but whether it is content: it answers whoever asks.

use axum::http::StatusCode;
use consort_types::{Code, Error, Result, limits};

use super::{content, done, ok};
use crate::{
    call::{Call, SMALL_BYTES_MAX},
    model,
    openapi::openapi,
    problem::status_of,
    route::{Answer, Gives, Param, Route, Takes, Verb, schema},
};

const fn look(
    path: &'static str,
    name: &'static str,
    doc: &'static str,
    answers: &'static [(u16, &'static str, Gives)],
    handle: fn(Call) -> futures::future::BoxFuture<'static, Answer>,
) -> Route {
    let (verb, takes, query): (_, _, &[Param]) = (Verb::Get, Takes::Nothing, &[]);
    Route { verb, path, name, doc, namespaced: false, query, headers: &[], takes, answers, handle }
}

pub(super) const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Put,
        path: "/v1/retention",
        name: "setRetention",
        doc: "Sets how long the namespace keeps ended runs.",
        namespaced: true,
        query: &[],
        headers: &[],
        takes: Takes::Json { schema: schema::<model::RetentionRequest>, max_bytes: SMALL_BYTES_MAX, optional: false },
        answers: &[(204, "It is set, and durable.", Gives::Nothing)],
        handle: |call| Box::pin(retention(call)),
    },
    look(
        "/v1/status",
        "status",
        "How the server is doing.",
        &[(200, "The status.", Gives::Json(schema::<model::Status>))],
        |call| Box::pin(status(call)),
    ),
    look(
        "/v1/bounds",
        "listBounds",
        "Every built-in limit, with its reason.",
        &[(200, "The limits.", Gives::Json(schema::<model::Bounds>))],
        |_| Box::pin(async { bounds() }),
    ),
    look(
        "/v1/errors",
        "listErrors",
        "Every error code.",
        &[(200, "The pages, in order of their codes.", Gives::Json(schema::<Vec<model::ErrorPage>>))],
        |_| Box::pin(async { errors() }),
    ),
    look(
        "/v1/errors/{code}",
        "showError",
        "The page of an error code (plain text for whoever prefers text, such as a browser).",
        &[(200, "The page.", Gives::Json(schema::<model::ErrorPage>))],
        |call| Box::pin(async move { error(&call) }),
    ),
    look("/v1/openapi.json", "openapi", "This document.", &[(200, "An OpenAPI 3.1 document.", Gives::AnyJson)], |_| {
        Box::pin(async { Ok(ok(&openapi())?) })
    }),
    look(
        "/healthz",
        "healthy",
        "Whether the server answers at all.",
        &[(200, "It does.", Gives::Json(schema::<model::Ready>))],
        |_| Box::pin(async { Ok(ok(&model::Ready { status: "ok".to_owned() })?) }),
    ),
    look(
        "/readyz",
        "ready",
        "Whether the server takes commands: 503 while it stops, and once it has halted.",
        &[(200, "It does.", Gives::Json(schema::<model::Ready>))],
        |call| Box::pin(ready(call)),
    ),
];

async fn retention(mut call: Call) -> Answer {
    let request: model::RetentionRequest = call.json().await?;
    call.engine().set_retention(&call.namespace, request.keep).await?;
    Ok(done())
}

async fn status(call: Call) -> Answer {
    Ok(ok(&call.engine().status_of(&call.namespace).await?)?)
}

fn bounds() -> Answer {
    let of = |limit: &limits::Limit| {
        let doc = limit.doc.split_whitespace().collect::<Vec<_>>().join(" ");
        model::Bound { name: limit.name.to_owned(), value: limit.value, doc }
    };
    Ok(ok(&model::Bounds { bounds: limits::ALL.iter().map(of).collect() })?)
}

fn page(code: Code) -> model::ErrorPage {
    let kind = serde_json::to_value(code.kind()).ok().and_then(|kind| kind.as_str().map(str::to_owned));
    let text = code.explain().lines().map(str::trim).collect::<Vec<_>>().join("\n");
    model::ErrorPage {
        code: code.to_string(),
        title: code.title().to_owned(),
        kind: kind.unwrap_or_default(),
        status: status_of(code).as_u16(),
        text,
    }
}

fn errors() -> Answer {
    let pages: Vec<_> = Code::ALL.iter().map(|code| page(*code)).collect();
    Ok(ok(&pages)?)
}

fn code(text: &str) -> Result<Code> {
    let number = text.strip_prefix(['C', 'c']).and_then(|number| number.parse().ok());
    number.and_then(Code::from_number).ok_or_else(|| {
        Error::new(Code::RouteNotFound, format!("there is no error code `{text}`"))
            .hint("`GET /v1/errors` lists every code")
    })
}

fn error(call: &Call) -> Answer {
    let page = page(code(call.path("code"))?);
    // The first that is named is what is liked best; a program that names nothing gets JSON.
    if call.header("accept")?.is_some_and(|accept| accept.trim_start().starts_with("text/")) {
        let text =
            format!("{}: {}\n\n{}\n\nkind: {}, status: {}\n", page.code, page.title, page.text, page.kind, page.status);
        return Ok(content(StatusCode::OK, "text/plain; charset=utf-8", text));
    }
    Ok(ok(&page)?)
}

async fn ready(call: Call) -> Answer {
    // The message may name files: whoever may see it asks for the status.
    call.engine().ready().await.map_err(|error| Error::new(error.code, error.code.title()))?;
    Ok(ok(&model::Ready { status: "ok".to_owned() })?)
}
