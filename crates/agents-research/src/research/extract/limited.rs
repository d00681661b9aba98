//! Reading a file within a time limit, and only as long as its caller waits for it.
//!
//! For: every format, so that no file can hold up an index build without end. Not for: limits of bytes, which the formats have.
//! Invariant: the caller waits no longer than the limit, whatever the work does; the work is told to stop.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use super::Unread;

/// How long one file may take.
pub(super) const TIME_MAX: Duration = Duration::from_mins(1);
/// How often a waiting caller looks whether its work was cancelled.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Whether the work should stop, because its caller waits no more.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Whether to stop.
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does `work` in a thread with a stack of `stack` bytes, for at most `limit` and until `cancelled` says so. A thread that
/// does not obey is left behind.
pub(super) fn limited<T: Send + 'static>(
    stack: usize,
    limit: Duration,
    cancelled: &dyn Fn() -> bool,
    work: impl FnOnce(&Stop) -> Result<T, Unread> + Send + 'static,
) -> Result<T, Unread> {
    let stop = Stop::default();
    let told = stop.clone();
    let (sender, receiver) = sync_channel(1);
    std::thread::Builder::new()
        .name("reader".to_owned())
        .stack_size(stack)
        .spawn(move || {
            // A defect in a parser costs one file, not the run.
            let done = catch_unwind(AssertUnwindSafe(|| work(&told)));
            // The receiver may have given up by now.
            let _ = sender.send(done.unwrap_or(Err(Unread::Failed)));
        })
        .map_err(|e| Unread::Disk(format!("no thread for a reader: {e}")))?;
    let answer = wait(&receiver, limit, cancelled);
    stop.set();
    answer?
}

/// What comes from a reader, within the limit and until `cancelled` says so.
pub(super) fn wait<T>(from: &Receiver<T>, limit: Duration, cancelled: &dyn Fn() -> bool) -> Result<T, Unread> {
    let began = Instant::now();
    loop {
        let left = limit.saturating_sub(began.elapsed());
        match from.recv_timeout(left.min(LOOK_EVERY)) {
            Ok(answer) => return Ok(answer),
            Err(RecvTimeoutError::Disconnected) => return Err(Unread::Failed),
            Err(RecvTimeoutError::Timeout) if cancelled() => return Err(Unread::Cancelled),
            Err(RecvTimeoutError::Timeout) if left.is_zero() => return Err(Unread::Slow),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns only when it is told to.
    fn hang(stop: &Stop) {
        while !stop.is_set() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn work_that_does_not_end_is_left_behind_and_a_defect_is_its_own() {
        let stack = 64 * 1024;
        let hangs = |stop: &Stop| {
            hang(stop);
            Ok(())
        };
        assert!(matches!(limited(stack, Duration::ZERO, &|| false, hangs), Err(Unread::Slow)));
        assert!(matches!(limited(stack, TIME_MAX, &|| true, hangs), Err(Unread::Cancelled)));
        assert!(matches!(limited(stack, TIME_MAX, &|| false, |_| panic!("a defect")), Err::<(), _>(Unread::Failed)));
        assert!(matches!(limited(stack, TIME_MAX, &|| false, |_| Ok(7)), Ok(7)));
    }
}
