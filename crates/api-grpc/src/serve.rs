//! The serve loop: connections with timeouts and a cap.
//!
//! For: keeping a silent, dead or greedy peer from costing more than its own connection. Not for: what is asked over
//! it (the services' matter).
//! Invariant: a connection over which nothing is asked ends soon, one whose peer is dead is noticed, and when the loop
//! is told to stop, it ends within its bound.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use consort_listen::{Bounds, accept};
use consort_types::limits;
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tonic::body::Body;
use tower::Service as _;

use crate::{Api, access, arriving::Arriving};

/// The waits and amounts of the serve loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeConfig {
    /// How long a new connection may take until its first call has arrived.
    pub handshake_timeout: Duration,
    /// How long a message may take from its beginning to its end, and the first of a call to come.
    pub message_timeout: Duration,
    /// How often a peer is asked whether it is there.
    pub keepalive_interval: Duration,
    /// How long a peer may take to answer that.
    pub keepalive_timeout: Duration,
    /// How long calls in flight may take after the loop was told to stop.
    pub drain_timeout: Duration,
    /// Connections at once; one more is closed.
    pub connections_max: usize,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(15),
            message_timeout: Duration::from_mins(1),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
            connections_max: limits::GRPC_CONNECTIONS_MAX,
        }
    }
}

/// What a peer may send ahead on one call before it was read, and on one connection.
const WINDOW_BYTES: (u32, u32) = (1024 * 1024, 4 * 1024 * 1024);
/// What is kept of a call's answer until the peer takes it.
const SEND_BYTES: usize = 1024 * 1024;
/// Serves the interface on a listener until `shutdown` ends, and then until the calls in flight have ended, at most
/// [`ServeConfig::drain_timeout`]. A listener that refuses to accept is asked again, for it may recover.
pub async fn serve(listener: TcpListener, api: Api, config: ServeConfig, shutdown: impl Future<Output = ()> + Send) {
    let bounds = Bounds { connections_max: config.connections_max, drain_timeout: config.drain_timeout };
    let shared = Shared { api, config: Arc::new(config) };
    let connect = |stream, peer, closing| shared.clone().connection(stream, peer, closing);
    // Without a seat the connection closes, which gRPC answers with a pause and another try.
    accept(listener, bounds, connect, |_| {}, shutdown).await;
}

#[derive(Clone)]
struct Shared {
    api: Api,
    config: Arc<ServeConfig>,
}

impl Shared {
    /// One connection, from its first byte to its last.
    async fn connection(self, stream: TcpStream, peer: SocketAddr, mut closing: watch::Receiver<bool>) {
        let asked = Arc::new(AtomicBool::new(false));
        let Self { api, config } = self;
        let (seen, message_timeout) = (Arc::clone(&asked), config.message_timeout);
        let service = service_fn(move |request| {
            seen.store(true, Ordering::Relaxed);
            answer(api.clone(), request, peer, message_timeout)
        });
        let mut connection = pin!(builder(&config).serve_connection(TokioIo::new(stream), service));
        let mut first_call = pin!(tokio::time::sleep(config.handshake_timeout));
        let mut waits = true;
        // How a connection ends is its peer's matter: broken, timed out and closed all mean that it is gone.
        loop {
            tokio::select! {
                _ = connection.as_mut() => return,
                () = &mut first_call, if waits => {
                    waits = false;
                    if !asked.load(Ordering::Relaxed) {
                        return;
                    }
                }
                // Where the loop is gone, it has stopped too.
                _ = closing.wait_for(|closing| *closing) => break,
            }
        }
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

fn builder(config: &ServeConfig) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::GRPC_STREAMS_MAX)
        .max_header_list_size(limits::GRPC_HEAD_BYTES_MAX)
        .initial_stream_window_size(WINDOW_BYTES.0)
        .initial_connection_window_size(WINDOW_BYTES.1)
        .max_send_buf_size(SEND_BYTES)
        .keep_alive_interval(config.keepalive_interval)
        .keep_alive_timeout(config.keepalive_timeout);
    builder
}

/// The call whose first message is `Hello`.
const CONNECT: &str = "/consort.v1.WorkerService/Connect";

async fn answer(
    mut api: Api,
    request: Request<Incoming>,
    peer: SocketAddr,
    timeout: Duration,
) -> Result<Response<Body>, Infallible> {
    if let Err(refusal) = access::admit(peer, &request, api.token.as_deref()) {
        return Ok(refusal.into_http());
    }
    let hello = request.uri().path() == CONNECT;
    let first_max = hello.then_some(consort_types::limits::GRPC_HELLO_BYTES_MAX);
    let request = request.map(|body| Arriving::new(body, api.budget.clone(), timeout).first_within(first_max));
    api.routes.call(request).await
}
