//! Waiting for a condition of the outside world.
//!
//! For: tests against real processes and threads. Not for: anything that can be awaited.
//! Invariant: a condition that comes true is seen soon; one that never does fails the test with its name.

use std::time::{Duration, Instant};

/// How long a condition may take before a test gives up: far longer than any slow machine needs.
const BOUND: Duration = Duration::from_mins(1);

/// Polls until `look` finds something, and returns it.
///
/// # Panics
/// After a minute without success, naming `what` was waited for.
pub fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < BOUND, "waited {} s in vain for {what}", BOUND.as_secs());
        std::thread::park_timeout(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn finds_what_comes_later() {
        let mut looks = 0;
        let found = super::wait_until("the third look", || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(found, 3);
    }
}
