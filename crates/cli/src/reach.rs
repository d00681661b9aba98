//! Following what a server sends, over lost connections.
//!
//! For: reading the events of a run in a task of its own, so that drawing never breaks a connection off; telling since when
//! the server cannot be reached; and when a command that follows something else tries again. Not for: what is shown of events (see `follow`).
//! Invariant: every event is handed on once; after a lost connection they continue behind the last one.

use std::time::{Duration, Instant};

use consort_api::watch::{RunEvent, WatchRun, WatchRunParams};
use consort_types::{Code, Error, Result, RunId, Span};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    client::{Client, Event},
    show::when,
};

/// The pause before the server is tried again.
const PAUSE: Duration = Duration::from_millis(250);
/// Events that wait to be shown.
const WAITING: usize = 64;
/// How often a follower without a tree tries in a row.
const TRIES: u32 = 40;

/// Whether the server may answer a little later.
fn is_away(error: &Error) -> bool {
    matches!(error.code, Code::Unreachable | Code::Overloaded)
}

/// What a follower has tried in vain to reach its server again.
#[derive(Debug, Default)]
pub(crate) struct Retries(u32);

impl Retries {
    /// The server has answered.
    pub(crate) fn reached(&mut self) {
        self.0 = 0;
    }

    /// Pauses before the next try.
    ///
    /// # Errors
    /// The given one, where the server would answer the same again, or was tried [`TRIES`] times in a row.
    pub(crate) async fn after(&mut self, error: Error) -> Result<()> {
        if self.0 >= TRIES || !is_away(&error) {
            return Err(error);
        }
        self.0 += 1;
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}

/// What arrives of a run.
pub(crate) enum Arrived {
    /// An event.
    Event(Box<Event<RunEvent>>),
    /// The connection is lost, or could not be made; it is tried again.
    Lost,
    /// The connection is there.
    Connected,
    /// The server refuses; nothing follows.
    Refused(Error),
}

/// The events of a run. Reading ends when this is dropped.
pub(crate) struct Arrivals {
    receiver: mpsc::Receiver<Arrived>,
    _reader: JoinSet<()>,
}

impl Arrivals {
    /// Begins to read.
    pub(crate) fn of(client: &Client, run: RunId) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let (client, mut reader) = (client.clone(), JoinSet::new());
        reader.spawn(async move {
            // Where the receiver was dropped, the follower has ended.
            let _ = read(&client, run, &sender).await;
        });
        Self { receiver, _reader: reader }
    }

    /// The next arrival.
    pub(crate) async fn next(&mut self) -> Arrived {
        let ended = || Arrived::Refused(Error::new(Code::Internal, "the events of the run have ended before the run"));
        self.receiver.recv().await.unwrap_or_else(ended)
    }
}

async fn read(
    client: &Client,
    run: RunId,
    sender: &mpsc::Sender<Arrived>,
) -> std::result::Result<(), mpsc::error::SendError<Arrived>> {
    let mut seen = None::<String>;
    loop {
        let params = WatchRunParams { run, after: None, last_event_id: seen.clone() };
        let refused = match client.events::<WatchRun>(&params).await {
            Ok(mut open) => {
                sender.send(Arrived::Connected).await?;
                loop {
                    match open.next().await {
                        Ok(Some(event)) => {
                            if !event.id.is_empty() {
                                seen = Some(event.id.clone());
                            }
                            sender.send(Arrived::Event(Box::new(event))).await?;
                        }
                        Ok(None) => break None,
                        Err(error) => break Some(error),
                    }
                }
            }
            Err(error) => Some(error),
        };
        match refused {
            Some(error) if !is_away(&error) => {
                return sender.send(Arrived::Refused(error)).await;
            }
            _ => sender.send(Arrived::Lost).await?,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Since when the server cannot be reached.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    lost: Option<Instant>,
}

impl Reach {
    /// How long a loss lasts before it is shown: a server that restarts is back within it.
    const SHOWN_AFTER: Duration = Duration::from_secs(1);

    /// The server cannot be reached; whether that is new.
    pub(crate) fn lost(&mut self, now: Instant) -> bool {
        let new = self.lost.is_none();
        self.lost.get_or_insert(now);
        new
    }

    /// The server is there; whether that is new.
    pub(crate) fn found(&mut self) -> bool {
        self.lost.take().is_some()
    }

    /// How long it has not been reached.
    pub(crate) fn lost_for(&self, now: Instant) -> Duration {
        self.lost.map_or(Duration::ZERO, |lost| now.saturating_duration_since(lost))
    }

    /// What people are told, once it lasts.
    pub(crate) fn message(&self, now: Instant) -> Option<String> {
        let lost = self.lost_for(now);
        let span = Span::from_secs(lost.as_secs());
        (lost >= Self::SHOWN_AFTER)
            .then(|| format!("cannot reach the server since {}; what is shown is of before", when::took(span)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_told_once_it_lasts_and_ends_with_the_next_connection() {
        let (begin, mut reach) = (Instant::now(), Reach::default());
        let after = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!((reach.message(after(99)), reach.lost_for(after(99))), (None, Duration::ZERO));
        assert!(reach.lost(begin) && !reach.lost(after(1)), "it is news once");
        assert_eq!(reach.message(begin + Duration::from_millis(400)), None, "a restart is no news");
        let said = reach.message(after(46)).unwrap();
        assert!(said.starts_with("cannot reach the server since 46.0s"), "{said}");
        assert!(reach.found() && !reach.found());
        assert_eq!(reach.message(after(99)), None);
    }
}
