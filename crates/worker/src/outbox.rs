//! Where reports go while connections come and go.
//!
//! For: handing reports over in order, with backpressure. Not for: what they say.
//! Invariant: last reports wait for a connection that takes them. Messages in between belong to one connection,
//! named by its epoch: on another one they would stand before what was lost with theirs, so they are dropped, and
//! their attempt sends again what is open.

use consort_types::worker::FromWorker;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

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
        self.line.lock().sender = None;
    }

    /// Which connection it is, from 1.
    pub(crate) fn epoch(&self) -> u64 {
        self.line.lock().epoch
    }

    /// Hands a message over to the connection of that epoch; where that is gone the message is dropped.
    pub(crate) async fn send_within(&self, epoch: u64, message: FromWorker) {
        let full = {
            let line = self.line.lock();
            let Some(sender) = line.sender.as_ref().filter(|_| line.epoch == epoch) else { return };
            match sender.try_send(message) {
                Err(mpsc::error::TrySendError::Full(message)) => (sender.clone(), message),
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => return,
            }
        };
        let (sender, message) = full;
        // A closed channel means that the epoch has ended.
        let _ = sender.send(message).await;
    }

    /// Hands a last report over if that is possible at once; else gives it back.
    pub(crate) fn try_send(&self, report: FromWorker) -> Option<FromWorker> {
        match &self.line.lock().sender {
            Some(sender) => sender.try_send(report).err().map(mpsc::error::TrySendError::into_inner),
            None => Some(report),
        }
    }

    /// Hands a last report over, however long it takes.
    pub(crate) async fn send(&self, mut report: FromWorker) {
        loop {
            let opened = self.opened.notified();
            tokio::pin!(opened);
            // Registered before the look at the sender, so that no opening in between is missed.
            opened.as_mut().enable();
            let sender = self.line.lock().sender.clone();
            if let Some(sender) = sender {
                match sender.send(report).await {
                    Ok(()) => return,
                    Err(mpsc::error::SendError(back)) => report = back,
                }
                self.drop_closed();
                continue;
            }
            opened.await;
        }
    }

    /// Lets go of a channel that nobody reads any more.
    fn drop_closed(&self) {
        let sender = &mut self.line.lock().sender;
        if sender.as_ref().is_some_and(mpsc::Sender::is_closed) {
            *sender = None;
        }
    }
}
