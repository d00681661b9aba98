//! Requests over TCP.
//!
//! For: HTTP/1.1 to `HOST:PORT`, with connections that are kept and used again. Not for: TLS (a proxy ends it).
//! Invariant: a request is sent once: only one of which nothing has left is sent on another connection.

use std::{fmt, time::Duration};

use bytes::Bytes;
use consort_types::{Code, Error, Result};
use futures::future::BoxFuture;
use http::{
    Request, Response, Uri,
    uri::{Authority, Scheme},
};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use super::{Body, Transport};

/// How long a server may take to accept a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// The way to the server at an address. Clones share the connections.
#[derive(Clone)]
pub struct Tcp {
    authority: Authority,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl fmt::Debug for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tcp").field(&self.authority).finish()
    }
}

impl Tcp {
    /// The way to `HOST:PORT`, with or without `http://` before and `/` behind it.
    ///
    /// # Errors
    /// [`Code::BadRequest`] where it is no such address. Whether a server is there is seen at the first request.
    pub fn new(address: &str) -> Result<Self> {
        let bad = |what: &str| {
            Error::new(Code::BadRequest, format!("`{address}` is no address of a server: {what}"))
                .hint("write it like `127.0.0.1:7878` or `http://127.0.0.1:7878`")
        };
        let plain = match address.split_once("://") {
            Some(("http", rest)) => rest,
            Some(("https", _)) => {
                return Err(bad("this client does not speak TLS itself")
                    .hint("let a proxy on this machine end TLS, and give its `http://` address"));
            }
            Some(_) => return Err(bad("it does not begin with `http://`")),
            None => address,
        };
        let plain = plain.trim_end_matches('/');
        let authority: Authority = plain.parse().map_err(|_| bad("it is not `HOST:PORT`"))?;
        if authority.port_u16().is_none() || plain.contains('@') {
            return Err(bad("it is not `HOST:PORT`"));
        }
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_WITHIN));
        // Requests are small and wait for their answer.
        connector.set_nodelay(true);
        Ok(Self { authority, client: Client::builder(TokioExecutor::new()).build(connector) })
    }

    async fn exchange(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Body>> {
        let mut target = std::mem::take(request.uri_mut()).into_parts();
        target.scheme = Some(Scheme::HTTP);
        target.authority = Some(self.authority.clone());
        *request.uri_mut() = Uri::from_parts(target).map_err(|error| self.unreachable(&error))?;
        match self.client.request(request).await {
            Ok(response) => Ok(response.map(|body| body.map_err(Into::into).boxed_unsync())),
            Err(error) => Err(self.unreachable(&cause(&error))),
        }
    }

    fn unreachable(&self, reason: &dyn fmt::Display) -> Error {
        Error::new(Code::Unreachable, format!("`{}` cannot be reached: {reason}", self.authority))
            .hint("is the server running? `consort up` starts one")
    }
}

/// The innermost reason, which names the operating system's error.
fn cause(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = error.to_string();
        next = error.source();
    }
    text
}

impl Transport for Tcp {
    fn send(&self, request: Request<Full<Bytes>>) -> BoxFuture<'_, Result<Response<Body>>> {
        Box::pin(self.exchange(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_they_are_printed_and_others_are_refused_by_name() {
        for address in ["127.0.0.1:7878", "localhost:7878", "http://[::1]:7878/"] {
            assert!(Tcp::new(address).is_ok(), "{address}");
        }
        for address in ["", "localhost", "localhost:x", "ftp://a:1", "https://a:1", "a b:1", "http://a:1/b", "u@a:1"] {
            let error = Tcp::new(address).unwrap_err();
            assert!(error.code == Code::BadRequest && error.hint.is_some(), "{address}: {error}");
        }
    }
}
