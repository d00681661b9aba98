//! The server itself: namespaces, status, backups, limits, error pages, its description, the probes.
//!
//! For: what is not about one run, workflow or agent. Not for: configuration (a server's is read at its start).
//! Invariant: a probe reveals nothing but its own result, because it needs no token.

use std::path::PathBuf;

use axum::http::StatusCode;
use consort_api::{
    Items,
    backup::MakeBackup,
    namespaces::ListNamespaces,
    openapi,
    server::{
        BuiltInLimit, ErrorPage, Healthy, IsReady, ListErrors, ListLimits, OpenApi, Ready, ShowError, ShowStatus,
    },
    status_of,
};
use consort_types::{Code, Error, Result, limits};

use crate::{
    answer::{ResponseBody, text_of},
    convert,
    request::RequestContext,
    route::{Handled, Route, route},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route::<ListNamespaces, _>(namespaces),
        route::<ShowStatus, _>(status),
        route::<MakeBackup, _>(backup),
        route::<ListLimits, _>(|_| async { Ok(ResponseBody::Reply(built_in_limits())) }),
        route::<ListErrors, _>(|_| async { Ok(ResponseBody::Reply(errors())) }),
        route::<ShowError, _>(error),
        route::<OpenApi, _>(|_| async { Ok(ResponseBody::Reply(openapi().into())) }),
        route::<Healthy, _>(|_| async { Ok(ResponseBody::Reply(Ready { status: "ok".to_owned() })) }),
        route::<IsReady, _>(ready),
    ]
}

async fn namespaces(request: RequestContext<ListNamespaces>) -> Handled<ListNamespaces> {
    let page = request.engine().namespaces(request.params.cursor.clone(), request.params.limit).await?;
    Ok(ResponseBody::Reply(convert::page(page, convert::namespace)))
}

async fn status(request: RequestContext<ShowStatus>) -> Handled<ShowStatus> {
    Ok(ResponseBody::Reply(convert::status(request.engine().status_of(&request.namespace).await?)))
}

async fn backup(request: RequestContext<MakeBackup>) -> Handled<MakeBackup> {
    let folder = request.body.folder.clone();
    let made = request.engine().backup(PathBuf::from(&folder)).await?;
    Ok(ResponseBody::Reply(convert::backup(folder, &made)))
}

fn built_in_limits() -> Items<BuiltInLimit> {
    let of = |limit: &limits::Limit| {
        let doc = limit.doc.split_whitespace().collect::<Vec<_>>().join(" ");
        BuiltInLimit { name: limit.name.to_owned(), value: limit.value, doc }
    };
    Items { items: limits::ALL.iter().map(of).collect() }
}

fn page(code: Code) -> ErrorPage {
    let kind = serde_json::to_value(code.kind()).ok().and_then(|kind| kind.as_str().map(str::to_owned));
    let text = code.explain().lines().map(str::trim).collect::<Vec<_>>().join("\n");
    ErrorPage {
        code: code.to_string(),
        title: code.title().to_owned(),
        kind: kind.unwrap_or_default(),
        status: status_of(code),
        text,
    }
}

fn errors() -> Items<ErrorPage> {
    Items { items: Code::ALL.iter().map(|code| page(*code)).collect() }
}

fn code(text: &str) -> Result<Code> {
    let number = text.strip_prefix(['C', 'c']).and_then(|number| number.parse().ok());
    number.and_then(Code::from_number).ok_or_else(|| {
        Error::new(Code::RouteNotFound, format!("there is no error code `{text}`"))
            .hint("`GET /v1/errors` lists every code")
    })
}

async fn error(request: RequestContext<ShowError>) -> Handled<ShowError> {
    let page = page(code(&request.params.code)?);
    // The first that is named is what is liked best; a program that names nothing gets JSON.
    if request.params.accept.as_deref().is_some_and(|accept| accept.trim_start().starts_with("text/")) {
        let ErrorPage { code, title, kind, status, text } = page;
        let text = format!("{code}: {title}\n\n{text}\n\nkind: {kind}, status: {status}\n");
        return Ok(ResponseBody::Raw(text_of(StatusCode::OK, "text/plain", &text)));
    }
    Ok(ResponseBody::Reply(page))
}

async fn ready(request: RequestContext<IsReady>) -> Handled<IsReady> {
    // The message may name files: only the status, which needs the token, has it.
    request.engine().ready().await.map_err(|error| Error::new(error.code, error.code.title()))?;
    Ok(ResponseBody::Reply(Ready { status: "ok".to_owned() }))
}
