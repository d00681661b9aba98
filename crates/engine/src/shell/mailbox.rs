//! The way into the loop thread.
//!
//! For: many senders, one receiver, and as few wake-ups as can be. Not for: limits (the handle counts what waits).
//! Invariant: messages come out in the order in which they went in; none is lost while the receiver lives.

use std::{
    mem,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// How long the receiver looks again before it sleeps, where that has helped lately. It covers the way of a short task
/// to a worker in another process and back. The core is given to any thread that needs it; one that is kept from sleeping
/// takes the next thread on at once, where waking it would cost a virtual machine some 100 µs.
const LOOK_AGAIN: Duration = Duration::from_micros(400);
/// How many waits go by without looking again after it has not helped this often.
const MISSES_MAX: u32 = 4;
const SKIPPED_WAITS: u32 = 32;

struct State<T> {
    items: Vec<T>,
    /// Wake up without a message.
    nudged: bool,
    sleeping: bool,
    closed: bool,
}

/// A queue that is emptied at once.
pub(crate) struct Mailbox<T> {
    state: Mutex<State<T>>,
    wake: Condvar,
    /// Whether something is there; a hint that is read without the lock.
    filled: AtomicBool,
    /// Looks in vain, one after the other; above [`MISSES_MAX`] it counts waits until the next try.
    misses: AtomicU32,
}

impl<T> Mailbox<T> {
    pub(crate) fn new() -> Self {
        let state = State { items: Vec::new(), nudged: false, sleeping: false, closed: false };
        Self {
            state: Mutex::new(state),
            wake: Condvar::new(),
            filled: AtomicBool::new(false),
            misses: AtomicU32::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message in; returns it where the receiver has closed the mailbox.
    pub(crate) fn send(&self, item: T) -> Result<(), T> {
        let mut state = self.state();
        if state.closed {
            return Err(item);
        }
        state.items.push(item);
        self.fill(state);
        Ok(())
    }

    /// Wakes the receiver without a message: there is something elsewhere for it to look at.
    pub(crate) fn nudge(&self) {
        let mut state = self.state();
        state.nudged = true;
        self.fill(state);
    }

    fn fill(&self, mut state: MutexGuard<'_, State<T>>) {
        self.filled.store(true, Ordering::Release);
        let wake = mem::take(&mut state.sleeping);
        drop(state);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Whether something waits; a hint that takes no lock.
    pub(crate) fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Acquire)
    }

    /// Moves everything that waits into `into`.
    pub(crate) fn drain(&self, into: &mut Vec<T>) {
        let mut state = self.state();
        state.nudged = false;
        self.filled.store(false, Ordering::Release);
        if into.is_empty() {
            mem::swap(&mut state.items, into);
        } else {
            into.append(&mut state.items);
        }
    }

    /// Waits until a message or a nudge is there, or until the timeout is over (`None`: without a timeout).
    pub(crate) fn wait(&self, timeout: Option<Duration>) {
        if self.look_again(timeout) {
            return;
        }
        // A timeout too long for the clock is as good as none.
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut state = self.state();
        while state.items.is_empty() && !state.nudged {
            state.sleeping = true;
            state = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                Some(left) if left.is_zero() => break,
                Some(left) => self.wake.wait_timeout(state, left).map_or_else(|e| e.into_inner().0, |(guard, _)| guard),
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        state.sleeping = false;
    }

    /// Looks again for a moment; whether something came. Where that keeps failing, it is left out for a while, so that
    /// an engine that waits for slow agents costs nothing.
    fn look_again(&self, timeout: Option<Duration>) -> bool {
        if self.filled.load(Ordering::Acquire) {
            return true;
        }
        let misses = self.misses.load(Ordering::Relaxed);
        if misses > MISSES_MAX || timeout.is_some_and(|timeout| timeout <= LOOK_AGAIN) {
            let waits = if misses >= MISSES_MAX + SKIPPED_WAITS { MISSES_MAX } else { misses.saturating_add(1) };
            self.misses.store(waits, Ordering::Relaxed);
            return false;
        }
        let began = Instant::now();
        while began.elapsed() < LOOK_AGAIN {
            std::thread::yield_now();
            if self.filled.load(Ordering::Acquire) {
                self.misses.store(0, Ordering::Relaxed);
                return true;
            }
        }
        self.misses.store(misses + 1, Ordering::Relaxed);
        false
    }

    /// Refuses messages from now on, and gives out those that wait.
    pub(crate) fn close(&self) -> Vec<T> {
        let mut state = self.state();
        state.closed = true;
        mem::take(&mut state.items)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn messages_keep_their_order_across_threads() {
        let mailbox = Arc::new(Mailbox::new());
        let sender = Arc::clone(&mailbox);
        let thread = std::thread::spawn(move || (0..1000).for_each(|n| sender.send(n).unwrap()));
        let (mut all, mut some) = (Vec::new(), Vec::new());
        while all.len() < 1000 {
            mailbox.wait(None);
            mailbox.drain(&mut some);
            all.append(&mut some);
        }
        thread.join().unwrap();
        assert!(all.iter().copied().eq(0..1000));
    }

    #[test]
    fn a_nudge_wakes_without_a_message() {
        let mailbox = Arc::new(Mailbox::<()>::new());
        let other = Arc::clone(&mailbox);
        let thread = std::thread::spawn(move || other.nudge());
        mailbox.wait(None);
        thread.join().unwrap();
        let mut none = Vec::new();
        mailbox.drain(&mut none);
        assert!(none.is_empty() && !mailbox.is_filled());
    }

    #[test]
    fn a_closed_box_gives_messages_back() {
        let mailbox = Mailbox::new();
        mailbox.send(1).unwrap();
        assert_eq!(mailbox.close(), vec![1]);
        assert_eq!(mailbox.send(2), Err(2));
        mailbox.wait(Some(Duration::ZERO));
    }
}
