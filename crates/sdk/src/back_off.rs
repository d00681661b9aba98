//! Pauses between attempts to reach a server.
//!
//! For: workers and clients that lost their server. Not for: retries of tasks (the engine decides those).
//! Invariant: a pause is between half of the planned one and all of it, by chance, so that the clients of a lost server
//! do not reconnect all at once.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

/// The first pause, and the longest.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Pauses that double up to five seconds.
#[derive(Debug)]
pub(crate) struct BackOff {
    next: Duration,
}

impl BackOff {
    pub(crate) fn new() -> Self {
        Self { next: FIRST }
    }

    /// The next pause.
    pub(crate) fn pause(&mut self) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(LONGEST);
        let chance = RandomState::new().build_hasher().finish() % 1_000;
        full / 2 + full / 2_000 * chance as u32
    }

    /// Starts again from the shortest pause, if the connection lasted for a while: a server that accepts connections
    /// and drops them at once is not retried faster.
    pub(crate) fn lasted(&mut self, span: Duration) {
        if span > LONGEST {
            self.next = FIRST;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_after_success() {
        let mut back_off = BackOff::new();
        let mut full = FIRST;
        for _ in 0..10 {
            let pause = back_off.pause();
            assert!(pause >= full / 2 && pause <= full, "{pause:?} of {full:?}");
            full = (full * 2).min(LONGEST);
        }
        back_off.lasted(Duration::from_secs(1));
        assert!(back_off.pause() >= LONGEST / 2);
        back_off.lasted(LONGEST * 2);
        assert!(back_off.pause() <= FIRST);
    }
}
