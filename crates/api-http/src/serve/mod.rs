//! The serve loop: connections with timeouts and a cap.
//!
//! For: keeping a slow, silent or greedy client from costing more than its own connection. Not for: what is asked
//! over it (the router's matter).
//! Invariant: no connection waits for ever: for a head, a body, or for its client to read; and when the loop is told
//! to stop, it ends within its bound.

mod body;
mod stream;

use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use consort_listen::{Bounds, accept};
use consort_types::{Result, limits};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tower::ServiceExt as _;

use crate::access::Peer;
use body::TimedBody;
use stream::TimedStream;

/// The waits and amounts of the serve loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeConfig {
    /// How long the head of a request may take, and how long a connection may be idle before its next one.
    pub header_timeout: Duration,
    /// How long the whole body of a request may take.
    pub body_timeout: Duration,
    /// How long a client may leave an answer unread.
    pub write_timeout: Duration,
    /// How long requests in flight may take after the loop was told to stop.
    pub drain_timeout: Duration,
    /// Connections at once; one more is answered 503 and closed.
    pub connections_max: usize,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_mins(1),
            write_timeout: Duration::from_mins(1),
            drain_timeout: Duration::from_secs(10),
            connections_max: limits::HTTP_CONNECTIONS_MAX,
        }
    }
}

/// Tells long answers that the server stops. Without a server (a call in this process) it never comes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Closing(Option<watch::Receiver<bool>>);

impl Closing {
    /// Ends when the server stops.
    pub(crate) async fn closed(self) {
        match self.0 {
            // Where the loop is gone, it has stopped too.
            Some(mut closing) => drop(closing.wait_for(|closing| *closing).await),
            None => std::future::pending().await,
        }
    }
}

/// What excess connections are told; they were not read from, so the answer is the same for all.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\n\
connection: close\r\ncontent-length: 138\r\n\r\n\
{\"type\":\"/v1/errors/C0401\",\"title\":\"overloaded\",\"status\":503,\"detail\":\"too many connections\",\"code\":\"C0401\",\"hint\":\"try again after `1s`\"}";

/// Serves a router on a listener until `shutdown` ends, and then until the requests in flight have ended, at most
/// [`ServeConfig::drain_timeout`].
///
/// # Errors
/// None today: a listener that refuses to accept is asked again, for it may recover.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    config: ServeConfig,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<()> {
    let bounds = Bounds { connections_max: config.connections_max, drain_timeout: config.drain_timeout };
    let config = Arc::new(config);
    let connect = |stream, peer, closing| {
        let closing = Closing(Some(closing));
        Shared { router: router.clone(), config: Arc::clone(&config), closing }.connection(stream, peer)
    };
    accept(listener, bounds, connect, refuse, shutdown).await;
    Ok(())
}

/// Says once, without waiting, that there is no room; the connection closes with the stream.
fn refuse(stream: &TcpStream) {
    // A client that cannot even take this finds its connection closed.
    let _ = stream.try_write(FULL);
}

#[derive(Clone)]
struct Shared {
    router: Router,
    config: Arc<ServeConfig>,
    closing: Closing,
}

impl Shared {
    /// One connection, from its first byte to its last.
    async fn connection(self, stream: TcpStream, peer: SocketAddr) {
        let stream = TokioIo::new(TimedStream::new(stream, self.config.write_timeout));
        let (closing, header_timeout) = (self.closing.clone(), self.config.header_timeout);
        let service = service_fn(move |request| self.clone().answer(request, peer));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header_timeout)
            .max_buf_size(limits::HTTP_HEAD_BYTES_MAX)
            .serve_connection(stream, service);
        let mut connection = pin!(connection);
        // How a connection ends is its client's matter: broken, timed out and closed all mean that it is gone.
        tokio::select! {
            _ = connection.as_mut() => return,
            () = closing.closed() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }

    async fn answer(self, request: Request<Incoming>, peer: SocketAddr) -> Result<Response<Body>, Infallible> {
        let timeout = self.config.body_timeout;
        let mut request = request.map(|body| Body::new(TimedBody::new(body, timeout)));
        request.extensions_mut().insert(Peer::Address(peer));
        request.extensions_mut().insert(self.closing);
        self.router.oneshot(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_is_a_whole_answer() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
        let problem: consort_api::Problem = serde_json::from_str(body).unwrap();
        let code = consort_types::Code::Overloaded;
        assert_eq!((problem.code, problem.title.as_str()), (code.to_string(), code.title()));
    }
}
