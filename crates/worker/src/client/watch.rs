//! Following a run.
//!
//! For: everything that happens to a run, in order, across lost connections. Not for: many runs at once.
//! Invariant: every entry comes once and in order; live messages are of the moment, and those that were said while
//! nothing was connected are missing.

use std::time::Instant;

use consort_proto::v1::{self, live_message, watch_run_response::Kind};
use consort_types::{ErrorKind, Result, RunId, Time, worker::Live};
use serde_json::Value;
use tonic::Streaming;

use super::{Client, Run, read_document};
use crate::back_off::BackOff;

/// What happens to a run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RunEvent {
    /// An entry of its journal.
    Entry {
        /// Its place.
        cursor: String,
        /// When it was recorded.
        time: Time,
        /// The step's path; empty where it is about the run.
        step: String,
        /// What happened, such as `step_completed`.
        event: String,
        /// What belongs to it.
        details: Value,
    },
    /// What an attempt says that it does, or more of its partial output.
    Live {
        /// The step's path.
        step: String,
        /// The attempt.
        attempt: u32,
        /// What is said.
        live: Live,
    },
    /// It has ended; nothing follows.
    Ended(Run),
}

/// A run that is followed, from [`Client::watch`].
#[derive(Debug)]
pub struct Watch {
    client: Client,
    run: RunId,
    live: bool,
    /// The place of the last entry that was seen.
    after: String,
    stream: Option<Streaming<v1::WatchRunResponse>>,
    back_off: BackOff,
    /// When the server was heard last.
    heard: Instant,
    over: bool,
}

impl Watch {
    pub(super) fn new(client: Client, run: RunId, live: bool) -> Self {
        let (after, heard) = (String::new(), Instant::now());
        Self { client, run, live, after, stream: None, back_off: BackOff::new(), heard, over: false }
    }

    /// What happens next; `None` after [`RunEvent::Ended`] or an error.
    ///
    /// A lost connection is opened again, as long as the server is away no longer than [`Client::patience`] allows.
    pub async fn next(&mut self) -> Option<Result<RunEvent>> {
        while !self.over {
            match self.step().await {
                Ok(Some(event)) => {
                    self.heard = Instant::now();
                    self.back_off = BackOff::new();
                    self.over = matches!(event, RunEvent::Ended(_));
                    return Some(Ok(event));
                }
                Ok(None) => {}
                Err(error) => {
                    self.stream = None;
                    if error.kind() != ErrorKind::Unavailable || self.heard.elapsed() > self.client.patience {
                        self.over = true;
                        return Some(Err(error));
                    }
                    tokio::time::sleep(self.back_off.pause()).await;
                }
            }
        }
        None
    }

    /// One message; `None` where it says nothing to this version.
    async fn step(&mut self) -> Result<Option<RunEvent>> {
        let stream = if let Some(stream) = self.stream.take() { stream } else { self.open().await? };
        let stream = self.stream.insert(stream);
        match stream.message().await {
            Ok(Some(v1::WatchRunResponse { kind: Some(kind) })) => self.read(kind),
            // A newer server says more than this version knows.
            Ok(Some(v1::WatchRunResponse { kind: None })) => Ok(None),
            Ok(None) => Err(self.client.link.unreachable("it ended the watch before the run had ended")),
            Err(status) => Err(self.client.link.error(&status)),
        }
    }

    async fn open(&self) -> Result<Streaming<v1::WatchRunResponse>> {
        let request = v1::WatchRunRequest {
            namespace: self.client.namespace.clone(),
            run: self.run.to_string(),
            after: self.after.clone(),
            live: self.live,
        };
        let answer = self.client.runs()?.watch_run(self.client.link.request(request)?).await;
        self.client.answer(answer)
    }

    fn read(&mut self, kind: Kind) -> Result<Option<RunEvent>> {
        Ok(Some(match kind {
            Kind::Entry(entry) => {
                let v1::RunEntry { cursor, time_us, step, event, details } = entry;
                let details = if details.is_empty() { Value::Null } else { read_document("details", &details)? };
                self.after.clone_from(&cursor);
                RunEvent::Entry { cursor, time: Time(time_us), step, event, details }
            }
            Kind::Live(live) => {
                let v1::LiveMessage { step, attempt, kind } = live;
                let live = match kind {
                    Some(live_message::Kind::Message(message)) => Live::Message { message },
                    Some(live_message::Kind::Text(text)) => Live::Text { text },
                    Some(live_message::Kind::Json(json)) => Live::Json { value: read_document("live message", &json)? },
                    None => return Ok(None),
                };
                RunEvent::Live { step, attempt, live }
            }
            Kind::Ended(run) => RunEvent::Ended(Run::read(Some(run))?),
        }))
    }
}
