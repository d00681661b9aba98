//! The serve loop: connections with timeouts and a cap.
//!
//! For: keeping a slow, silent or greedy client from costing more than its own connection. Not for: what is asked
//! over it (the router's matter).
//! Invariant: no connection waits for ever: for a head, a body, or for its client to read; and when the loop is told
//! to stop, it ends within its bound.

mod body;
mod stream;

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use consort_types::{Result, limits};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
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

/// After a refused accept: first this long, then twice as long each time, up to the second.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

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
    let (stop, closing) = watch::channel(false);
    let seats = Arc::new(Semaphore::new(config.connections_max.min(Semaphore::MAX_PERMITS)));
    let shared = Shared { router, config: Arc::new(config), closing: Closing(Some(closing)) };
    let (mut connections, mut back_off) = (JoinSet::new(), BACK_OFF.0);
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            // Ended connections are forgotten as they end. One that panicked ended too; its client sees it closed.
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    back_off = BACK_OFF.0;
                    match Arc::clone(&seats).try_acquire_owned() {
                        Ok(seat) => drop(connections.spawn(shared.clone().connection(stream, peer, seat))),
                        Err(_) => refuse(&stream),
                    }
                }
                Err(error) if is_of_one_client(&error) => {}
                Err(_) => {
                    tokio::select! {
                        () = &mut shutdown => break,
                        () = tokio::time::sleep(back_off) => back_off = (back_off * 2).min(BACK_OFF.1),
                    }
                }
            },
        }
    }
    drop(listener);
    // Nobody may be listening: then there is nothing to end.
    let _ = stop.send(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(shared.config.drain_timeout, drained).await;
    connections.shutdown().await;
    Ok(())
}

/// Says once, without waiting, that there is no room; the connection closes with the stream.
fn refuse(stream: &TcpStream) {
    // A client that cannot even take this finds its connection closed.
    let _ = stream.try_write(FULL);
}

/// Whether accepting failed because of the one client that was to be accepted.
fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[derive(Clone)]
struct Shared {
    router: Router,
    config: Arc<ServeConfig>,
    closing: Closing,
}

impl Shared {
    /// One connection, from its first byte to its last.
    async fn connection(self, stream: TcpStream, peer: SocketAddr, _seat: OwnedSemaphorePermit) {
        // Answers are small and waited for. Where it cannot be set, they are only slower.
        let _ = stream.set_nodelay(true);
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
        let problem: crate::model::Problem = serde_json::from_str(body).unwrap();
        let code = consort_types::Code::Overloaded;
        assert_eq!((problem.code, problem.title.as_str()), (code.to_string(), code.title()));
    }

    #[test]
    fn only_a_shortage_of_the_machine_makes_the_loop_wait() {
        assert!(is_of_one_client(&io::ErrorKind::ConnectionReset.into()));
        // Too many open files.
        assert!(!is_of_one_client(&io::Error::from_raw_os_error(24)));
    }
}
