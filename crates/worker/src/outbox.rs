//! Where reports go while connections come and go.
//!
//! For: handing reports over in order, with backpressure. Not for: what they say.
//! Invariant: a report leaves its sender only into a channel that took it; where none is open, the sender waits.

use consort_types::worker::FromWorker;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    sender: Mutex<Option<mpsc::Sender<FromWorker>>>,
    opened: Notify,
}

impl Outbox {
    /// Reports go here from now on.
    pub(crate) fn open(&self, sender: mpsc::Sender<FromWorker>) {
        *self.sender.lock() = Some(sender);
        self.opened.notify_waiters();
    }

    /// Reports wait for the next connection.
    pub(crate) fn close(&self) {
        *self.sender.lock() = None;
    }

    /// Hands a report over if that is possible at once; else gives it back.
    pub(crate) fn try_send(&self, report: FromWorker) -> Option<FromWorker> {
        match &*self.sender.lock() {
            Some(sender) => sender.try_send(report).err().map(mpsc::error::TrySendError::into_inner),
            None => Some(report),
        }
    }

    /// Hands a report over, however long it takes.
    pub(crate) async fn send(&self, mut report: FromWorker) {
        loop {
            let opened = self.opened.notified();
            tokio::pin!(opened);
            // Registered before the look at the sender, so that no opening in between is missed.
            opened.as_mut().enable();
            let sender = self.sender.lock().clone();
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
        let mut sender = self.sender.lock();
        if sender.as_ref().is_some_and(mpsc::Sender::is_closed) {
            *sender = None;
        }
    }
}
