//! Threads that stay awake while a partition of this process commits.
//!
//! For: runtimes whose threads carry what a commit leads to: a thread that sleeps at that moment has to be woken for
//! it, which costs a virtual machine some 100 µs, as much as the disk. Not for: waiting for a certain event; a
//! thread that lingers looks for work afterwards, as it would have done anyway.
//! Invariant: nothing depends on it but time: lingering is bounded, and gives the core to any thread that needs it.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

/// How long a thread lingers at most: a few times what a fast disk needs for a group.
const LINGER_MAX: Duration = Duration::from_micros(500);

/// Partitions of this process that are committing.
static COMMITTING: AtomicUsize = AtomicUsize::new(0);

/// A partition is committing, until this is dropped.
pub(crate) struct Committing(());

impl Committing {
    pub(crate) fn begin() -> Self {
        COMMITTING.fetch_add(1, Ordering::AcqRel);
        Self(())
    }
}

impl Drop for Committing {
    fn drop(&mut self) {
        COMMITTING.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Returns when no partition of this process is committing, and after half a millisecond at the latest. For a thread
/// of a runtime that is about to sleep, such as in Tokio's `on_thread_park`.
pub fn linger() {
    let began = Instant::now();
    while COMMITTING.load(Ordering::Acquire) > 0 && began.elapsed() < LINGER_MAX {
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lingering_ends_with_the_commit_or_with_its_limit() {
        let committing = Committing::begin();
        let lingering = std::thread::spawn(linger);
        linger();
        drop(committing);
        lingering.join().unwrap();
    }
}
