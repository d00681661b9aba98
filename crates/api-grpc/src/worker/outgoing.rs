//! Messages of the engine, on their way to a worker.
//!
//! For: sending the pending messages of all sessions of a stream, in batches. Not for: the order of messages (each
//! session keeps its own).
//! Invariant: nothing is taken from a session before the worker's connection has taken what came before, beyond one
//! batch; documents travel whole.

use consort_engine::{Handle, Session, SessionSender};
use consort_proto::v1::{self, server_message::Kind};
use consort_types::{
    Code, Error, Result, limits,
    worker::{FromWorker, ToWorker},
};
use futures::{FutureExt as _, StreamExt as _, stream, stream::SelectAll};
use prost::Message as _;
use tokio::sync::mpsc;

use super::Answers;

/// Bytes of the envelope of a message in its batch, at most.
const AROUND_BYTES: usize = 16;

/// What comes from one session.
enum Outgoing {
    Messages(u32, Vec<ToWorker>),
    /// The engine has disconnected the instance.
    Ended(u32),
}

type Sessions = SelectAll<stream::BoxStream<'static, Outgoing>>;

/// Sends messages until the receiver is dropped (then the sessions are returned, still open), or the engine has ended
/// all instances after draining them (then there is nothing to return), or has disconnected one for another reason
/// (then that is the error).
pub(super) async fn write(
    engine: &Handle,
    sessions: Vec<Session>,
    senders: &[SessionSender],
    mut refused: mpsc::Receiver<v1::ServerMessage>,
    answers: &Answers,
) -> Result<Option<impl Sized + use<>>> {
    let mut sessions: Sessions = (0..).zip(sessions).map(|(number, session)| outgoing(number, session)).collect();
    let mut writer = Writer {
        engine,
        senders,
        answers,
        open: senders.len(),
        drained: vec![false; senders.len()],
        batch: Vec::new(),
        bytes: 0,
        gone: false,
    };
    loop {
        tokio::select! {
            Some(refusal) = refused.recv() => writer.put(refusal).await,
            Some(outgoing) = sessions.next() => writer.write(outgoing).await?,
        }
        // Further pending messages join the batch, as long as they are ready at once.
        while writer.open > 0 && !writer.gone {
            match sessions.next().now_or_never() {
                Some(Some(outgoing)) => writer.write(outgoing).await?,
                _ => break,
            }
        }
        writer.flush().await;
        if writer.gone {
            return Ok(Some(sessions));
        }
        if writer.open == 0 {
            return Ok(None);
        }
    }
}

/// A session as the stream of its messages.
fn outgoing(number: u32, session: Session) -> stream::BoxStream<'static, Outgoing> {
    let messages = stream::unfold(Some(session), move |session| async move {
        let mut session = session?;
        match session.receive().await {
            Some(messages) => Some((Outgoing::Messages(number, messages), Some(session))),
            None => Some((Outgoing::Ended(number), None)),
        }
    });
    messages.boxed()
}

/// The error for a worker whose session the engine has ended without draining it.
fn lost() -> Error {
    Error::new(Code::SessionLost, "the worker was silent for too long, or did not read what it was sent")
        .hint("connect again, and claim what is held")
}

/// A batch being filled.
struct Writer<'a> {
    engine: &'a Handle,
    senders: &'a [SessionSender],
    answers: &'a Answers,
    /// How many sessions are open.
    open: usize,
    /// Which instances were drained.
    drained: Vec<bool>,
    batch: Vec<v1::ServerMessage>,
    bytes: usize,
    /// Whether the receiver of answers was dropped.
    gone: bool,
}

impl Writer<'_> {
    async fn write(&mut self, outgoing: Outgoing) -> Result<()> {
        match outgoing {
            Outgoing::Messages(instance, messages) => {
                for message in messages {
                    self.message(instance, message).await?;
                }
            }
            // The others of the stream continue where this one was drained, as by the removal of its agent. A lost one
            // must reconnect, and can do so only with its stream.
            Outgoing::Ended(instance) => {
                self.engine.ready().await?;
                if !self.drained[instance as usize] {
                    return Err(lost());
                }
                self.open -= 1;
            }
        }
        Ok(())
    }

    async fn message(&mut self, instance: u32, mut message: ToWorker) -> Result<()> {
        self.senders[instance as usize].complete(&mut message).await?;
        self.drained[instance as usize] |= message == ToWorker::Drain;
        let attempt = match &message {
            ToWorker::Task(offer) => Some((offer.task, offer.token)),
            _ => None,
        };
        let kind: Kind = message.into();
        let wire = v1::ServerMessage { instance, kind: Some(kind) };
        let (bytes, max) = (wire.encoded_len() + AROUND_BYTES, limits::GRPC_BATCH_BYTES_MAX);
        match attempt {
            // Only a task can be so large: it contains its whole journal.
            Some((task, token)) if bytes > max => {
                let message = format!("the task with its journal has {bytes} bytes, the limit is {max}");
                let error = Error::new(Code::LimitReached, message)
                    .hint("record references to large documents instead of the documents");
                let report = FromWorker::Fail { task, token, error, retryable: false, retry_after: None };
                self.senders[instance as usize].send(report).await
            }
            _ => {
                self.put(wire).await;
                Ok(())
            }
        }
    }

    /// Adds a message to the batch; sends what there is first, where both together would be too large.
    async fn put(&mut self, message: v1::ServerMessage) {
        let bytes = message.encoded_len() + AROUND_BYTES;
        if self.bytes + bytes > limits::GRPC_BATCH_BYTES_FULL_MAX || self.batch.len() >= limits::GRPC_BATCH_MESSAGES_MAX
        {
            self.flush().await;
        }
        self.bytes += bytes;
        self.batch.push(message);
    }

    async fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let messages = std::mem::take(&mut self.batch);
        self.bytes = 0;
        self.gone |= self.answers.send(Ok(v1::ServerMessages { messages })).await.is_err();
    }
}
