//! The way to a server: address, token, one shared HTTP/2 connection.
//!
//! For: workers and clients. Not for: the messages on it.
//! Invariant: the token is in no error and no debug output; every failure comes out as [`Error`] with a stable code.

use std::{sync::Arc, time::Duration};

use consort_proto::{convert::error_from_wire, v1};
use consort_types::{Code, Error, Result, Secret};
use parking_lot::Mutex;
use prost::Message as _;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

/// Where a refused call carries its [`v1::Error`].
const ERROR_HEADER: &str = "consort-error-bin";
/// How long the server may take to accept a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How often a silent connection is tried, and how long the answer may take: a host that went away without a word is
/// noticed within both together.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_WITHIN: Duration = Duration::from_secs(10);
/// Bytes that the server may send ahead on a stream, and on all streams of the connection.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

/// See the module. Clones share the connection.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    url: String,
    /// What was given as the token, or why it is none.
    token: Option<Result<Secret>>,
    channel: Arc<Mutex<Option<Channel>>>,
}

impl Link {
    pub(crate) fn new(url: String) -> Self {
        Self { url, token: None, channel: Arc::default() }
    }

    pub(crate) fn token(&mut self, token: String) {
        self.token = Some(Secret::new("token", token));
    }

    /// The connection; it is made when it is first used, and made again when it was lost.
    pub(crate) fn channel(&self) -> Result<Channel> {
        let mut channel = self.channel.lock();
        if let Some(channel) = &*channel {
            return Ok(channel.clone());
        }
        let made = self.endpoint()?.connect_lazy();
        *channel = Some(made.clone());
        Ok(made)
    }

    fn endpoint(&self) -> Result<Endpoint> {
        let bad = |what: &str| {
            let message = format!("`{}` is no address of a server: {what}", self.url);
            Error::new(Code::BadRequest, message).hint("write it like `127.0.0.1:7878` or `http://127.0.0.1:7878`")
        };
        // As `consort up` prints it, or without a scheme, it means the same.
        let plain = self.url.strip_prefix("grpc://").unwrap_or(&self.url);
        let url = if plain.contains("://") { plain.to_owned() } else { format!("http://{plain}") };
        let endpoint = Endpoint::from_shared(url).map_err(|_| bad("it is not a URL"))?;
        match endpoint.uri().scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(bad("this SDK does not speak TLS itself")
                    .hint("let a proxy on this machine end TLS, and give its `http://` address"));
            }
            _ => return Err(bad("it does not begin with `http://`")),
        }
        Ok(endpoint
            .connect_timeout(CONNECT_WITHIN)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_WITHIN)
            .keep_alive_while_idle(true))
    }

    /// A request that carries the token.
    pub(crate) fn request<T>(&self, message: T) -> Result<Request<T>> {
        let mut request = Request::new(message);
        if let Some(token) = self.token.clone() {
            let token = token?;
            let mut header: MetadataValue<Ascii> = format!("Bearer {}", token.expose()).parse().map_err(|_| {
                Error::new(Code::Denied, "the token has characters that cannot be sent")
                    .hint("a token has visible ASCII characters alone")
            })?;
            header.set_sensitive(true);
            request.metadata_mut().insert("authorization", header);
        }
        Ok(request)
    }

    /// Why a call failed.
    pub(crate) fn error(&self, status: &Status) -> Error {
        let sent = status.metadata().get_bin(ERROR_HEADER).and_then(|value| value.to_bytes().ok());
        if let Some(error) = sent.and_then(|bytes| v1::Error::decode(bytes).ok()) {
            return error_from_wire(error);
        }
        let message = status.message();
        match status.code() {
            tonic::Code::Unauthenticated | tonic::Code::PermissionDenied => {
                Error::new(Code::Denied, format!("the server at `{}` denied the call: {message}", self.url))
                    .hint("give the token that the server was started with")
            }
            tonic::Code::Unimplemented => {
                Error::new(Code::RouteNotFound, format!("the server at `{}` does not know this call", self.url))
                    .hint("is it the address (port 7878 by default) of a Consort server of this version, with `grpc-listen` not set to another one?")
            }
            tonic::Code::OutOfRange | tonic::Code::ResourceExhausted => {
                Error::new(Code::PayloadTooLarge, format!("a message is too large: {message}"))
            }
            tonic::Code::InvalidArgument => Error::new(Code::BadRequest, message),
            // A status without an `Error` does not come from Consort: the connection broke, or could not be opened.
            _ => self.unreachable(&cause(status)),
        }
    }

    /// The server is not there, or does not answer.
    pub(crate) fn unreachable(&self, why: &str) -> Error {
        Error::new(Code::Unreachable, format!("the server at `{}` could not be reached: {why}", self.url))
            .hint("is it running? `consort up` starts one")
    }
}

/// The innermost reason, which names the operating system's error.
fn cause(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut next = std::error::Error::source(status);
    while let Some(error) = next {
        text = error.to_string();
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use tonic::metadata::MetadataMap;

    use super::*;

    fn link(url: &str) -> Link {
        Link::new(url.into())
    }

    #[test]
    fn addresses_that_cannot_work_are_refused_by_name() {
        for (url, expected) in [
            ("ftp://127.0.0.1:7878", "it does not begin with `http://`"),
            ("http://a b", "it is not a URL"),
            ("https://example.org", "this SDK does not speak TLS itself"),
        ] {
            let error = link(url).channel().unwrap_err();
            assert_eq!(error.code, Code::BadRequest, "{url}");
            assert_eq!(error.message, format!("`{url}` is no address of a server: {expected}"));
        }
    }

    #[tokio::test]
    async fn addresses_are_taken_as_they_are_printed() {
        for url in ["127.0.0.1:7878", "localhost:7878", "grpc://127.0.0.1:7878", "http://[::1]:7878/"] {
            assert!(link(url).channel().is_ok(), "{url}");
        }
    }

    #[test]
    fn a_refusal_keeps_its_code_and_other_failures_get_one() {
        let link = link("http://127.0.0.1:1");
        let sent = v1::Error { code: "C0302".into(), message: "too late".into(), hint: "stop".into() };
        let mut metadata = MetadataMap::new();
        metadata.insert_bin(ERROR_HEADER, MetadataValue::from_bytes(&sent.encode_to_vec()));
        let status = Status::with_metadata(tonic::Code::FailedPrecondition, "too late", metadata);
        assert_eq!(link.error(&status), Error::new(Code::Fenced, "too late").hint("stop"));
        for (code, expected) in [
            (tonic::Code::Unauthenticated, Code::Denied),
            (tonic::Code::Unimplemented, Code::RouteNotFound),
            (tonic::Code::Unavailable, Code::Unreachable),
            (tonic::Code::Unknown, Code::Unreachable),
            (tonic::Code::InvalidArgument, Code::BadRequest),
            (tonic::Code::OutOfRange, Code::PayloadTooLarge),
        ] {
            assert_eq!(link.error(&Status::new(code, "why")).code, expected, "{code}");
        }
    }

    #[test]
    fn the_token_is_sent_and_never_shown() {
        let mut link = link("http://127.0.0.1:1");
        link.token("hush".into());
        assert!(!format!("{link:?}").contains("hush"));
        let request = link.request(()).unwrap();
        assert_eq!(request.metadata().get("authorization").unwrap(), "Bearer hush");
        link.token("new\nline".into());
        let error = link.request(()).unwrap_err();
        assert!(error.code == Code::Denied && !error.to_string().contains("line"));
    }
}
