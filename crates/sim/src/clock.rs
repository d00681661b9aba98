//! The clocks of a world.
//!
//! For: the wall clock, which may leap, above the steady time of the simulation. Not for: log time (the process has
//! it).
//! Invariant: `latest` is never before a time that any clock has shown.

use consort_engine::ClockReading;
use consort_types::{Span, Time};

/// A second, in microseconds.
pub(crate) const SECOND: u64 = 1_000_000;
/// The wall clock when the world begins.
const WALL: u64 = 1_790_000_000 * SECOND;

/// The wall clock.
#[derive(Debug)]
pub(crate) struct WallClock {
    /// How far it is from the right time.
    offset: i64,
    /// The latest time that any clock has shown.
    latest: Time,
}

impl WallClock {
    pub(crate) fn new() -> Self {
        Self { offset: 0, latest: Time(WALL) }
    }

    /// What the clocks show at a steady time.
    pub(crate) fn read(&mut self, now: u64) -> ClockReading {
        let wall = Time((WALL + now).saturating_add_signed(self.offset));
        self.note(wall);
        ClockReading { wall, steady: Span(now) }
    }

    /// A clock has shown this time.
    pub(crate) fn note(&mut self, time: Time) {
        self.latest = self.latest.max(time);
    }

    /// The latest time that any clock has shown.
    pub(crate) fn latest(&self) -> Time {
        self.latest
    }

    /// Leaps by so many microseconds.
    pub(crate) fn leap(&mut self, by: i64) {
        self.offset += by;
    }

    /// Shows the right time again, which may be hours before what it has shown.
    pub(crate) fn correct(&mut self) {
        self.offset = 0;
    }
}
