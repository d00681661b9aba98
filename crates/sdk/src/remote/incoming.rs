//! Messages of the server, one after the other.
//!
//! For: reading a stream for its session. Not for: acting on messages (see `session`).
//! Invariant: messages keep their order; messages that a newer server sends beyond this version are ignored, and a task
//! that cannot be decoded is failed, so that it is not held without running.

use consort_proto::v1::{self, server_message::Kind};
use consort_types::{
    Error, Token,
    worker::{FromWorker, ToWorker},
};
use tokio::sync::mpsc;
use tonic::Streaming;

/// Hands the server's messages to the session until either goes.
pub(super) async fn deliver(
    mut messages: Streaming<v1::ServerMessages>,
    to_worker: mpsc::Sender<ToWorker>,
    reports: mpsc::WeakSender<FromWorker>,
) {
    loop {
        let batch = tokio::select! {
            batch = messages.message() => batch,
            // The worker has dropped its receiver; the server sees the stream end.
            () = to_worker.closed() => return,
        };
        let batch = match batch {
            Ok(Some(batch)) => batch,
            Ok(None) => return,
            Err(status) => return tracing::warn!(code = %status.code(), "the stream broke: {}", status.message()),
        };
        for kind in batch.messages.into_iter().filter_map(|message| message.kind) {
            match read(kind) {
                Ok(message) => {
                    if to_worker.send(message).await.is_err() {
                        return;
                    }
                }
                Err((attempt, error)) => give_back(&reports, attempt, error).await,
            }
        }
    }
}

/// A message; where it cannot be decoded, the reason, and the attempt that it would have assigned.
fn read(kind: Kind) -> Result<ToWorker, (Option<v1::Attempt>, Error)> {
    let attempt = match &kind {
        Kind::Task(task) => task.attempt.clone(),
        _ => None,
    };
    ToWorker::try_from(kind).map_err(|error| (attempt, error))
}

async fn give_back(reports: &mpsc::WeakSender<FromWorker>, attempt: Option<v1::Attempt>, error: Error) {
    tracing::error!(error = %error.message, "the server sent a message that cannot be decoded");
    let (Some(reports), Some(attempt)) = (reports.upgrade(), attempt) else { return };
    if let Ok(task) = attempt.task.parse() {
        let token = Token(attempt.token);
        // Another worker, of another version, may understand it. A closed session needs no report.
        let _ = reports.send(FromWorker::Fail { task, token, error, retryable: true, retry_after: None }).await;
    }
}

#[cfg(test)]
mod tests {
    use consort_types::Code;

    use super::*;

    #[test]
    fn a_task_that_cannot_be_understood_names_its_attempt() {
        let attempt = v1::Attempt { task: "nonsense".into(), token: 7 };
        let task = v1::Task { attempt: Some(attempt.clone()), ..v1::Task::default() };
        let (found, error) = read(Kind::Task(task)).unwrap_err();
        assert_eq!((found, error.code), (Some(attempt), Code::BadRequest));
        assert_eq!(read(Kind::Drain(v1::Drain {})), Ok(ToWorker::Drain));
    }
}
