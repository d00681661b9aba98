//! Chance from a seed.
//!
//! For: choosing moments and actions so that a failure can be tried again. Not for: exact repetition; two processes
//! never meet twice in the same way.
//! Invariant: equal seeds give equal sequences.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A number that the environment gives by this name, or the default.
///
/// # Panics
/// Where it gives something else.
pub fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// The seed of a test: that of `CONSORT_CRASH_SEED`, or another one each time.
///
/// # Panics
/// As [`number`].
pub fn seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    number("CONSORT_CRASH_SEED", now)
}

/// The generator SplitMix64.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// A generator.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 where `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % (end.max(1) as u64)) as usize
    }

    /// True in `percent` of 100 cases.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// A time below `most`, in steps of a microsecond.
    pub fn within(&mut self, most: Duration) -> Duration {
        Duration::from_micros(self.number() % (most.as_micros() as u64).max(1))
    }
}
