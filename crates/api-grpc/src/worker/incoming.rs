//! Messages of a worker, on their way to the engine.
//!
//! For: batches, in order, each report to the session of its instance. Not for: judging reports (the engine does).
//! Invariant: a stream is read only as fast as the engine takes it; a fault of one attempt refuses that attempt, and
//! a fault of the worker ends its stream by name.

use std::time::{Duration, Instant};

use consort_engine::SessionSender;
use consort_proto::{
    convert::{self, BadReport},
    v1::{self, worker_message::Kind},
};
use consort_types::{
    Code, Error, ErrorKind, Result, Span, StepInstanceId, Token, limits,
    worker::{Delta, FromWorker, ToWorker},
};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use crate::status::error_in;

type Refusals = mpsc::Sender<v1::ServerMessage>;

/// Carries reports until the worker closes its side or errs.
pub(super) async fn read(
    mut incoming: Streaming<v1::WorkerMessages>,
    senders: &[SessionSender],
    refusals: &Refusals,
    interval: Span,
) -> Result<()> {
    let mut life = Life::new(interval);
    loop {
        let batch = match incoming.message().await {
            Ok(Some(batch)) => batch,
            Ok(None) => return Ok(()),
            Err(status) => return Err(broken(&status)),
        };
        let (count, max) = (batch.messages.len(), limits::GRPC_BATCH_MESSAGES_MAX);
        if count > max {
            let message = format!("a batch has `{count}` messages, the limit is {max}");
            return Err(Error::new(Code::LimitReached, message).hint("send several batches"));
        }
        life.spread(senders).await?;
        for message in batch.messages {
            take(message, senders, refusals).await?;
        }
    }
}

/// Why a stream cannot be read on. A broken connection has no answer.
pub(super) fn broken(status: &Status) -> Error {
    if let Some(error) = error_in(status) {
        return error;
    }
    match status.code() {
        tonic::Code::OutOfRange => {
            let max = limits::GRPC_BATCH_BYTES_MAX;
            Error::new(Code::LimitReached, format!("a batch has more bytes than the limit of {max}"))
                .hint("send several batches, and large documents elsewhere")
        }
        tonic::Code::Internal => Error::new(Code::BadRequest, format!("a batch cannot be read: {}", status.message()))
            .hint("send `consort.v1.WorkerMessages`"),
        _ => Error::new(Code::Unreachable, format!("the stream broke: {}", status.message())),
    }
}

/// The time of a worker's last message: any message counts for all instances of its stream.
struct Life {
    last: Option<Instant>,
    pause: Duration,
}

impl Life {
    fn new(interval: Span) -> Self {
        Self { last: None, pause: interval.to_std() / 4 }
    }

    /// Forwards the heartbeat to every session; not more often than needed.
    async fn spread(&mut self, senders: &[SessionSender]) -> Result<()> {
        if self.last.is_some_and(|last| last.elapsed() < self.pause) {
            return Ok(());
        }
        self.last = Some(Instant::now());
        for sender in senders {
            sender.send(FromWorker::Alive).await?;
        }
        Ok(())
    }
}

async fn take(message: v1::WorkerMessage, senders: &[SessionSender], refusals: &Refusals) -> Result<()> {
    let v1::WorkerMessage { instance, kind } = message;
    // A kind that a newer worker knows is left alone.
    let Some(kind) = kind else { return Ok(()) };
    if matches!(kind, Kind::Alive(_)) {
        return Ok(());
    }
    let Some(sender) = senders.get(instance as usize) else {
        let count = senders.len();
        let message = format!("instance `{instance}` is not one of the {count} instances of the stream");
        return Err(Error::new(Code::BadRequest, message).hint("count the agents of `hello` from 0"));
    };
    let (about, refusal) = match convert::report_from_wire(kind) {
        Ok(report) => {
            let about = report.attempt();
            (about, hand_over(sender, report).await.err())
        }
        Err(BadReport { attempt, error }) => (attempt, Some(error)),
    };
    match (about, refusal) {
        (_, None) => Ok(()),
        // The engine accepts no messages at all: the stream is refused, not the attempt.
        (_, Some(error)) if error.kind() == ErrorKind::Unavailable => Err(error),
        (Some(about), Some(error)) => {
            refuse(refusals, instance, about, error).await;
            Ok(())
        }
        (None, Some(error)) => Err(error),
    }
}

async fn hand_over(sender: &SessionSender, report: FromWorker) -> Result<()> {
    check(&report)?;
    sender.send(report).await
}

/// Refuses partial output that watchers could not be shown.
fn check(report: &FromWorker) -> Result<()> {
    let FromWorker::Stream { delta, .. } = report else { return Ok(()) };
    let (bytes, max) = (delta_bytes(delta), limits::STREAM_DELTA_BYTES_MAX);
    if bytes <= max {
        return Ok(());
    }
    let message = format!("a piece of partial output has {bytes} bytes, the limit is {max}");
    Err(Error::new(Code::LimitReached, message).hint("send it in several pieces"))
}

fn delta_bytes(delta: &Delta) -> usize {
    match delta {
        Delta::Text { text } => text.len(),
        Delta::Json { value } => value.to_string().len(),
    }
}

async fn refuse(refusals: &Refusals, instance: u32, (task, token): (StepInstanceId, Token), error: Error) {
    let kind = Some(ToWorker::Refused { task, token, error }.into());
    // Where the writer was dropped, the worker is disconnected, and needs no answer.
    let _ = refusals.send(v1::ServerMessage { instance, kind }).await;
}
