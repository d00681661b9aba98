//! Where reports go while connections come and go.
//!
//! For: handing reports over in order, with backpressure, and again where a connection may have lost them. Not for:
//! their content.
//! Invariant: last reports wait for a connection that takes them, and are kept for a while after it did: a connection
//! that breaks, or a server that dies, may not have made them durable. Messages in between belong to one connection,
//! named by its epoch: on another one they would overtake messages that were lost with theirs, so they are dropped, and
//! their attempt sends its unanswered requests again.

use std::{collections::VecDeque, time::Duration};

use consort_types::{StepInstanceId, Token, limits, worker::FromWorker};
use parking_lot::Mutex;
use tokio::{
    sync::{
        Notify,
        mpsc::{self, OwnedPermit, Permit, error::SendError, error::TrySendError},
    },
    time::Instant,
};

/// How long a last report is kept after it was handed over: far longer than a group of the log takes.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// A permit to send one message on a connection, once there is one.
pub(crate) type Place = dyn Future<Output = Result<OwnedPermit<FromWorker>, SendError<()>>> + Send;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    line: Mutex<Line>,
    opened: Notify,
}

#[derive(Debug, Default)]
struct Line {
    /// Counts the connections.
    epoch: u64,
    sender: Option<mpsc::Sender<FromWorker>>,
    /// Last reports that a connection took, and when; oldest first.
    kept: VecDeque<(Instant, FromWorker)>,
    kept_bytes: usize,
}

impl Line {
    fn keep(&mut self, report: FromWorker) {
        let now = Instant::now();
        self.kept_bytes += size(&report);
        self.kept.push_back((now, report));
        self.forget(now);
    }

    fn forget(&mut self, now: Instant) {
        while let Some((since, report)) = self.kept.front() {
            let crowded = self.kept.len() > limits::MESSAGES_WAITING_MAX || self.kept_bytes > limits::PAYLOAD_BYTES_MAX;
            if !crowded && now.duration_since(*since) < KEPT_FOR {
                return;
            }
            self.kept_bytes -= size(report);
            self.kept.pop_front();
        }
    }
}

fn size(report: &FromWorker) -> usize {
    match report {
        FromWorker::Complete { output, .. } => output.bytes().map_or(0, <[u8]>::len),
        _ => 0,
    }
}

impl Outbox {
    /// Reports go here from now on.
    pub(crate) fn open(&self, sender: mpsc::Sender<FromWorker>) {
        let mut line = self.line.lock();
        line.epoch += 1;
        line.sender = Some(sender);
        drop(line);
        self.opened.notify_waiters();
    }

    /// Reports wait for the next connection.
    pub(crate) fn close(&self) {
        let mut line = self.line.lock();
        line.sender = None;
        line.forget(Instant::now());
    }

    /// Which connection it is, from 1.
    pub(crate) fn epoch(&self) -> u64 {
        self.line.lock().epoch
    }

    /// Hands a message over to the connection of that epoch; where that is closed the message is dropped. Where it has
    /// no room, the returned future waits for it.
    pub(crate) fn try_send_within(
        &self,
        epoch: u64,
        message: FromWorker,
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        let line = self.line.lock();
        let sender = line.sender.as_ref().filter(|_| line.epoch == epoch)?;
        match sender.try_send(message) {
            Err(TrySendError::Full(message)) => {
                let sender = sender.clone();
                Some(async move {
                    // A closed channel means that the epoch has ended.
                    let _ = sender.send(message).await;
                })
            }
            Ok(()) | Err(TrySendError::Closed(_)) => None,
        }
    }

    /// A permit for one message on the connection of that epoch; `None` where that is closed.
    pub(crate) fn place(
        &self,
        epoch: u64,
    ) -> Option<impl Future<Output = Result<OwnedPermit<FromWorker>, SendError<()>>> + Send + use<>> {
        let line = self.line.lock();
        let sender = line.sender.as_ref().filter(|_| line.epoch == epoch)?;
        Some(sender.clone().reserve_owned())
    }

    /// Hands a last report over if that is possible at once; else gives it back.
    pub(crate) fn try_send(&self, report: FromWorker) -> Option<FromWorker> {
        let mut line = self.line.lock();
        let Some(sender) = &line.sender else { return Some(report) };
        let copy = report.clone();
        if let Err(error) = sender.try_send(report) {
            return Some(error.into_inner());
        }
        line.keep(copy);
        None
    }

    /// Hands a last report over, however long it takes.
    pub(crate) async fn send(&self, report: FromWorker) {
        loop {
            let opened = self.opened.notified();
            tokio::pin!(opened);
            // Registered before the sender is read, so that no opening in between is missed.
            opened.as_mut().enable();
            let sender = self.line.lock().sender.clone();
            if let Some(sender) = sender {
                if let Ok(place) = sender.reserve().await {
                    return self.hand_over(place, report);
                }
                self.drop_closed();
                continue;
            }
            opened.await;
        }
    }

    /// Sends a last report by its permit.
    pub(crate) fn hand_over(&self, place: Permit<'_, FromWorker>, report: FromWorker) {
        let mut line = self.line.lock();
        place.send(report.clone());
        line.keep(report);
    }

    /// The attempts whose last reports earlier connections may have lost.
    pub(crate) fn unconfirmed(&self) -> Vec<(StepInstanceId, Token)> {
        self.line.lock().kept.iter().filter_map(|(_, report)| report.attempt()).collect()
    }

    /// Takes the last reports that earlier connections may have lost, oldest first.
    pub(crate) fn take_unconfirmed(&self) -> VecDeque<FromWorker> {
        let mut line = self.line.lock();
        line.kept_bytes = 0;
        line.kept.drain(..).map(|(_, report)| report).collect()
    }

    /// Keeps last reports that were taken and not handed over.
    pub(crate) fn put_back(&self, reports: VecDeque<FromWorker>) {
        let mut line = self.line.lock();
        for report in reports {
            line.keep(report);
        }
    }

    /// Whether the attempt's last report was a completion.
    pub(crate) fn completed(&self, task: StepInstanceId, token: Token) -> bool {
        let line = self.line.lock();
        line.kept
            .iter()
            .rev()
            .find(|(_, report)| report.attempt() == Some((task, token)))
            .is_some_and(|(_, report)| matches!(report, FromWorker::Complete { .. }))
    }

    /// Drops a channel whose receiver was dropped.
    fn drop_closed(&self) {
        let sender = &mut self.line.lock().sender;
        if sender.as_ref().is_some_and(mpsc::Sender::is_closed) {
            *sender = None;
        }
    }
}
