//! How a worker reaches an engine: a pair of channels, and the trait that makes one.
//!
//! For: transports (in process today, a network later). Not for: the meaning of the messages
//! (see [`consort_types::worker`]).
//! Invariant: messages arrive in the order in which they were sent, in each direction; a message that the
//! channel took is delivered unless the connection closes.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use consort_types::{
    Result,
    worker::{FromWorker, Hello, ToWorker},
};
use tokio::sync::mpsc;

/// One open session of an instance. It closes when either side drops its ends.
#[derive(Debug)]
pub struct Connection {
    /// Messages of the engine.
    pub to_worker: mpsc::Receiver<ToWorker>,
    /// Where reports go. When it is full the reporting task waits, and only that task.
    pub from_worker: mpsc::Sender<FromWorker>,
    /// The heartbeat interval that the other side requires, where it does.
    pub heartbeat_interval: Option<Duration>,
}

impl Connection {
    /// Both sides of a session: the worker's, and the channels of the engine's side.
    ///
    /// Each direction holds up to `capacity` messages (at least 1).
    pub fn pair(capacity: usize) -> (Self, mpsc::Sender<ToWorker>, mpsc::Receiver<FromWorker>) {
        let (engine_sender, to_worker) = mpsc::channel(capacity.max(1));
        let (from_worker, engine_receiver) = mpsc::channel(capacity.max(1));
        (Self { to_worker, from_worker, heartbeat_interval: None }, engine_sender, engine_receiver)
    }
}

/// Opens sessions with an engine.
///
/// An error of kind `unavailable` makes the worker try again after a back-off; any other error ends it.
/// A transport delivers what it took in order, or closes the connection. After a reconnect the worker names what it
/// still holds in [`Hello::held`], asks again for the answers that it misses, and reports again what it reported
/// lately, as the closed connection may have lost that. When the worker has left, it drops its sender; the transport
/// delivers what it still has and then drops the other one.
#[async_trait]
pub trait Connect: Send + Sync + 'static {
    /// Opens one session for the instance that `hello` describes.
    async fn connect(&self, hello: Hello) -> Result<Connection>;
}

#[async_trait]
impl<C: Connect + ?Sized> Connect for Arc<C> {
    async fn connect(&self, hello: Hello) -> Result<Connection> {
        (**self).connect(hello).await
    }
}
