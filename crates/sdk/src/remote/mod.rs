//! Workers far from the engine: the worker protocol over gRPC.
//!
//! For: [`Remote`], which carries sessions, and the link that clients share. Not for: what a worker does.
//! Invariant: one stream for each instance, all of them on one HTTP/2 connection; the refusal of a stream has its
//! reason as a code.

mod incoming;
pub(crate) mod link;
mod outgoing;

use std::{
    sync::{Arc, atomic::AtomicUsize, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use consort_proto::{
    PROTOCOL,
    convert::hellos_to_wire,
    v1::{self, server_message::Kind, worker_service_client::WorkerServiceClient},
};
use consort_types::{Code, Error, Result, limits, worker::Hello};
use tokio::time::timeout;

use crate::{Connect, Connection};
use link::Link;
use outgoing::Reports;

/// Where `consort up` listens unless it is told otherwise.
const DEFAULT_ADDRESS: &str = "http://127.0.0.1:7878";
/// Messages in flight between a session and its stream, in each direction.
const CHANNEL_MESSAGES: usize = 1_024;
/// How long a server may take to open a session; it makes new declarations durable first.
const OPEN_WITHIN: Duration = Duration::from_secs(30);

/// A server that is reached over gRPC.
///
/// ```no_run
/// use consort_sdk::{Agent, Capability, Remote, Worker};
///
/// # async fn example() -> consort_types::Result<()> {
/// let greet = Capability::from_fn("greet", |_, name: String| async move { Ok(format!("hello {name}")) });
/// let server = Remote::new("http://127.0.0.1:7878");
/// Worker::new(server).agent(Agent::new("greeter").capability(greet)).run(std::future::pending()).await
/// # }
/// ```
///
/// An unreachable server is retried after pauses that double from 100 ms to 5 s, with jitter; the tasks that the agents
/// hold continue meanwhile and are claimed after the reconnect. A server that refuses the worker ends
/// [`crate::Worker::run`] with its reason.
#[derive(Clone, Debug)]
pub struct Remote {
    link: Link,
}

impl Remote {
    /// A server at this address, such as `127.0.0.1:7878`, with or without `http://` or `grpc://` in front. A wrong address is an error of the first connection.
    pub fn new(url: impl Into<String>) -> Self {
        Self { link: Link::new(url.into()) }
    }

    /// The server that the environment names: at `CONSORT_SERVER`, or else `http://127.0.0.1:7878`, with the token
    /// `CONSORT_TOKEN`, where one is set. `consort dev` sets both.
    pub fn from_environment() -> Self {
        Self::of(|name| std::env::var(name).ok())
    }

    /// As [`Self::from_environment`], with what `variable` says of a name. An empty one counts as not set.
    fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let server = Self::new(set("CONSORT_SERVER").unwrap_or_else(|| DEFAULT_ADDRESS.to_owned()));
        match set("CONSORT_TOKEN") {
            Some(token) => server.token(token),
            None => server,
        }
    }

    /// The server's token.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.link.token(token.into());
        self
    }

    async fn open(&self, reports: Reports) -> Result<(tonic::Streaming<v1::ServerMessages>, v1::Welcome)> {
        let request = self.link.request(reports)?;
        let mut client =
            WorkerServiceClient::new(self.link.channel()?).max_decoding_message_size(limits::GRPC_BATCH_BYTES_MAX);
        let opening = async {
            let mut messages = client.connect(request).await?.into_inner();
            let first = messages.message().await?;
            Ok::<_, tonic::Status>((messages, first))
        };
        let opened = timeout(OPEN_WITHIN, opening).await;
        let opened = opened.map_err(|_| self.link.unreachable("it did not open the session in time"))?;
        let (messages, first) = opened.map_err(|status| self.link.error(&status))?;
        let first = first.ok_or_else(|| self.link.unreachable("it closed the session before it was open"))?;
        match first.messages.into_iter().next().and_then(|message| message.kind) {
            Some(Kind::Welcome(welcome)) => Ok((messages, welcome)),
            _ => Err(Error::new(Code::BadRequest, "the server did not begin the session with `welcome`")
                .hint("is it a Consort server?")),
        }
    }
}

#[async_trait]
impl Connect for Remote {
    async fn connect(&self, hello: Hello) -> Result<Connection> {
        let (mut connection, to_worker, from_worker) = Connection::pair(CHANNEL_MESSAGES);
        let bytes_max = Arc::new(AtomicUsize::new(limits::GRPC_BATCH_BYTES_MAX));
        let refusals = to_worker.downgrade();
        let reports = Reports::new(hellos_to_wire(vec![hello]), from_worker, refusals, Arc::clone(&bytes_max));
        let (messages, welcome) = self.open(reports).await?;
        if welcome.protocol != PROTOCOL {
            let found = welcome.protocol;
            let message =
                format!("the server speaks version `{found}` of the worker protocol, this worker `{PROTOCOL}`");
            return Err(Error::new(Code::BadProtocol, message).hint("update the older of the two"));
        }
        if let Ok(bytes @ 1..) = usize::try_from(welcome.batch_bytes_max) {
            bytes_max.store(bytes, Ordering::Relaxed);
        }
        let interval = Duration::from_micros(welcome.heartbeat_interval_us);
        connection.heartbeat_interval = (!interval.is_zero()).then_some(interval);
        tracing::debug!(server = welcome.server, instance = ?welcome.instances, "the session is open");
        tokio::spawn(incoming::deliver(messages, to_worker, connection.from_worker.downgrade()));
        Ok(connection)
    }
}
