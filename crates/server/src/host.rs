//! Built-in agents in the engine's own process.
//!
//! For: carrying the worker protocol over channels, without a copy of a document. Not for: what the agents do.
//! Invariant: reports are given to the engine in the order in which they were made; when either side goes, both do.

use async_trait::async_trait;
use consort_engine::{Handle, Locality, Session, SessionSender};
use consort_sdk::{Connect, Connection};
use consort_types::{
    Error, Result, StepInstanceId, Token,
    worker::{FromWorker, Hello, ToWorker},
};
use tokio::{sync::mpsc, task::JoinHandle};

/// Messages in flight in each direction.
const CHANNEL_MESSAGES: usize = 256;

/// Opens sessions with the engine of this process.
pub(crate) struct InProcess {
    handle: Handle,
}

impl InProcess {
    pub(crate) fn new(handle: Handle) -> Self {
        Self { handle }
    }
}

#[async_trait]
impl Connect for InProcess {
    async fn connect(&self, hello: Hello) -> Result<Connection> {
        let session = self.handle.attach(hello, Locality::Local).await?;
        let (connection, to_worker, from_worker) = Connection::pair(CHANNEL_MESSAGES);
        let sender = session.sender();
        let refusals = to_worker.clone().downgrade();
        let reported = tokio::spawn(report(sender, from_worker, refusals));
        tokio::spawn(deliver(session, to_worker, reported));
        Ok(connection)
    }
}

/// Hands the engine's messages to the worker until one of them goes: a worker that leaves has reported everything.
async fn deliver(mut session: Session, to_worker: mpsc::Sender<ToWorker>, mut reported: JoinHandle<()>) {
    let sender = session.sender();
    loop {
        let messages = tokio::select! {
            messages = session.receive() => messages,
            () = to_worker.closed() => None,
            _ = &mut reported => return,
        };
        for mut message in messages.into_iter().flatten() {
            if let ToWorker::Task(_) = &message {
                // On replay the inputs of calls are compared; one that cannot be read is compared by its hash.
                let _ = sender.complete(&mut message).await;
            }
            if to_worker.send(message).await.is_err() {
                return;
            }
        }
        if to_worker.is_closed() {
            return;
        }
    }
}

/// Hands the worker's reports to the engine; one that is not acceptable is answered with a refusal.
async fn report(sender: SessionSender, mut reports: mpsc::Receiver<FromWorker>, refusals: mpsc::WeakSender<ToWorker>) {
    while let Some(report) = reports.recv().await {
        let about = report.attempt();
        if let Err(error) = sender.send(report).await {
            refuse(&refusals, about, error).await;
        }
    }
}

async fn refuse(refusals: &mpsc::WeakSender<ToWorker>, about: Option<(StepInstanceId, Token)>, error: Error) {
    let (Some(to_worker), Some((task, token))) = (refusals.upgrade(), about) else { return };
    // A disconnected worker needs no answer.
    let _ = to_worker.send(ToWorker::Refused { task, token, error }).await;
}
