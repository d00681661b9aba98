//! One attempt while it runs: what the context, the session and the driver share.
//!
//! For: passing between them what happened. Not for: deciding what follows (see `drive`) or replay (see `journal`).
//! Invariant: no lock is held while code of a handler or a waker runs.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    task::Waker,
};

use consort_types::{
    Code, Error, Payload,
    worker::{FromWorker, JournalEntry, JournalRequest, TaskOffer},
};
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{
    TaskError,
    journal::{Asked, Divergence, Journal},
    live::{Live, Shown},
};

/// Why the session ends a running attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Termination {
    /// Stop at once and report nothing: another attempt owns the task, or its result is no longer needed.
    Abort,
    /// A report was refused: the attempt fails with this error.
    Refused(Error),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// The offer, without its input and journal.
    pub(crate) offer: TaskOffer,
    journal: Mutex<Journal>,
    live: Mutex<Live>,
    termination: Mutex<Option<Termination>>,
    cancelled: CancellationToken,
    /// Set before the last report is handed over: an offer of the same task is then a new one.
    ended: AtomicBool,
    /// The driver.
    driver: AtomicWaker,
}

impl Attempt {
    /// The state of an attempt that replays the offer's journal; also returns the input.
    pub(crate) fn new(mut offer: TaskOffer) -> (Self, Payload) {
        let journal = Journal::new(std::mem::take(&mut offer.journal));
        let input = std::mem::take(&mut offer.input);
        let attempt = Self {
            offer,
            journal: Mutex::new(journal),
            live: Mutex::default(),
            termination: Mutex::new(None),
            cancelled: CancellationToken::new(),
            ended: AtomicBool::new(false),
            driver: AtomicWaker::new(),
        };
        (attempt, input)
    }

    // What the code does, by its context.

    /// Requests the next entry, with what the code calls it.
    pub(crate) fn ask(&self, request: JournalRequest, title: Option<String>) -> Result<Asked, TaskError> {
        self.with_journal(|journal| journal.ask(request, title))
    }

    /// Requests the marker of a patch; see [`Journal::patch`].
    pub(crate) fn patch(&self, name: &str, record: bool) -> Result<Option<u32>, TaskError> {
        self.with_journal(|journal| journal.patch(name, record))
    }

    fn with_journal<T>(&self, request: impl FnOnce(&mut Journal) -> T) -> T {
        let mut journal = self.journal.lock();
        let asked = request(&mut journal);
        let beyond = journal.is_beyond();
        drop(journal);
        if beyond {
            self.end_by(Termination::Abort);
        } else {
            self.driver.wake();
        }
        asked
    }

    /// The result of an entry, once the code may see it.
    pub(crate) fn poll_entry(&self, index: u32, waker: &Waker) -> Option<Result<Payload, TaskError>> {
        self.journal.lock().poll(index, waker)
    }

    /// How many results the code was given before that of an entry; `None` while it may not see it.
    pub(crate) fn turn(&self, index: u32) -> Option<u32> {
        self.journal.lock().turn(index)
    }

    /// The code no longer waits for an entry.
    pub(crate) fn forget(&self, index: u32) {
        self.journal.lock().forget(index);
    }

    /// The code has dropped an answer unread. In a panic that means nothing.
    pub(crate) fn leave(&self, index: u32) {
        if !std::thread::panicking() {
            self.journal.lock().leave(index);
            self.driver.wake();
        }
    }

    /// A local effect has ended.
    pub(crate) fn finish_run(&self, index: u32, result: Result<Payload, Error>) {
        self.journal.lock().finish_run(index, result);
        self.driver.wake();
    }

    /// The code dropped a local effect. In a panic, or when the whole attempt is dropped, that means nothing.
    pub(crate) fn drop_run(&self, index: u32) {
        if !std::thread::panicking() {
            self.journal.lock().drop_run(index);
            self.driver.wake();
        }
    }

    /// Ends every wait with `error`; nothing more is recorded.
    pub(crate) fn close(&self, error: TaskError) {
        let wakers = {
            let mut journal = self.journal.lock();
            journal.close(error);
            journal.take_wakers()
        };
        wakers.into_iter().for_each(Waker::wake);
        self.driver.wake();
    }

    /// Adds live progress for watchers.
    pub(crate) fn show(&self, add: impl FnOnce(&mut Live)) {
        add(&mut self.live.lock());
        self.driver.wake();
    }

    /// Is cancelled when the result of the attempt is no longer needed.
    pub(crate) fn cancelled(&self) -> &CancellationToken {
        &self.cancelled
    }

    // What the session does.

    /// The engine has recorded or answered an entry.
    pub(crate) fn recorded(&self, index: u32, entry: JournalEntry) {
        self.journal.lock().record(index, entry);
        self.driver.wake();
    }

    /// Asks the code to end; its waits fail.
    pub(crate) fn cancel(&self, reason: &str) {
        self.cancelled.cancel();
        self.close(TaskError::from_parts(Error::new(Code::Cancelled, reason), false));
    }

    /// Ends the attempt from outside.
    pub(crate) fn end_by(&self, termination: Termination) {
        self.termination.lock().get_or_insert(termination);
        self.driver.wake();
    }

    /// There is a new connection: wakes the driver.
    pub(crate) fn reconnected(&self) {
        self.driver.wake();
    }

    /// Whether the attempt has ended and only its last report is under way.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    // What the driver does.

    /// Makes sure that `waker` is called when something happens.
    pub(crate) fn watch(&self, waker: &Waker) {
        self.driver.register(waker);
    }

    /// How the attempt was ended from outside.
    pub(crate) fn termination(&self) -> Option<Termination> {
        self.termination.lock().clone()
    }

    /// Sends unanswered requests again, before anything else.
    pub(crate) fn send_again(&self) {
        self.journal.lock().send_again();
    }

    /// The next entry to send while the code is quiescent.
    pub(crate) fn next_entry(&self) -> Option<FromWorker> {
        let (task, token) = (self.offer.task, self.offer.token);
        let (index, entry) = self.journal.lock().next_to_send()?;
        Some(FromWorker::Record { task, token, index, entry })
    }

    /// Whether there is something to show to watchers.
    pub(crate) fn has_to_show(&self) -> bool {
        !self.live.lock().is_empty()
    }

    /// The next thing to show to watchers.
    pub(crate) fn next_to_show(&self) -> Option<FromWorker> {
        let (task, token) = (self.offer.task, self.offer.token);
        Some(match self.live.lock().next()? {
            Shown::Progress(message) => FromWorker::Heartbeat { task, token, progress: Some(message) },
            Shown::Delta(delta) => FromWorker::Stream { task, token, delta },
        })
    }

    /// Gives the code the next result that is due; whether a waker was called.
    pub(crate) fn release(&self) -> bool {
        let wakers = self.journal.lock().release();
        let any = !wakers.is_empty();
        wakers.into_iter().for_each(Waker::wake);
        any
    }

    /// Whether code that is quiescent for long needs [`Attempt::unblock`].
    pub(crate) fn is_idle(&self) -> bool {
        let journal = self.journal.lock();
        journal.holds_back() || journal.parkable().is_some()
    }

    /// The code has been quiescent: lets the replay continue out of order, or returns the entries for which the task
    /// parks.
    pub(crate) fn unblock(&self) -> Option<Vec<u32>> {
        let mut journal = self.journal.lock();
        if journal.holds_back() {
            journal.stop_holding_back();
            return None;
        }
        journal.parkable()
    }

    /// What the end of the code means for the task.
    pub(crate) fn end(&self, result: Result<Payload, TaskError>) -> Result<Payload, TaskError> {
        self.journal.lock().end(result)
    }

    /// Ends the attempt, without a report, where its code requests what is not recorded.
    pub(crate) fn replay_only(&self) {
        self.journal.lock().replay_only();
    }

    /// Where the code took another path than the recorded one; see [`Journal::divergence`].
    pub(crate) fn divergence(&self, did: &str) -> Option<Divergence> {
        self.journal.lock().divergence(did)
    }

    /// Closes the attempt: requests of tasks that the code left running end with an error.
    pub(crate) fn finish(&self) {
        self.ended.store(true, Ordering::Release);
        self.cancelled.cancel();
        self.close(TaskError::from_parts(Error::new(Code::Cancelled, "the attempt has ended"), false));
    }
}
