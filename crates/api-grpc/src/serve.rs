//! The serve loop: connections with timeouts and a cap.
//!
//! For: keeping a silent, dead or greedy peer from costing more than its own connection. Not for: what is asked over
//! it (the services' matter).
//! Invariant: a connection over which nothing is asked ends soon, one whose peer is dead is noticed, and when the loop
//! is told to stop, it ends within its bound.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use consort_types::limits;
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
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
/// After a refused accept: first this long, then twice as long each time, up to the second.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Serves the interface on a listener until `shutdown` ends, and then until the calls in flight have ended, at most
/// [`ServeConfig::drain_timeout`]. A listener that refuses to accept is asked again, for it may recover.
pub async fn serve(listener: TcpListener, api: Api, config: ServeConfig, shutdown: impl Future<Output = ()> + Send) {
    let (stop, closing) = watch::channel(false);
    let seats = Arc::new(Semaphore::new(config.connections_max.min(Semaphore::MAX_PERMITS)));
    let shared = Shared { api, config: Arc::new(config), closing };
    let (mut connections, mut back_off) = (JoinSet::new(), BACK_OFF.0);
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            // Ended connections are forgotten as they end. One that panicked ended too; its peer sees it closed.
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    back_off = BACK_OFF.0;
                    // Without a seat the connection closes, which gRPC answers with a pause and another try.
                    if let Ok(seat) = Arc::clone(&seats).try_acquire_owned() {
                        connections.spawn(shared.clone().connection(stream, peer, seat));
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
    // Nobody may be connected: then there is nothing to end.
    let _ = stop.send(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(shared.config.drain_timeout, drained).await;
    connections.shutdown().await;
}

/// Whether accepting failed because of the one client that was to be accepted.
fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[derive(Clone)]
struct Shared {
    api: Api,
    config: Arc<ServeConfig>,
    closing: watch::Receiver<bool>,
}

impl Shared {
    /// One connection, from its first byte to its last.
    async fn connection(mut self, stream: TcpStream, peer: SocketAddr, _seat: OwnedSemaphorePermit) {
        // Batches are whole when they are written. Where it cannot be set, they are only slower.
        let _ = stream.set_nodelay(true);
        let asked = Arc::new(AtomicBool::new(false));
        let (api, config) = (self.api.clone(), Arc::clone(&self.config));
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
                _ = self.closing.wait_for(|closing| *closing) => break,
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

async fn answer(
    mut api: Api,
    request: Request<Incoming>,
    peer: SocketAddr,
    timeout: Duration,
) -> Result<Response<Body>, Infallible> {
    if let Err(refusal) = access::admit(peer, &request, api.token.as_deref()) {
        return Ok(refusal.into_http());
    }
    let request = request.map(|body| Arriving::new(body, api.budget.clone(), timeout));
    api.routes.call(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_shortage_of_the_machine_makes_the_loop_wait() {
        assert!(is_of_one_client(&io::ErrorKind::ConnectionReset.into()));
        // Too many open files.
        assert!(!is_of_one_client(&io::Error::from_raw_os_error(24)));
    }
}
