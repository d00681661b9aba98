//! A request as its handler sees it.
//!
//! For: reading parameters and body, each checked, each refused with its name. Not for: what they mean.
//! Invariant: a parameter that is not read by anybody is refused, so that a misspelt one is never silently without
//! effect.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{FromRequestParts as _, Query, RawPathParams, Request},
    http::{HeaderMap, header, request::Parts},
};
use consort_engine::Handle;
use consort_types::{Code, Error, Name, Payload, Result, RunId, Span, TaskId, limits};
use serde::de::DeserializeOwned;

use crate::{
    document::{self, Arrived},
    route::{Kind, Param, Route, Takes},
    router::Api,
    serve::Closing,
};

/// Bytes of a body that only holds names and numbers.
pub(crate) const SMALL_BYTES_MAX: usize = 256 * 1024;
/// Bytes of a body that holds a workflow's source as a JSON text, in which a character may take six bytes.
const WORKFLOW_JSON_BYTES_MAX: usize = 6 * limits::WORKFLOW_BYTES_MAX + 1024;
/// Content types of YAML.
const YAML: [&str; 4] = ["application/yaml", "text/yaml", "application/x-yaml", "text/x-yaml"];
/// Items on a page for which no number was asked.
const PAGE_ITEMS_DEFAULT: usize = 100;

/// A request.
pub(crate) struct Call {
    pub(crate) api: Api,
    pub(crate) namespace: String,
    pub(crate) closing: Closing,
    route: &'static Route,
    path: Vec<(String, String)>,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    /// Read by one handler alone; the lock only lets a request be shared while a read waits.
    body: Mutex<Body>,
    /// The body's bytes, and their share of the memory, live as long as the request.
    arrived: Arrived,
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(Code::BadRequest, message)
}

impl Call {
    pub(crate) async fn read(route: &'static Route, api: Api, request: Request) -> Result<Self> {
        let (mut parts, body) = request.into_parts();
        let path = path_of(&mut parts).await?;
        let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let Query(query) = query.map_err(|error| bad(format!("the query cannot be read: {error}")))?;
        check_query(route, &query)?;
        let namespace = query.iter().find(|(name, _)| name == "namespace").map_or("default", |(_, value)| value);
        Name::check("namespace", namespace)?;
        let closing = parts.extensions.get::<Closing>().cloned().unwrap_or_default();
        let namespace = namespace.to_owned();
        let arrived = Arrived::default();
        Ok(Self {
            api,
            namespace,
            closing,
            route,
            path,
            query,
            headers: parts.headers,
            body: Mutex::new(body),
            arrived,
        })
    }

    /// The engine.
    pub(crate) fn engine(&self) -> &Handle {
        self.api.engine()
    }

    /// A part of the path.
    pub(crate) fn path(&self, name: &str) -> &str {
        let found = self.path.iter().find(|(known, _)| known == name);
        &found.expect("a handler reads the parts of its own path").1
    }

    /// The run that the path names.
    pub(crate) fn run(&self) -> Result<RunId> {
        self.path("run").parse()
    }

    /// The task that the path names.
    pub(crate) fn task(&self) -> Result<TaskId> {
        self.path("task").parse()
    }

    /// A parameter of the query.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        assert!(self.route.query.iter().any(|param| param.fits(name)), "the route describes `{name}`");
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Every parameter of the query that begins with `prefix`, without it.
    pub(crate) fn query_with(&self, prefix: &'static str) -> impl Iterator<Item = (&str, &str)> {
        self.query.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }

    /// Whether a flag of the query is set.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.query(name) == Some("true")
    }

    /// The page that is asked for: where it begins, and how long it is.
    pub(crate) fn page(&self) -> (Option<String>, usize) {
        (self.query("cursor").map(str::to_owned), self.limit())
    }

    /// How many items are asked for.
    pub(crate) fn limit(&self) -> usize {
        self.query("limit").and_then(|limit| limit.parse().ok()).unwrap_or(PAGE_ITEMS_DEFAULT)
    }

    /// How long the client will wait, at most `max`.
    pub(crate) fn wait(&self, max: Span) -> Result<Option<Duration>> {
        let Some(wait) = self.query("wait") else { return Ok(None) };
        let wait: Span = wait.parse()?;
        if wait > max {
            return Err(bad(format!("`wait` is `{wait}`, the limit is `{max}`")).hint("ask again when it is over"));
        }
        Ok(Some(wait.to_std()))
    }

    /// A header field, where it is there and is text.
    pub(crate) fn header(&self, name: &str) -> Result<Option<&str>> {
        let mut values = self.headers.get_all(name).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(bad(format!("the header `{name}` is there more than once")));
        }
        value.to_str().map(Some).map_err(|_| bad(format!("the header `{name}` is not plain text")))
    }

    /// The body as the type that the route describes.
    pub(crate) async fn json<T: DeserializeOwned + Send + 'static>(&mut self) -> Result<T> {
        let Takes::Json { max_bytes, optional, .. } = self.route.takes else {
            panic!("the route describes a JSON body");
        };
        let bytes = self.bytes(max_bytes).await?;
        if bytes.is_empty() && optional {
            return document::parse("body", b"{}");
        }
        self.content_type(&["application/json"])?;
        off_thread(bytes, |bytes| document::parse("body", bytes)).await
    }

    /// The body as a document of any form.
    pub(crate) async fn document(&mut self, what: &str) -> Result<Payload> {
        assert!(matches!(self.route.takes, Takes::Any), "the route describes any document");
        let bytes = self.bytes(limits::HTTP_BODY_BYTES_MAX).await?;
        if bytes.is_empty() {
            return Ok(Payload::null());
        }
        self.content_type(&["application/json"])?;
        let what = what.to_owned();
        off_thread(bytes, move |bytes| {
            consort_engine::check_document(&what, bytes)?;
            Ok(Payload::inline(bytes))
        })
        .await
    }

    /// The body as a workflow's source.
    pub(crate) async fn source(&mut self) -> Result<String> {
        assert!(matches!(self.route.takes, Takes::Workflow { .. }), "the route describes a workflow");
        let json = self.content_type(&[&["application/json"], &YAML[..]].concat())? == "application/json";
        let source = if json {
            let bytes = self.bytes(WORKFLOW_JSON_BYTES_MAX).await?;
            document::parse::<crate::model::DeployRequest>("body", &bytes)?.source
        } else {
            let bytes = self.bytes(limits::WORKFLOW_BYTES_MAX).await?;
            String::from_utf8(bytes.to_vec()).map_err(|_| bad("the workflow is not UTF-8"))?
        };
        let (size, max) = (source.len(), limits::WORKFLOW_BYTES_MAX);
        if size > max {
            return Err(Error::new(Code::LimitReached, format!("the workflow has {size} bytes, the limit is {max}"))
                .hint("split it into child workflows"));
        }
        Ok(source)
    }

    async fn bytes(&mut self, max: usize) -> Result<bytes::Bytes> {
        let declared = self.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let body = std::mem::take(self.body.get_mut().unwrap_or_else(PoisonError::into_inner));
        self.arrived = document::read(body, declared, max, self.api.bodies()).await?;
        Ok(self.arrived.bytes.clone())
    }

    /// The content type, which must be one of these. A page of another site cannot send any of them unasked.
    fn content_type(&self, allowed: &[&'static str]) -> Result<&'static str> {
        let given = self.header("content-type")?.unwrap_or("");
        let name = given.split(';').next().unwrap_or("").trim();
        allowed.iter().find(|allowed| allowed.eq_ignore_ascii_case(name)).copied().ok_or_else(|| {
            let what = if name.is_empty() {
                "the body has no content type".to_owned()
            } else {
                format!("the body is `{name}`")
            };
            Error::new(Code::MediaType, format!("{what}, but must be `{}`", allowed.join("` or `")))
                .hint(format!("send the header `Content-Type: {}`", allowed[0]))
        })
    }
}

/// Looks through bytes; through many of them off the async threads, which others wait for.
async fn off_thread<T: Send + 'static>(
    bytes: bytes::Bytes,
    look: impl FnOnce(&[u8]) -> Result<T> + Send + 'static,
) -> Result<T> {
    if bytes.len() <= SMALL_BYTES_MAX {
        return look(&bytes);
    }
    let looked = tokio::task::spawn_blocking(move || look(&bytes)).await;
    looked.unwrap_or_else(|_| Err(Error::new(Code::Internal, "the body could not be looked through")))
}

async fn path_of(parts: &mut Parts) -> Result<Vec<(String, String)>> {
    let params = RawPathParams::from_request_parts(parts, &()).await;
    let params = params.map_err(|error| bad(format!("the path cannot be read: {error}")))?;
    Ok(params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// Refuses parameters that the route does not describe, that come twice, or that have another form.
fn check_query(route: &Route, query: &[(String, String)]) -> Result<()> {
    for (at, (name, value)) in query.iter().enumerate() {
        if query[..at].iter().any(|(before, _)| before == name) {
            return Err(bad(format!("the parameter `{name}` is there more than once")));
        }
        if route.namespaced && name == "namespace" {
            continue;
        }
        match route.query.iter().find(|param| param.fits(name)) {
            Some(param) => check_value(param, name, value)?,
            None => return Err(unknown_parameter(route, name)),
        }
    }
    Ok(())
}

fn unknown_parameter(route: &Route, name: &str) -> Error {
    let namespace = route.namespaced.then_some("namespace");
    let known: Vec<_> = route.query.iter().map(|param| param.name).chain(namespace).collect();
    let hint = if known.is_empty() { "it takes none".to_owned() } else { format!("it takes `{}`", known.join("`, `")) };
    bad(format!("`{name}` is not a parameter of `{}`", route.path)).hint(hint)
}

fn check_value(param: &Param, name: &str, value: &str) -> Result<()> {
    match param.kind {
        Kind::Text => Ok(()),
        Kind::Count { max } => match value.parse::<usize>() {
            Ok(count) if (1..=max).contains(&count) => Ok(()),
            _ => Err(bad(format!("`{name}` is `{value}`, but must be a number from 1 to {max}"))),
        },
        Kind::Flag if matches!(value, "true" | "false") => Ok(()),
        Kind::Flag => Err(bad(format!("`{name}` is `{value}`, but must be `true` or `false`"))),
        Kind::Word(words) if words.contains(&value) => Ok(()),
        Kind::Word(words) => Err(bad(format!("`{name}` is `{value}`, but must be one of `{}`", words.join("`, `")))),
    }
}
