//! Messages of a worker, as batches on its stream.
//!
//! For: putting what waits into one message. Not for: what the reports mean.
//! Invariant: reports keep their order, are converted where the stream is written (no task in between), and a report
//! that the server could not take is refused here, by name.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use consort_proto::v1::{self, worker_message::Kind};
use consort_types::{
    Code, Error, Payload, limits,
    worker::{FromWorker, JournalRequest, ToWorker},
};
use futures::Stream;
use tokio::sync::mpsc;

/// More than a report has beside its documents and texts.
const FRAME_BYTES: usize = 512;

/// See the module. It begins with the `Hello`, and ends when the worker has dropped its sender.
pub(super) struct Reports {
    hello: Option<v1::Hello>,
    waiting: mpsc::Receiver<FromWorker>,
    /// What did not fit into the batch before.
    next: Option<FromWorker>,
    refusals: mpsc::WeakSender<ToWorker>,
    /// Bytes of one batch at most, as the server requires.
    bytes_max: Arc<AtomicUsize>,
}

impl Reports {
    pub(super) fn new(
        hello: v1::Hello,
        waiting: mpsc::Receiver<FromWorker>,
        refusals: mpsc::WeakSender<ToWorker>,
        bytes_max: Arc<AtomicUsize>,
    ) -> Self {
        Self { hello: Some(hello), waiting, next: None, refusals, bytes_max }
    }

    /// Everything that waits, from `first` on, as far as it fits.
    fn batch(&mut self, first: FromWorker) -> v1::WorkerMessages {
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        let mut messages = Vec::new();
        let (mut bytes, mut next) = (0, Some(first));
        while let Some(report) = next {
            let size = size(&report);
            if size > bytes_max {
                self.refuse(&report, size, bytes_max);
            } else if bytes + size > bytes_max {
                self.next = Some(report);
                break;
            } else {
                bytes += size;
                messages.push(message(report.into()));
            }
            if bytes >= limits::GRPC_BATCH_BYTES_FULL_MAX || messages.len() >= limits::GRPC_BATCH_MESSAGES_MAX {
                break;
            }
            next = self.waiting.try_recv().ok();
        }
        v1::WorkerMessages { messages }
    }

    fn refuse(&self, report: &FromWorker, size: usize, max: usize) {
        let (Some((task, token)), Some(refusals)) = (report.attempt(), self.refusals.upgrade()) else { return };
        let message = format!("the report has {size} bytes, the server's limit is {max}");
        let error =
            Error::new(Code::PayloadTooLarge, message).hint("store the document elsewhere and pass a reference");
        let refusal = ToWorker::Refused { task, token, error };
        // The stream must not wait for the worker, who may be waiting for it.
        tokio::spawn(async move { refusals.send(refusal).await });
    }
}

impl Stream for Reports {
    type Item = v1::WorkerMessages;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(hello) = self.hello.take() {
            return Poll::Ready(Some(v1::WorkerMessages { messages: vec![message(Kind::Hello(hello))] }));
        }
        loop {
            let first = match self.next.take() {
                Some(report) => report,
                None => match ready!(self.waiting.poll_recv(cx)) {
                    Some(report) => report,
                    None => return Poll::Ready(None),
                },
            };
            let batch = self.batch(first);
            if !batch.messages.is_empty() {
                return Poll::Ready(Some(batch));
            }
        }
    }
}

/// Each stream has one instance, with the number 0.
fn message(kind: Kind) -> v1::WorkerMessage {
    v1::WorkerMessage { instance: 0, kind: Some(kind) }
}

/// The bytes of a report, a little too many.
fn size(report: &FromWorker) -> usize {
    FRAME_BYTES
        + match report {
            FromWorker::Complete { output, .. } => bytes(output),
            FromWorker::Record { entry, .. } => {
                let request = match &entry.request {
                    JournalRequest::Forget { entries } => entries.len() * 5,
                    request => request.document().map_or(0, bytes),
                };
                let result = match &entry.result {
                    Some(Ok(document)) => bytes(document),
                    Some(Err(error)) => text(error),
                    None => 0,
                };
                request + result + entry.after.len() * 5
            }
            FromWorker::Fail { error, .. } => text(error),
            FromWorker::Park { waiting, .. } => waiting.len() * 5,
            FromWorker::Heartbeat { .. } => limits::ERROR_MESSAGE_BYTES_MAX,
            FromWorker::Stream { .. } => limits::STREAM_DELTA_BYTES_MAX,
            FromWorker::Alive | FromWorker::Credit { .. } | FromWorker::Leaving => 0,
        }
}

fn bytes(document: &Payload) -> usize {
    document.bytes().map_or(0, <[u8]>::len)
}

fn text(error: &Error) -> usize {
    error.message.len() + error.hint.as_ref().map_or(0, String::len)
}

#[cfg(test)]
mod tests {
    use consort_types::{RunId, StepInstanceId, Token};
    use futures::StreamExt as _;

    use super::*;

    const TASK: StepInstanceId = StepInstanceId { run: RunId([1; 16]), scope: 0, index: 0 };

    fn complete(token: u64, bytes: usize) -> FromWorker {
        let output = Payload::inline(vec![b'1'; bytes]);
        FromWorker::Complete { task: TASK, token: Token(token), output }
    }

    fn tokens(batch: v1::WorkerMessages) -> Vec<u64> {
        let token = |message: v1::WorkerMessage| match message.kind {
            Some(Kind::Complete(complete)) => complete.attempt.unwrap().token,
            other => panic!("expected a result, found {other:?}"),
        };
        batch.messages.into_iter().map(token).collect()
    }

    #[tokio::test]
    async fn what_waits_becomes_one_batch_within_the_limits_and_too_much_is_refused() {
        let (reports, receiver) = mpsc::channel(64);
        let (to_worker, mut refused) = mpsc::channel(64);
        let bytes_max = Arc::new(AtomicUsize::new(10_000));
        let mut stream = Reports::new(v1::Hello::default(), receiver, to_worker.downgrade(), bytes_max);
        let hello = stream.next().await.unwrap();
        assert!(matches!(hello.messages[..], [v1::WorkerMessage { kind: Some(Kind::Hello(_)), .. }]));

        for (token, bytes) in [(1, 10), (2, 4_000), (3, 4_000), (4, 4_000), (5, 20_000), (6, 1)] {
            reports.send(complete(token, bytes)).await.unwrap();
        }
        drop(reports);
        assert_eq!(tokens(stream.next().await.unwrap()), [1, 2, 3]);
        assert_eq!(tokens(stream.next().await.unwrap()), [4, 6]);
        assert!(stream.next().await.is_none());
        let Some(ToWorker::Refused { token, error, .. }) = refused.recv().await else { panic!("a refusal") };
        assert_eq!((token, error.code), (Token(5), Code::PayloadTooLarge));
    }

    #[tokio::test]
    async fn no_report_has_more_bytes_than_are_counted() {
        use consort_types::{Span, worker::JournalEntry};
        use prost::Message as _;
        let error = Error::new(Code::AgentFailed, "why".repeat(100)).hint("hint".repeat(100));
        let call = JournalRequest::Call { capability: "c".repeat(128), input: Payload::null(), options: None };
        let entry = |request, result| JournalEntry { title: None, request, after: vec![u32::MAX; 300], result };
        let record = |entry| FromWorker::Record { task: TASK, token: Token(u64::MAX), index: u32::MAX, entry };
        let reports = [
            complete(u64::MAX, 100_000),
            FromWorker::Fail {
                task: TASK,
                token: Token(u64::MAX),
                error: error.clone(),
                retryable: true,
                retry_after: Some(Span(u64::MAX)),
            },
            record(entry(call, Some(Err(error)))),
            record(entry(JournalRequest::Sleep { span: Span(u64::MAX) }, Some(Ok(Payload::null())))),
            FromWorker::Park { task: TASK, token: Token(u64::MAX), waiting: vec![u32::MAX; 1_000] },
            FromWorker::Leaving,
        ];
        for report in reports {
            let counted = size(&report);
            assert!(message(report.clone().into()).encoded_len() <= counted, "{report:?}");
        }
    }
}
