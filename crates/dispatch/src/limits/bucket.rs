//! A token bucket.
//!
//! For: rate limits with a burst. Not for: the waiters for a token (see [`super::Limits`]).
//! Invariant: no fraction of a token is ever lost, and a bucket never holds more than its burst.
//!
//! Tokens are counted in parts: one token is as many parts as the rate's span has microseconds, and each microsecond
//! adds as many parts as the rate has tasks.

use consort_types::{Span, Time, registry::Rate};

#[derive(Debug)]
pub(super) struct TokenBucket {
    rate: Rate,
    parts: u128,
    at: Time,
}

impl TokenBucket {
    /// An empty bucket: after a restart the burst may have been used up just before.
    pub(super) fn new(rate: Rate, now: Time) -> Self {
        Self { rate, parts: 0, at: now }
    }

    fn token(&self) -> u128 {
        u128::from(self.rate.per.0.max(1))
    }

    /// Adds what has accrued since the last call.
    pub(super) fn refill(&mut self, now: Time) {
        let most = self.token() * u128::from(self.rate.burst.max(1));
        let accrued = u128::from(now.since(self.at).0) * u128::from(self.rate.tasks);
        self.parts = (self.parts + accrued).min(most);
        self.at = self.at.max(now);
    }

    pub(super) fn has_token(&self) -> bool {
        self.parts >= self.token()
    }

    pub(super) fn take(&mut self) {
        self.parts = self.parts.saturating_sub(self.token());
    }

    /// When the next token is there; `None` where none ever comes.
    pub(super) fn next_token(&self) -> Option<Time> {
        let missing = self.token().saturating_sub(self.parts);
        let tasks = u128::from(self.rate.tasks);
        (tasks > 0).then(|| self.at.after(Span(u64::try_from(missing.div_ceil(tasks)).unwrap_or(u64::MAX))))
    }

    /// The bucket of another rate, with as many whole tokens.
    pub(super) fn with_rate(mut self, rate: Rate, now: Time) -> Self {
        self.refill(now);
        let mut bucket = Self::new(rate, now);
        bucket.parts = self.parts / self.token() * bucket.token();
        bucket.refill(now);
        bucket
    }
}
