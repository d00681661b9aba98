//! How requests travel: to the router in this process, or over TCP.
//!
//! For: one `send` for both. Not for: what is asked.
//! Invariant: a failure to reach the server is `unreachable`, never taken for an answer of it.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use consort_types::{Code, Error, Result};
use http_body_util::Full;
use hyper::{Request, Response, header::HOST};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::ServiceExt as _;

/// How long a server may take to accept a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// A way to an engine.
#[derive(Clone)]
pub(crate) enum Transport {
    /// The engine of this process.
    Local(axum::Router),
    /// The server at `HOST:PORT`.
    Tcp(String),
}

impl Transport {
    /// Sends a request and gives back the answer's head; its body follows as it arrives.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Body>> {
        match self {
            Self::Local(router) => {
                let answered = router.clone().oneshot(request.map(Body::new)).await;
                Ok(answered.unwrap_or_else(|never| match never {}))
            }
            Self::Tcp(address) => over_tcp(address, request).await,
        }
    }
}

/// One connection a request: commands ask few things.
async fn over_tcp(address: &str, mut request: Request<Full<Bytes>>) -> Result<Response<Body>> {
    let unreachable = |reason: String| {
        Error::new(Code::Unreachable, format!("`{address}` cannot be reached: {reason}"))
            .hint("is the server running? `consort up` starts one; `--server` names another")
    };
    let host = address.parse().map_err(|_| unreachable("it is not an address".into()))?;
    request.headers_mut().insert(HOST, host);
    let connected = tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(address)).await;
    let stream = match connected {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(unreachable(error.to_string())),
        Err(_) => return Err(unreachable(format!("no answer within {} s", CONNECT_WITHIN.as_secs()))),
    };
    // Requests are small and wait for their answer; without it the only cost is time.
    let _ = stream.set_nodelay(true);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| unreachable(e.to_string()))?;
    tokio::spawn(async move {
        // What breaks the connection is seen by whoever reads the answer.
        let _ = connection.await;
    });
    let response = sender.send_request(request).await.map_err(|error| unreachable(error.to_string()))?;
    Ok(response.map(Body::new))
}
