//! Following a run.
//!
//! For: everything that happens to a run, in order, across lost connections. Not for: many runs at once.
//! Invariant: every entry comes once and in order; live messages are not kept: those that were sent while the client
//! was disconnected are missing.

use std::time::Instant;

use consort_api::{
    client::Events,
    watch::{RunEvent, WatchRun, WatchRunParams},
};
use consort_types::{Code, Error, ErrorKind, Result, RunId};

use super::Client;
use crate::back_off::BackOff;

/// A run that is followed, from [`Client::watch`].
pub struct Watch {
    client: Client,
    run: RunId,
    /// The place of the last entry that was seen.
    seen: Option<String>,
    events: Option<Events<RunEvent>>,
    back_off: BackOff,
    /// When the last event of the server came.
    heard: Instant,
    over: bool,
}

impl Watch {
    pub(super) fn new(client: Client, run: RunId) -> Self {
        let heard = Instant::now();
        Self { client, run, seen: None, events: None, back_off: BackOff::new(), heard, over: false }
    }

    /// What happens next; `None` after [`RunEvent::End`] or an error. [`RunEvent::Error`] comes as an error.
    ///
    /// A lost connection is opened again, unless the server is unreachable for longer than
    /// [`Client::reconnect_timeout`] allows.
    pub async fn next(&mut self) -> Option<Result<RunEvent>> {
        while !self.over {
            match self.step().await {
                Ok(event) => {
                    self.heard = Instant::now();
                    self.back_off = BackOff::new();
                    self.over = matches!(event, RunEvent::End(_));
                    return Some(Ok(event));
                }
                Err(error) => {
                    self.events = None;
                    if error.kind() != ErrorKind::Unavailable || self.heard.elapsed() > self.client.reconnect_timeout {
                        self.over = true;
                        return Some(Err(error));
                    }
                    tokio::time::sleep(self.back_off.pause()).await;
                }
            }
        }
        None
    }

    async fn step(&mut self) -> Result<RunEvent> {
        let events = if let Some(events) = self.events.take() {
            events
        } else {
            let params = WatchRunParams { run: self.run, after: None, last_event_id: self.seen.clone() };
            self.client.inner()?.events::<WatchRun>(&params).await?
        };
        let Some(event) = self.events.insert(events).next().await? else {
            return Err(Error::new(Code::Unreachable, "the server ended the watch before the run had ended"));
        };
        if !event.id.is_empty() {
            self.seen = Some(event.id);
        }
        match event.what {
            RunEvent::Error(problem) => Err(problem.into()),
            what => Ok(what),
        }
    }
}
