//! A request as its handler sees it: parameters and body of the operation's types.
//!
//! For: reading a request according to the specification. Not for: what it means.
//! Invariant: a parameter that is not declared is refused, so that a misspelt one is never silently without effect.

use axum::{
    body::Body,
    extract::{FromRequestParts as _, Query, RawPathParams, Request},
    http::{HeaderMap, header, request::Parts},
};
use consort_api::{Accepts, Entry, NAMESPACE_DEFAULT, Operation, Place, workflows::DeployRequest};
use consort_engine::Handle;
use consort_types::{Code, Error, Name, Result, limits};
use serde::de::DeserializeOwned;

use crate::{
    cloud_events,
    document::{self, Arrived},
    serve::Closing,
    state::Api,
};

/// Bytes of a body that is parsed on the async threads; a larger one would delay other requests.
const SMALL_BYTES_MAX: usize = 256 * 1024;
/// Bytes of a body that holds a workflow's source as a JSON text, in which a character may take six bytes.
const WORKFLOW_JSON_BYTES_MAX: usize = 6 * limits::WORKFLOW_BYTES_MAX + 1024;
/// Content types of YAML.
const YAML: [&str; 4] = ["application/yaml", "text/yaml", "application/x-yaml", "text/x-yaml"];

/// A request for an operation.
pub(crate) struct RequestContext<O: Operation> {
    pub(crate) api: Api,
    pub(crate) namespace: String,
    pub(crate) closing: Closing,
    pub(crate) params: O::Params,
    pub(crate) body: O::Body,
    /// The body's share of the memory is held as long as the request.
    _arrived: Arrived,
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(Code::BadRequest, message)
}

impl<O: Operation> RequestContext<O> {
    pub(crate) async fn read(entry: &'static Entry, api: Api, request: Request) -> Result<Self> {
        let (mut parts, body) = request.into_parts();
        let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let Query(query) = query.map_err(|error| bad(format!("the query cannot be read: {error}")))?;
        entry.check_query(&query)?;
        let namespace = query.iter().find(|(name, _)| name == "namespace");
        let namespace = namespace.map_or(NAMESPACE_DEFAULT, |(_, value)| value).to_owned();
        Name::check("namespace", &namespace)?;
        let mut given = path_of(&mut parts).await?;
        given.extend(query.into_iter().map(|(name, value)| (Place::Query, name, value)));
        for name in entry.spec.headers {
            given.extend(
                one_header(&parts.headers, name)?.map(|value| (Place::Header, (*name).to_owned(), value.to_owned())),
            );
        }
        let params = entry.read_params(&given)?;
        let closing = parts.extensions.get::<Closing>().cloned().unwrap_or_default();
        let (body, arrived) = Incoming { api: &api, headers: &parts.headers, body }.read(&entry.spec.accepts).await?;
        Ok(Self { api, namespace, closing, params, body, _arrived: arrived })
    }

    /// The engine.
    pub(crate) fn engine(&self) -> &Handle {
        self.api.engine()
    }
}

/// A body that has not been read.
struct Incoming<'a> {
    api: &'a Api,
    headers: &'a HeaderMap,
    body: Body,
}

impl Incoming<'_> {
    async fn read<T: DeserializeOwned + Send + 'static>(self, accepts: &Accepts) -> Result<(T, Arrived)> {
        match *accepts {
            Accepts::Nothing => Ok((document::parse("body", b"null")?, Arrived::default())),
            Accepts::Json { max_bytes, optional } => self.json("body", max_bytes, optional.then_some(b"{}")).await,
            Accepts::Document => self.json("document", limits::HTTP_BODY_BYTES_MAX, Some(b"null")).await,
            Accepts::Workflow => self.workflow().await,
            Accepts::CloudEvents => self.cloud_events().await,
        }
    }

    /// A JSON document; an empty body means `empty`.
    async fn json<T: DeserializeOwned + Send + 'static>(
        self,
        what: &'static str,
        max_bytes: usize,
        empty: Option<&'static [u8]>,
    ) -> Result<(T, Arrived)> {
        let headers = self.headers;
        let arrived = self.bytes(max_bytes).await?;
        if let (true, Some(empty)) = (arrived.bytes.is_empty(), empty) {
            return Ok((document::parse(what, empty)?, arrived));
        }
        content_type(headers, &["application/json"])?;
        let bytes = arrived.bytes.clone();
        Ok((off_thread(bytes, move |bytes| document::parse(what, bytes)).await?, arrived))
    }

    /// The source of a workflow, in whichever form it comes, as the document that a JSON body has.
    async fn workflow<T: DeserializeOwned>(self) -> Result<(T, Arrived)> {
        let json = content_type(self.headers, &[&["application/json"], &YAML[..]].concat())? == "application/json";
        let (source, arrived) = if json {
            let arrived = self.bytes(WORKFLOW_JSON_BYTES_MAX).await?;
            (document::parse::<DeployRequest>("body", &arrived.bytes)?.source, arrived)
        } else {
            let arrived = self.bytes(limits::WORKFLOW_BYTES_MAX).await?;
            let source = std::str::from_utf8(&arrived.bytes).map_err(|_| bad("the workflow is not UTF-8"))?;
            (source.to_owned(), arrived)
        };
        let (size, max) = (source.len(), limits::WORKFLOW_BYTES_MAX);
        if size > max {
            return Err(Error::new(Code::LimitReached, format!("the workflow has {size} bytes, the limit is {max}"))
                .hint("split it into child workflows"));
        }
        let document = serde_json::json!({ "source": source });
        let body = serde_json::from_value(document).map_err(|error| bad(format!("the body does not fit: {error}")))?;
        Ok((body, arrived))
    }

    /// Events, in whichever mode of CloudEvents they come, as the document that a JSON body has.
    async fn cloud_events<T: DeserializeOwned + Send + 'static>(self) -> Result<(T, Arrived)> {
        let headers = self.headers;
        let arrived = self.bytes(limits::HTTP_BODY_BYTES_MAX).await?;
        let bytes = arrived.bytes.clone();
        if cloud_events::is_binary(headers) {
            let attributes = cloud_events::attributes(headers)?;
            let whole = off_thread(bytes, move |data| cloud_events::with_data(attributes, data)).await?;
            let parsed = off_thread(whole.into(), |bytes| document::parse("event", bytes)).await?;
            return Ok((parsed, arrived));
        }
        content_type(headers, &cloud_events::MEDIA_TYPES)?;
        Ok((off_thread(bytes, |bytes| document::parse("body", bytes)).await?, arrived))
    }

    async fn bytes(self, max: usize) -> Result<Arrived> {
        let declared = self.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        document::read(self.body, declared, max, self.api.bodies()).await
    }
}

/// A header field, where it is there and is text.
fn one_header<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(bad(format!("the header `{name}` is there more than once")));
    }
    value.to_str().map(Some).map_err(|_| bad(format!("the header `{name}` is not plain text")))
}

/// The content type, which must be one of these. A page of another site cannot send any of them unasked.
fn content_type(headers: &HeaderMap, allowed: &[&'static str]) -> Result<&'static str> {
    let given = one_header(headers, "content-type")?.unwrap_or("");
    let name = given.split(';').next().unwrap_or("").trim();
    allowed.iter().find(|allowed| allowed.eq_ignore_ascii_case(name)).copied().ok_or_else(|| {
        let what =
            if name.is_empty() { "the body has no content type".to_owned() } else { format!("the body is `{name}`") };
        Error::new(Code::MediaType, format!("{what}, but must be `{}`", allowed.join("` or `")))
            .hint(format!("send the header `Content-Type: {}`", allowed[0]))
    })
}

/// Parses bytes; many of them on a blocking thread, so that other requests are not delayed.
async fn off_thread<T: Send + 'static>(
    bytes: bytes::Bytes,
    look: impl FnOnce(&[u8]) -> Result<T> + Send + 'static,
) -> Result<T> {
    if bytes.len() <= SMALL_BYTES_MAX {
        return look(&bytes);
    }
    let looked = tokio::task::spawn_blocking(move || look(&bytes)).await;
    looked.unwrap_or_else(|_| Err(Error::new(Code::Internal, "the body could not be parsed")))
}

async fn path_of(parts: &mut Parts) -> Result<Vec<(Place, String, String)>> {
    let params = RawPathParams::from_request_parts(parts, &()).await;
    let params = params.map_err(|error| bad(format!("the path cannot be read: {error}")))?;
    Ok(params.iter().map(|(name, value)| (Place::Path, name.to_owned(), value.to_owned())).collect())
}
