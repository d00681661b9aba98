//! Drives the code of one attempt to its end: polls it, sends what it asks, parks it, stops it.
//!
//! For: one tokio task per attempt. Not for: connections (see `session`).
//! Invariant: an attempt hands over exactly one last report (complete, fail or park), or none where it was stopped;
//! whatever the code does, a panic included, stays inside.

use std::{
    any::Any,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use consort_types::{Code, Error, Payload, text::panic_message, worker::FromWorker};
use futures::{future::BoxFuture, task::AtomicWaker};
use tokio::time::{Instant, Sleep};

use crate::{
    TaskContext, TaskError,
    agent::Erased,
    attempt::{Attempt, Termination},
    outbox::{Outbox, Place},
};

/// How long the driver is patient.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// How long code is quiescent before its task parks.
    pub(crate) park_after: Duration,
    /// How long cancelled code may continue.
    pub(crate) cancel_grace: Duration,
}

/// How the code of an attempt ended.
enum End {
    /// It came to a result.
    Done(Result<Payload, TaskError>),
    /// It only waits, for these entries.
    Parked(Vec<u32>),
    /// It was stopped, and no report is expected.
    Stopped,
}

/// What the driver does next.
enum Step {
    Send(FromWorker),
    End(End),
}

/// Runs one attempt to its end and hands its last report over.
pub(crate) async fn drive(
    attempt: Arc<Attempt>,
    input: Payload,
    code: Option<Erased>,
    outbox: &Outbox,
    timeouts: Timeouts,
) {
    let end = match code {
        Some(code) => {
            let mut driver = Driver::new(Arc::clone(&attempt), &code, input, outbox, timeouts);
            let end = driver.run().await;
            // Before the code is dropped: what it still waits for then ends, and no drop is taken for a decision.
            attempt.finish();
            driver.drop_code();
            end
        }
        None => End::Done(Err(unknown(&attempt.offer.capability))),
    };
    attempt.finish();
    if let Some(report) = report(&attempt, end) {
        while let Some(message) = attempt.next_to_show() {
            send(&attempt, outbox, outbox.epoch(), message).await;
        }
        deliver(&attempt, outbox, report).await;
    }
}

/// Hands a message over to the connection of that epoch, unless the attempt is stopped meanwhile.
async fn send(attempt: &Attempt, outbox: &Outbox, epoch: u64, message: FromWorker) {
    if let Some(unsent) = outbox.try_send_within(epoch, message) {
        tokio::select! {
            biased;
            () = stopped(attempt) => {}
            () = unsent => {}
        }
    }
}

fn unknown(capability: &str) -> TaskError {
    let message = if capability.is_empty() {
        "the step names no capability, and the agent has several".to_owned()
    } else {
        format!("this version of the agent has no capability `{capability}`")
    };
    TaskError::from_parts(Error::new(Code::BadRequest, message), true)
}

/// The last report on an attempt.
fn report(attempt: &Attempt, end: End) -> Option<FromWorker> {
    let (task, token) = (attempt.offer.task, attempt.offer.token);
    Some(match end {
        End::Done(Ok(output)) => FromWorker::Complete { task, token, output },
        End::Done(Err(error)) => {
            let (error, retryable, retry_after) = error.into_parts();
            FromWorker::Fail { task, token, error, retryable, retry_after }
        }
        End::Parked(waiting) => FromWorker::Park { task, token, waiting },
        End::Stopped => return None,
    })
}

/// Hands a report over, unless the attempt is stopped meanwhile.
async fn deliver(attempt: &Attempt, outbox: &Outbox, report: FromWorker) {
    if let Some(report) = outbox.try_send(report) {
        tokio::select! {
            biased;
            () = stopped(attempt) => {}
            () = outbox.send(report) => {}
        }
    }
}

/// Ends when the attempt is stopped from outside.
async fn stopped(attempt: &Attempt) {
    poll_fn(|cx| {
        attempt.watch(cx.waker());
        if attempt.termination().is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Records that the code is to be polled, and wakes the driver.
#[derive(Default)]
struct WakeFlag {
    raised: AtomicBool,
    driver: AtomicWaker,
}

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.raised.store(true, Ordering::Release);
        self.driver.wake();
    }
}

struct Driver<'a> {
    attempt: Arc<Attempt>,
    outbox: &'a Outbox,
    /// The connection to which what was sent belongs.
    epoch: u64,
    code: Option<BoxFuture<'static, Result<Payload, TaskError>>>,
    wake_flag: Arc<WakeFlag>,
    waker: Waker,
    timeouts: Timeouts,
    /// Whether the code was polled: what is cancelled before is not begun.
    started: bool,
    /// A place on the connection for the next message to watchers.
    place: Option<Pin<Box<Place>>>,
    /// Runs while the code is quiescent.
    still: Option<Pin<Box<Sleep>>>,
    /// Runs once the attempt is cancelled.
    grace: Option<Pin<Box<Sleep>>>,
}

impl<'a> Driver<'a> {
    fn new(attempt: Arc<Attempt>, code: &Erased, input: Payload, outbox: &'a Outbox, timeouts: Timeouts) -> Self {
        let context = TaskContext::new(Arc::clone(&attempt));
        let code = Arc::clone(code);
        // The handler is entered inside the future, so that a panic there is caught like any other.
        let code: BoxFuture<'static, _> = Box::pin(async move { code(context, input).await });
        let wake_flag = Arc::new(WakeFlag::default());
        wake_flag.raised.store(true, Ordering::Release);
        let waker = Waker::from(Arc::clone(&wake_flag));
        let (code, epoch) = (Some(code), outbox.epoch());
        Self {
            attempt,
            outbox,
            epoch,
            code,
            wake_flag,
            waker,
            timeouts,
            started: false,
            place: None,
            still: None,
            grace: None,
        }
    }

    /// Polls the code and sends what it asks until it ends.
    async fn run(&mut self) -> End {
        loop {
            match poll_fn(|cx| self.poll_step(cx)).await {
                Step::Send(message) => send(&self.attempt, self.outbox, self.epoch, message).await,
                Step::End(end) => return end,
            }
        }
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        self.attempt.watch(cx.waker());
        self.wake_flag.driver.register(cx.waker());
        loop {
            match self.attempt.termination() {
                Some(Termination::Abort) => return Poll::Ready(Step::End(End::Stopped)),
                Some(Termination::Refused(error)) => {
                    let refused = TaskError::from_parts(error, false);
                    return Poll::Ready(Step::End(End::Done(Err(refused))));
                }
                None => {}
            }
            if self.wake_flag.raised.swap(false, Ordering::Acquire) {
                self.still = None;
                if !self.started && self.attempt.cancelled().is_cancelled() {
                    return Poll::Ready(Step::End(End::Stopped));
                }
                self.started = true;
                if let Poll::Ready(result) = self.poll_code() {
                    return Poll::Ready(Step::End(self.ended(result)));
                }
                continue;
            }
            let epoch = self.outbox.epoch();
            if self.epoch != epoch {
                self.epoch = epoch;
                self.attempt.send_again();
            }
            if let Some(entry) = self.attempt.next_entry() {
                // A permit that was requested earlier would precede the entry.
                self.place = None;
                return Poll::Ready(Step::Send(entry));
            }
            if self.attempt.release() {
                continue;
            }
            self.show(cx);
            return self.poll_timers(cx).map(Step::End);
        }
    }

    /// Sends what watchers are shown, as far as the connection has room: the code never waits for them.
    fn show(&mut self, cx: &mut Context<'_>) {
        while self.attempt.has_to_show() {
            let place = match &mut self.place {
                Some(place) => place,
                None => match self.outbox.place(self.epoch) {
                    Some(place) => self.place.insert(Box::pin(place)),
                    None => return,
                },
            };
            let Poll::Ready(place) = place.as_mut().poll(cx) else { return };
            self.place = None;
            match place {
                Ok(place) => {
                    if let Some(message) = self.attempt.next_to_show() {
                        place.send(message);
                    }
                }
                Err(_) => return,
            }
        }
    }

    /// Polls the code once; a panic is a failure that another attempt may not meet.
    fn poll_code(&mut self) -> Poll<Result<Payload, TaskError>> {
        let code = self.code.as_mut().expect("code is polled until it ends");
        let mut cx = Context::from_waker(&self.waker);
        match catch_unwind(AssertUnwindSafe(|| code.as_mut().poll(&mut cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(result)) => Poll::Ready(self.attempt.end(result)),
            Err(panic) => Poll::Ready(Err(panicked(&*panic))),
        }
    }

    fn ended(&self, result: Result<Payload, TaskError>) -> End {
        // A report on a cancelled attempt has no effect.
        if self.attempt.cancelled().is_cancelled() { End::Stopped } else { End::Done(result) }
    }

    /// The code is quiescent: stops it when it is cancelled, parks it when it only waits.
    fn poll_timers(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.attempt.cancelled().is_cancelled() {
            let after = self.timeouts.cancel_grace;
            let grace = self.grace.get_or_insert_with(|| Box::pin(tokio::time::sleep(after)));
            return grace.as_mut().poll(cx).map(|()| End::Stopped);
        }
        if !self.attempt.is_idle() {
            self.still = None;
            return Poll::Pending;
        }
        let after = self.timeouts.park_after;
        let still = self.still.get_or_insert_with(|| Box::pin(tokio::time::sleep(after)));
        while still.as_mut().poll(cx).is_ready() {
            if let Some(waiting) = self.attempt.unblock() {
                return Poll::Ready(End::Parked(waiting));
            }
            if self.attempt.release() || !self.attempt.is_idle() {
                self.still = None;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            still.as_mut().reset(Instant::now() + after);
        }
        Poll::Pending
    }

    /// Drops the code; a panic in that changes nothing about the attempt.
    fn drop_code(&mut self) {
        let code = self.code.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(code)));
    }
}

fn panicked(panic: &(dyn Any + Send)) -> TaskError {
    TaskError::retryable(format!("the agent panicked: {}", panic_message(panic)))
        .hint("this is a defect of the agent; its own output has the backtrace")
}
