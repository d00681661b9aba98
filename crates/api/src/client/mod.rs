//! A client made from the table of operations.
//!
//! For: asking for any operation with its types, whatever carries the request. Not for: how the answer is used.
//! Invariant: no path, parameter or body is written outside the operation's declaration; a failure to reach the server is
//! `unreachable`, never taken for an answer of it.

mod events;
#[cfg(feature = "tcp")]
mod tcp;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use consort_types::{Code, Error, Result, Secret};
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use serde::de::DeserializeOwned;

pub use events::{Event, Events};
#[cfg(feature = "tcp")]
pub use tcp::Tcp;

use crate::{Accepts, Entry, Operation, Page, Place, Problem, Returns, Scope, operations};

/// The body of an answer, as it arrives.
pub type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// A way to a server, or to an engine in this process.
pub trait Transport: Send + Sync {
    /// Sends a request, and gives the head of the answer; its body follows as it arrives.
    ///
    /// # Errors
    /// [`Code::Unreachable`] where no answer comes.
    fn send(&self, request: Request<Full<Bytes>>) -> BoxFuture<'_, Result<Response<Body>>>;
}

/// Asks a server. Clones share the way to it.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
    namespace: String,
    /// The token, or why what was given is none.
    token: Option<Result<Secret>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Client {
    /// A client in the namespace [`crate::NAMESPACE_DEFAULT`], without a token.
    pub fn new(transport: impl Transport + 'static) -> Self {
        Self { transport: Arc::new(transport), namespace: crate::NAMESPACE_DEFAULT.to_owned(), token: None }
    }

    /// Works in another namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// The server's token. One that cannot be sent is an error of the first request.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(Secret::new("token", token.into()));
        self
    }

    /// Calls an operation.
    ///
    /// # Errors
    /// What the server refuses it with; [`Code::Unreachable`] where there is no answer; [`Code::Internal`] where the
    /// answer cannot be understood.
    pub async fn call<O: Operation>(&self, params: &O::Params, body: &O::Body) -> Result<O::Reply> {
        let response = self.ask::<O>(params, body, "application/json").await?;
        let bytes = read_body(response).await?;
        let reply = match O::SPEC.returns {
            Returns::Nothing => serde_json::from_slice(b"null"),
            Returns::Text(_) => serde_json::from_value(String::from_utf8_lossy(&bytes).into_owned().into()),
            Returns::Json | Returns::Document | Returns::Events => serde_json::from_slice(&bytes),
        };
        reply.map_err(|error| not_understood(O::SPEC.id, &error))
    }

    /// Calls an operation that answers with events.
    pub async fn events<O: Operation<Body = ()>>(&self, params: &O::Params) -> Result<Events<O::Reply>> {
        let response = self.ask::<O>(params, &(), "text/event-stream").await?;
        Ok(Events::new(response.into_body()))
    }

    /// Every item of a listing, page after page; `at` makes the parameters of the page that begins at a cursor.
    pub async fn all<O, T>(&self, mut at: impl FnMut(Option<String>) -> O::Params) -> Result<Vec<T>>
    where
        O: Operation<Body = (), Reply = Page<T>>,
    {
        let (mut items, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.call::<O>(&at(cursor), &()).await?;
            items.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                return Ok(items);
            }
        }
    }

    /// Sends the request, and gives back the answer if it is a good one.
    async fn ask<O: Operation>(&self, params: &O::Params, body: &O::Body, accept: &str) -> Result<Response<Body>> {
        let entry = entry_of::<O>();
        let mut request = Request::builder().method(O::SPEC.method.as_str()).header(header::ACCEPT, accept);
        let mut path = O::SPEC.path.to_owned();
        let mut query = Vec::new();
        if O::SPEC.scope == Scope::Namespace {
            query.push(format!("namespace={}", quoted(&self.namespace)));
        }
        for (place, name, value) in entry.write_params(params)? {
            match place {
                Place::Path => path = path.replace(&format!("{{{name}}}"), &quoted(&value)),
                Place::Query => query.push(format!("{}={}", quoted(&name), quoted(&value))),
                Place::Header => request = request.header(name, value),
            }
        }
        let uri = if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) };
        if let Some(token) = self.token.clone() {
            request = request.header(header::AUTHORIZATION, bearer(&token?)?);
        }
        let bytes = if O::SPEC.accepts == Accepts::Nothing {
            Bytes::new()
        } else {
            request = request.header(header::CONTENT_TYPE, "application/json");
            let written = serde_json::to_vec(body);
            written.map(Bytes::from).map_err(|error| cannot_ask(&uri, &error))?
        };
        let request = request.uri(&uri).body(Full::new(bytes)).map_err(|error| cannot_ask(&uri, &error))?;
        let response = self.transport.send(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        Err(problem(status, &read_body(response).await?))
    }
}

fn entry_of<O: Operation>() -> &'static Entry {
    let found = operations().iter().find(|entry| entry.spec.id == O::SPEC.id);
    found.expect("every operation is in the table")
}

fn bearer(token: &Secret) -> Result<HeaderValue> {
    let value = HeaderValue::try_from(format!("Bearer {}", token.expose()));
    let mut value = value.map_err(|_| {
        Error::new(Code::Denied, "the token has characters that cannot be sent")
            .hint("a token has visible ASCII characters alone")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn cannot_ask(uri: &str, error: &dyn fmt::Display) -> Error {
    Error::new(Code::BadRequest, format!("`{uri}` cannot be requested: {error}")).hint("check the names in it")
}

fn not_understood(what: &str, error: &serde_json::Error) -> Error {
    Error::new(Code::Internal, format!("the server's answer to `{what}` cannot be understood: {error}"))
        .hint("use the same version of Consort on both sides")
}

async fn read_body(response: Response<Body>) -> Result<Bytes> {
    let collected = response.into_body().collect().await;
    collected.map(http_body_util::Collected::to_bytes).map_err(|error| {
        Error::new(Code::Unreachable, format!("the server's answer broke off: {error}")).hint("ask again")
    })
}

/// The error in an answer that is not a good one.
fn problem(status: u16, body: &[u8]) -> Error {
    read::<Problem>(body).map_or_else(
        || {
            Error::new(Code::Unreachable, format!("the server answered `{status}`, and not as Consort does"))
                .hint("check the address; is something else listening there?")
        },
        Error::from,
    )
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

/// A text as a part of a path or query.
fn quoted(text: &str) -> String {
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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Mutex};

    use consort_types::registry::LimitScope;
    use serde_json::json;

    use super::*;
    use crate::{agents, operate, queues, runs, watch};

    /// The requests received: method, target, header fields and body.
    type Asked = (String, String, BTreeMap<String, String>, String);

    /// Gives every request the same answer, and keeps the requests.
    #[derive(Clone)]
    struct Script(Arc<Mutex<Vec<Asked>>>, u16, &'static str);

    impl Transport for Script {
        fn send(&self, request: Request<Full<Bytes>>) -> BoxFuture<'_, Result<Response<Body>>> {
            Box::pin(async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap_or_else(|never| match never {}).to_bytes();
                let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
                let headers = parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
                let asked =
                    (parts.method.to_string(), parts.uri.to_string(), headers, String::from_utf8(body.into()).unwrap());
                self.0.lock().unwrap().push(asked);
                let body = Full::new(Bytes::from_static(self.2.as_bytes())).map_err(|never| match never {});
                Ok(Response::builder().status(self.1).body(UnsyncBoxBody::new(body)).unwrap())
            })
        }
    }

    fn client(status: u16, answer: &'static str) -> (Client, Script) {
        let script = Script(Arc::default(), status, answer);
        (Client::new(script.clone()).namespace("a b").token("hush"), script)
    }

    #[tokio::test]
    async fn a_request_is_written_as_its_operation_says() {
        let (client, script) = client(204, "");
        let agent = agents::AgentParams { name: "writer".into(), version: Some("1.0+b 2".into()) };
        client.call::<agents::DrainAgent>(&agent, &operate::EmptyRequest {}).await.unwrap();
        let scope = queues::QuotaParams { scope: LimitScope::Key("tenant 7/x".into()) };
        client.call::<queues::RemoveQuota>(&scope, &()).await.unwrap();
        let asked = script.0.lock().unwrap().clone();
        assert_eq!(asked[0].0, "POST");
        assert_eq!(asked[0].1, "/v1/agents/writer/drain?namespace=a%20b&version=1.0%2Bb%202");
        assert_eq!((asked[0].2["authorization"].as_str(), asked[0].3.as_str()), ("Bearer hush", "{}"));
        assert_eq!(asked[1].1, "/v1/quotas/key%3Atenant%207%2Fx?namespace=a%20b");
        assert_eq!((asked[1].0.as_str(), asked[1].3.as_str()), ("DELETE", ""));
    }

    #[tokio::test]
    async fn header_parameters_travel_as_header_fields_and_documents_keep_their_bytes() {
        let (client, script) = client(201, r#"{"run": "01J8Z3K4M5N6P7Q8R9S0T1V2W3", "deduplicated": false}"#);
        let params = runs::StartParams { idempotency_key: Some("order-7".into()), traceparent: None };
        let body: runs::StartRequest = serde_json::from_str(r#"{"workflow": "w", "input": {"b": 1.50}}"#).unwrap();
        let started = client.call::<runs::StartRun>(&params, &body).await.unwrap();
        assert_eq!(started.run.to_string(), "01J8Z3K4M5N6P7Q8R9S0T1V2W3");
        let asked = script.0.lock().unwrap().remove(0);
        assert_eq!(asked.2["idempotency-key"], "order-7");
        assert_eq!(asked.3, r#"{"workflow":"w","input":{"b": 1.50}}"#);
    }

    #[tokio::test]
    async fn refusals_keep_their_code_and_other_answers_get_one() {
        let run = runs::ShowRunParams { run: consort_types::RunId([1; 16]), wait: None };
        let refused = Error::new(Code::RunNotFound, "there is none").hint("look");
        let text = serde_json::to_string(&Problem::of(&refused)).unwrap().leak();
        let error = client(404, text).0.call::<runs::ShowRun>(&run, &()).await.unwrap_err();
        assert_eq!(error, refused);
        for (status, text, code) in [(502, "<html>", Code::Unreachable), (200, "{}", Code::Internal)] {
            assert_eq!(client(status, text).0.call::<runs::ShowRun>(&run, &()).await.unwrap_err().code, code);
        }
    }

    #[tokio::test]
    async fn events_are_typed_and_unknown_ones_are_left_out() {
        let text = "retry: 1\n\nevent: news\ndata: {}\n\nevent: entry\nid: 4-0\ndata: {\"cursor\": \"4-0\", \
                    \"time\": \"2026-11-22T10:00:00Z\", \"event\": \"moved\"}\n\n";
        let (client, _) = client(200, text);
        let params = watch::WatchRunParams {
            run: consort_types::RunId([1; 16]),
            after: None,
            last_event_id: Some("3-0".into()),
        };
        let mut events = client.events::<watch::WatchRun>(&params).await.unwrap();
        let event = events.next().await.unwrap().unwrap();
        let watch::RunEvent::Entry(entry) = &event.what else { panic!("{event:?}") };
        assert_eq!((event.id.as_str(), json!(entry.event)), ("4-0", json!("moved")));
        assert!(events.next().await.unwrap().is_none());
    }

    #[test]
    fn the_token_is_never_shown() {
        let (client, _) = client(200, "");
        assert!(!format!("{client:?}").contains("hush"));
    }
}
