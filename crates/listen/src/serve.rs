//! One listener for HTTP/1.1, HTTP/2 and gRPC.
//!
//! For: telling the protocols apart, and keeping a slow, silent, dead or greedy peer from costing more than its own
//! connection. Not for: the requests on it (the doors handle them).
//! Invariant: the protocol of a connection is known by its first bytes, and a gRPC call by its content type; an idle
//! connection ends soon, and when the loop is to stop, it ends within its time limit.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use consort_types::limits;
use http::{HeaderValue, Request, Response, Version, header};
use http_body_util::Either;
use hyper::{
    body::{Body, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
};

use crate::{Bounds, Newcomer, accept, stream::TimedStream};

/// An error of any body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a peer may send ahead on one HTTP/2 stream before it was read, and on one connection.
const WINDOW_BYTES: (u32, u32) = (1024 * 1024, 4 * 1024 * 1024);
/// Bytes of an answer over HTTP/2 that are buffered until the peer reads them.
const SEND_BYTES: usize = 1024 * 1024;

/// The waits and amounts of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeConfig {
    /// How long a new connection may take until its first request has arrived; over HTTP/1.1, also how long the head of
    /// any request may take, and how long a connection may be idle before its next one.
    pub request_timeout: Duration,
    /// How long the whole body of an HTTP request may take, and one message of a gRPC call from its first byte to its
    /// last.
    pub body_timeout: Duration,
    /// How long a peer may leave an answer unread.
    pub write_timeout: Duration,
    /// How often the peer of an HTTP/2 connection is asked whether it is there.
    pub keepalive_interval: Duration,
    /// How long a peer may take to answer that.
    pub keepalive_timeout: Duration,
    /// How long requests in flight may take after the loop began to stop.
    pub drain_timeout: Duration,
    /// HTTP/1.1 connections at once; one more is refused.
    pub http1_connections_max: usize,
    /// HTTP/2 connections at once, those of gRPC included; one more is refused.
    pub http2_connections_max: usize,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_mins(1),
            write_timeout: Duration::from_mins(1),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
            http1_connections_max: limits::HTTP_CONNECTIONS_MAX,
            http2_connections_max: limits::GRPC_CONNECTIONS_MAX,
        }
    }
}

/// Notifies long-running answers that the server stops. Without a server (a call in this process) it never comes.
#[derive(Clone, Debug, Default)]
pub struct Closing(Option<watch::Receiver<bool>>);

impl Closing {
    /// Ends when the server stops.
    pub async fn closed(self) {
        match self.0 {
            // An error means that the loop was dropped, which stops the server too.
            Some(mut closing) => drop(closing.wait_for(|closing| *closing).await),
            None => std::future::pending().await,
        }
    }
}

/// The connection that a request came over.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The address of the peer.
    pub peer: SocketAddr,
    /// When the server stops.
    pub closing: Closing,
    /// How long a body, or one message of it, may take: [`ServeConfig::body_timeout`].
    pub body_timeout: Duration,
}

/// One interface behind a listener.
pub trait Door: Clone + Send + Sync + 'static {
    /// The body of its answers.
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static;

    /// What a connection above the limit is sent before it is closed, where the protocol has words for it.
    const FULL: &'static [u8];

    /// The whole answer over HTTP/1.1 to a request that cannot be read, by its status, where this door has words for it.
    fn unreadable(_status: u16) -> Option<Vec<u8>> {
        None
    }

    /// Answers a request.
    fn answer(&self, request: Request<Incoming>, caller: Caller) -> impl Future<Output = Response<Self::Body>> + Send;

    /// Answers a request over a connection that is above the limit.
    fn refuse(&self) -> Response<Self::Body>;
}

/// The door of a listener that serves the other protocol alone. There is no value of it.
#[derive(Clone, Copy, Debug)]
pub enum NoDoor {}

impl Door for NoDoor {
    type Body = http_body_util::Empty<Bytes>;

    const FULL: &'static [u8] = b"";

    async fn answer(&self, _: Request<Incoming>, _: Caller) -> Response<Self::Body> {
        match *self {}
    }

    fn refuse(&self) -> Response<Self::Body> {
        match *self {}
    }
}

/// The doors of one listener; at least one is there.
#[derive(Clone)]
struct Doors<H, G> {
    http: Option<H>,
    grpc: Option<G>,
}

impl<H: Door, G: Door> Doors<H, G> {
    /// Whether the request is for the gRPC door.
    fn is_grpc(&self, request: &Request<Incoming>) -> bool {
        match (&self.http, &self.grpc) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(_), Some(_)) => request.version() == Version::HTTP_2 && has_grpc_type(request),
        }
    }

    async fn answer(&self, request: Request<Incoming>, caller: Caller) -> Response<Either<H::Body, G::Body>> {
        match (&self.http, &self.grpc) {
            (_, Some(grpc)) if self.is_grpc(&request) => grpc.answer(request, caller).await.map(Either::Right),
            (Some(http), _) => http.answer(with_host(request), caller).await.map(Either::Left),
            (None, _) => unreachable!("a listener has a door"),
        }
    }

    fn refuse(&self, request: &Request<Incoming>) -> Response<Either<H::Body, G::Body>> {
        match (&self.http, &self.grpc) {
            (_, Some(grpc)) if self.is_grpc(request) => grpc.refuse().map(Either::Right),
            (Some(http), _) => http.refuse().map(Either::Left),
            (None, _) => unreachable!("a listener has a door"),
        }
    }

    /// What a connection is sent that came when every seat was taken.
    fn full(&self) -> &'static [u8] {
        if self.http.is_some() { H::FULL } else { G::FULL }
    }
}

fn has_grpc_type<B>(request: &Request<B>) -> bool {
    let given = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    given.is_some_and(|given| given.starts_with(b"application/grpc"))
}

/// Over HTTP/2 the authority is part of the target: copies it into the `Host` field, which the HTTP door reads.
fn with_host(mut request: Request<Incoming>) -> Request<Incoming> {
    if request.version() == Version::HTTP_2
        && !request.headers().contains_key(header::HOST)
        && let Some(host) = request.uri().authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok())
    {
        request.headers_mut().insert(header::HOST, host);
    }
    request
}

/// Serves the doors on a listener until `shutdown` ends, and then until the requests in flight have ended, at most
/// [`ServeConfig::drain_timeout`]. Where both doors are there, HTTP/1.1 goes to the first one, and HTTP/2 to the second
/// one where the content type is that of gRPC.
///
/// # Panics
/// Where no door is given.
pub async fn serve<H: Door, G: Door>(
    listener: TcpListener,
    http: Option<H>,
    grpc: Option<G>,
    config: ServeConfig,
    shutdown: impl Future<Output = ()> + Send,
) {
    assert!(http.is_some() || grpc.is_some(), "a listener has a door");
    let doors = Doors { http, grpc };
    let (http1, http2) = (config.http1_connections_max, config.http2_connections_max);
    let connections_max = match (&doors.http, &doors.grpc) {
        (_, None) => http1,
        (None, Some(_)) => http2,
        (Some(_), Some(_)) => http1.saturating_add(http2),
    };
    let bounds = Bounds { connections_max, drain_timeout: config.drain_timeout };
    let full = doors.full();
    let seats = [http1, http2].map(|max| Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS))));
    let shared = Shared { doors, config: Arc::new(config), seats };
    let connect = |stream, peer, closing, newcomer| shared.clone().connection(stream, peer, closing, newcomer);
    let refuse = |stream: &TcpStream| {
        // Without waiting: where the client does not read this either, it finds its connection closed.
        let _ = stream.try_write(full);
    };
    accept(listener, bounds, connect, refuse, shutdown).await;
}

/// The seat of a connection, once its protocol is known; `None` inside where none was free.
type Seat = OnceLock<Option<OwnedSemaphorePermit>>;

#[derive(Clone)]
struct Shared<H, G> {
    doors: Doors<H, G>,
    config: Arc<ServeConfig>,
    /// Seats for HTTP/1.1, and for HTTP/2.
    seats: [Arc<Semaphore>; 2],
}

impl<H: Door, G: Door> Shared<H, G> {
    /// One connection, from its first byte to its last.
    async fn connection(
        self,
        stream: TcpStream,
        peer: SocketAddr,
        mut closing: watch::Receiver<bool>,
        newcomer: Newcomer,
    ) {
        let body_timeout = self.config.body_timeout;
        let caller = Caller { peer, closing: Closing(Some(closing.clone())), body_timeout };
        let (seat, refused) = (Arc::new(Seat::new()), Arc::new(Notify::new()));
        let words = if self.doors.http.is_some() { H::unreadable } else { G::unreadable };
        let stream = TokioIo::new(TimedStream::new(stream, self.config.write_timeout, words));
        let mut first_request = pin!(tokio::time::sleep(self.config.request_timeout));
        let builder = self.builder();
        let service = service_fn(|request: Request<Incoming>| {
            let (shared, caller) = (self.clone(), caller.clone());
            let version = request.version();
            newcomer.has_asked();
            let seated = seat.get_or_init(|| shared.seat(version)).is_some();
            if !seated {
                refused.notify_one();
            }
            async move {
                Ok::<_, Infallible>(if seated {
                    shared.doors.answer(request, caller).await
                } else {
                    shared.doors.refuse(&request)
                })
            }
        });
        let mut connection = pin!(builder.serve_connection(stream, service));
        let mut waits = true;
        // How a connection ends is its peer's matter: broken, timed out and closed all mean that it has ended.
        loop {
            tokio::select! {
                _ = connection.as_mut() => return,
                () = &mut first_request, if waits => {
                    waits = false;
                    if seat.get().is_none() {
                        return;
                    }
                }
                () = newcomer.sent_away() => return,
                () = refused.notified() => break,
                // An error means that the loop was dropped, which stops the server too.
                _ = closing.wait_for(|closing| *closing) => break,
            }
        }
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }

    fn seat(&self, version: Version) -> Option<OwnedSemaphorePermit> {
        let seats = &self.seats[usize::from(version == Version::HTTP_2)];
        Arc::clone(seats).try_acquire_owned().ok()
    }

    fn builder(&self) -> auto::Builder<TokioExecutor> {
        let config = &self.config;
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(config.request_timeout)
            .max_buf_size(limits::HTTP_HEAD_BYTES_MAX);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits::GRPC_STREAMS_MAX)
            .max_header_list_size(limits::GRPC_HEAD_BYTES_MAX)
            .initial_stream_window_size(WINDOW_BYTES.0)
            .initial_connection_window_size(WINDOW_BYTES.1)
            .max_send_buf_size(SEND_BYTES)
            .keep_alive_interval(config.keepalive_interval)
            .keep_alive_timeout(config.keepalive_timeout);
        match self.doors.http {
            Some(_) => builder,
            None => builder.http2_only(),
        }
    }
}
