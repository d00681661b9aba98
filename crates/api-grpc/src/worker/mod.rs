//! The worker service: one stream is one worker, with one session of the engine for each of its instances.
//!
//! For: opening the sessions, and carrying messages until the worker goes or errs, or the engine lets it go. Not for:
//! tokens, credit and journals (the engine's).
//! Invariant: the sessions of a stream are open all together or not at all, and end with it.

mod hello;
mod incoming;
mod outgoing;

use std::pin::Pin;

use consort_engine::Handle;
use consort_proto::v1::{self, worker_service_server::WorkerService};
use consort_types::{Result, Span};
use futures::Stream;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};

use crate::status::status;

/// Faulty reports whose refusals wait to be sent; a worker that does not read them is not read from either.
const REFUSALS: usize = 64;

type Answers = mpsc::Sender<Result<v1::ServerMessages, Status>>;

/// The service.
#[derive(Clone)]
pub(crate) struct Workers {
    engine: Handle,
    heartbeat_timeout: Span,
}

impl Workers {
    pub(crate) fn new(engine: Handle, heartbeat_timeout: Span) -> Self {
        Self { engine, heartbeat_timeout }
    }

    /// The heartbeat interval: short enough that a worker may miss two.
    fn heartbeat_interval(&self) -> Span {
        Span((self.heartbeat_timeout.0 / 3).max(1))
    }

    /// The whole of a stream.
    async fn talk(&self, mut incoming: Streaming<v1::WorkerMessages>, answers: &Answers) -> Result<()> {
        let opened = hello::open(self, &mut incoming).await?;
        if answers.send(Ok(opened.welcome)).await.is_err() {
            return Ok(());
        }
        let senders: Vec<_> = opened.sessions.iter().map(consort_engine::Session::sender).collect();
        let (refusals, refused) = mpsc::channel(REFUSALS);
        let writing = outgoing::write(&self.engine, opened.sessions, &senders, refused, answers);
        let reading = incoming::read(incoming, &senders, &refusals, self.heartbeat_interval());
        tokio::pin!(writing, reading);
        tokio::select! {
            read = &mut reading => read,
            written = &mut writing => match written? {
                // The receiver of answers was dropped, but reports may still be in transit.
                Some(_sessions) => reading.await,
                None => Ok(()),
            },
        }
    }
}

#[async_trait::async_trait]
impl WorkerService for Workers {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<v1::ServerMessages, Status>> + Send>>;

    async fn connect(
        &self,
        request: Request<Streaming<v1::WorkerMessages>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let (answers, mut taken) = mpsc::channel(1);
        let (workers, incoming) = (self.clone(), request.into_inner());
        // The answer begins at once: some clients wait for it before they send `Hello`.
        tokio::spawn(async move {
            if let Err(error) = workers.talk(incoming, &answers).await {
                // A disconnected worker needs no reason.
                let _ = answers.send(Err(status(error))).await;
            }
        });
        let stream = futures::stream::poll_fn(move |context| taken.poll_recv(context));
        Ok(Response::new(Box::pin(stream)))
    }
}
