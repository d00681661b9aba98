//! The one client of the HTTP interface, whatever carries it.
//!
//! For: every command that looks at or changes runs. Not for: what is printed.
//! Invariant: a command does the same whether the engine is in this process or in another one.

pub(crate) mod calls;
mod events;
pub(crate) mod model;
pub(crate) mod registry;
mod transport;

use bytes::Bytes;
use consort_types::{Code, Error, Result};
use http_body_util::BodyExt as _;
use hyper::{Method, Response};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) use events::{Event, Events};
pub(crate) use transport::Transport;

/// Asks an engine.
#[derive(Clone)]
pub(crate) struct Client {
    transport: Transport,
    namespace: String,
    token: Option<String>,
}

/// A page of a listing.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    #[serde(default)]
    pub(crate) next: Option<String>,
}

impl Client {
    pub(crate) fn new(transport: Transport, namespace: &str, token: Option<&str>) -> Self {
        Self { transport, namespace: namespace.to_owned(), token: token.map(str::to_owned) }
    }

    /// The path of something, with the namespace in its query.
    fn path(&self, rest: &str) -> String {
        let mark = if rest.contains('?') { '&' } else { '?' };
        format!("/v1/{rest}{mark}namespace={}", quoted(&self.namespace))
    }

    /// Asks, and gives back the answer if it is a good one.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        headers: &[(&'static str, &str)],
    ) -> Result<Response<axum::body::Body>> {
        let mut request = hyper::Request::builder().method(method).uri(path);
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = http_body_util::Full::new(body.unwrap_or_default());
        let request = request
            .body(body)
            .map_err(|error| Error::new(Code::BadRequest, format!("`{path}` cannot be asked for: {error}")))?;
        let response = self.transport.send(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = read_body(response).await?;
        Err(problem(status, &body))
    }

    async fn json<T: DeserializeOwned>(&self, method: Method, path: &str, body: Option<&Value>) -> Result<T> {
        self.json_with(method, path, body, &[]).await
    }

    async fn json_with<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&'static str, &str)],
    ) -> Result<T> {
        let body = body.map(|body| Bytes::from(body.to_string()));
        let response = self.ask(method, path, body, headers).await?;
        let bytes = read_body(response).await?;
        let bytes = if bytes.is_empty() { Bytes::from_static(b"null") } else { bytes };
        serde_json::from_slice(&bytes).map_err(|error| {
            Error::new(Code::Internal, format!("the server's answer to `{path}` cannot be read: {error}"))
                .hint("use the same version of Consort on both sides")
        })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.json(Method::GET, path, None).await
    }
}

async fn read_body(response: Response<axum::body::Body>) -> Result<Bytes> {
    let collected = response.into_body().collect().await;
    collected.map(http_body_util::Collected::to_bytes).map_err(|error| {
        Error::new(Code::Unreachable, format!("the server's answer broke off: {error}")).hint("ask again")
    })
}

/// The error in an answer that is not a good one.
fn problem(status: u16, body: &[u8]) -> Error {
    read_problem(body).unwrap_or_else(|| {
        Error::new(Code::Unreachable, format!("the server answered `{status}`, and not as Consort does"))
            .hint("check the address; is something else listening there?")
    })
}

/// The error in an event of a stream.
pub(crate) fn problem_of(data: &str) -> Error {
    read_problem(data.as_bytes()).unwrap_or_else(|| Error::new(Code::Internal, "the server broke the stream off"))
}

fn read_problem(body: &[u8]) -> Option<Error> {
    #[derive(serde::Deserialize)]
    struct Problem {
        code: Code,
        detail: String,
        #[serde(default)]
        hint: Option<String>,
    }
    let Problem { code, detail, hint } = serde_json::from_slice(body).ok()?;
    Some(Error { code, message: detail, hint })
}

/// A text as a part of a path or query.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            other => {
                use std::fmt::Write as _;
                let _ = write!(out, "%{other:02X}");
            }
        }
    }
    out
}

/// A document of the server as the type that a command looks into.
pub(crate) fn understood<T: DeserializeOwned>(what: &str, document: Value) -> Result<T> {
    serde_json::from_value(document).map_err(|error| {
        Error::new(Code::Internal, format!("the server's {what} cannot be understood: {error}"))
            .hint("use the same version of Consort on both sides")
    })
}
