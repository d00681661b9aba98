//! Log time from two clocks: the steady one measures spans, the wall clock says what time it is.
//!
//! For: the time that a driver of a [`crate::Partition`] passes in. Log time never goes back, so following the wall
//! clock alone has a price: a wall clock that was wrong for one moment, or was set back, would stop every timer until
//! it has caught up. Here log time always advances with the steady clock, and the wall clock only corrects it.
//! Not for: reading clocks (the shell and the simulator do).
//! Invariant: log time never goes back, and while a process runs it advances at least as fast as the steady clock,
//! less one part in [`SLOWER`].

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use consort_types::{Span, Time, limits};

/// While log time leads the wall clock it advances slower by one part in this many, until the wall clock has caught up.
const SLOWER: u64 = 100;
/// What the wall clock may be ahead to be followed at once. A lead of log time beyond it is announced.
pub(crate) const STEP_MAX: Span = Span::from_secs(limits::CLOCK_STEP_SECONDS_MAX);
/// How long a larger leap lasts before it is followed.
const UNCONFIRMED_MAX: Span = Span::from_secs(limits::CLOCK_UNCONFIRMED_SECONDS_MAX);
/// What the wall clock may be ahead of the last record to be followed at once at a start.
const AHEAD_AT_START_MAX: Span = Span::from_secs(limits::CLOCK_AHEAD_AT_START_SECONDS_MAX);

/// What both clocks show at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// The wall clock. It may be set to anything at any time.
    pub wall: Time,
    /// Time since some moment before the process began, the time of a suspended machine included. It never goes back.
    pub steady: Span,
}

/// Time that was skipped: both clocks are read as if it had passed. Clones are the same.
///
/// For a rehearsal, in which a wait of a day is over at once; an engine with clients never skips.
#[derive(Clone, Debug, Default)]
pub struct SkippedTime(Arc<AtomicU64>);

impl SkippedTime {
    /// Skips more. The loop notices it when it is asked something next.
    pub fn add(&self, span: Span) {
        self.0.fetch_add(span.0, Ordering::AcqRel);
    }

    /// How much was skipped so far.
    pub fn so_far(&self) -> Span {
        Span(self.0.load(Ordering::Acquire))
    }

    /// What the clocks would show.
    pub(crate) fn seen(&self, reading: ClockReading) -> ClockReading {
        let skipped = self.so_far();
        ClockReading { wall: reading.wall.after(skipped), steady: Span(reading.steady.0.saturating_add(skipped.0)) }
    }
}

impl PartialEq for SkippedTime {
    fn eq(&self, other: &Self) -> bool {
        self.so_far() == other.so_far()
    }
}

impl Eq for SkippedTime {}

/// A notice on the clocks for the operator's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockNotice {
    /// The wall clock has leapt forward by this much, and is not followed yet.
    Leapt(Span),
    /// The wall clock was that much ahead for so long that log time has followed it.
    Followed(Span),
    /// The wall clock that had leapt forward was set back before log time followed it.
    Returned,
    /// Log time leads the wall clock by this much: it was set back, or was wrong when an earlier record was written.
    Leads(Span),
    /// The wall clock has caught up with log time.
    CaughtUp,
}

/// A forward leap of the wall clock that is not followed yet.
#[derive(Clone, Copy, Debug)]
struct Leap {
    /// The steady clock when it was first seen.
    since: Span,
    /// How far the wall clock is ahead of log time.
    by: Span,
}

/// Log time, as one process keeps it.
#[derive(Clone, Debug)]
pub struct Clock {
    log: Time,
    last: ClockReading,
    leap: Option<Leap>,
    /// Steady microseconds that were not enough for a whole one of slowing down.
    remainder: u64,
    /// Whether the lead over the wall clock has been announced.
    leads: bool,
    notices: Vec<ClockNotice>,
}

/// Log time at the start of a process: the wall clock, unless the last record is later, or so much earlier that the
/// wall clock is not to be believed at once. `last` is the time of the last record, where there is one.
pub(crate) fn first_time(wall: Time, last: Option<Time>) -> Time {
    match last {
        Some(last) if wall <= last || wall.since(last) > AHEAD_AT_START_MAX => last,
        _ => wall,
    }
}

impl Clock {
    /// The clock of a process whose log time was `log` when the clocks showed `reading`.
    pub fn new(log: Time, reading: ClockReading) -> Self {
        let mut clock = Self { log, last: reading, leap: None, remainder: 0, leads: false, notices: Vec::new() };
        clock.compare(reading);
        clock
    }

    /// Log time now, with the clocks showing this.
    pub fn advance(&mut self, reading: ClockReading) -> Time {
        let elapsed = reading.steady.0.saturating_sub(self.last.steady.0);
        let lead = self.log.after(Span(elapsed)).since(reading.wall);
        let slower = self.slower(elapsed, lead.0);
        self.log = self.log.after(Span(elapsed - slower));
        self.last = ClockReading { steady: self.last.steady.max(reading.steady), ..reading };
        self.compare(self.last);
        self.log
    }

    /// By how much less log time advances than the steady clock, so that the wall clock catches up.
    fn slower(&mut self, elapsed: u64, lead: u64) -> u64 {
        if lead == 0 {
            self.remainder = 0;
            return 0;
        }
        let parts = elapsed.saturating_add(self.remainder);
        self.remainder = parts % SLOWER;
        (parts / SLOWER).min(lead).min(elapsed)
    }

    /// Corrects log time by the wall clock, as far as that is believed.
    fn compare(&mut self, reading: ClockReading) {
        let ahead = reading.wall.since(self.log);
        self.note_lead(self.log.since(reading.wall));
        if ahead <= STEP_MAX {
            if self.leap.take().is_some() {
                self.notices.push(ClockNotice::Returned);
            }
            self.log = self.log.max(reading.wall);
            return;
        }
        let same = self.leap.filter(|leap| leap.by.0.abs_diff(ahead.0) <= STEP_MAX.0);
        match same {
            Some(leap) if reading.steady.0.saturating_sub(leap.since.0) < UNCONFIRMED_MAX.0 => {}
            Some(_) => {
                self.leap = None;
                self.log = reading.wall;
                self.notices.push(ClockNotice::Followed(ahead));
            }
            None => {
                self.leap = Some(Leap { since: reading.steady, by: ahead });
                self.notices.push(ClockNotice::Leapt(ahead));
            }
        }
    }

    fn note_lead(&mut self, lead: Span) {
        if lead > STEP_MAX && !self.leads {
            self.leads = true;
            self.notices.push(ClockNotice::Leads(lead));
        } else if lead == Span::ZERO && self.leads {
            self.leads = false;
            self.notices.push(ClockNotice::CaughtUp);
        }
    }

    /// Log time at the last reading.
    pub fn now(&self) -> Time {
        self.log
    }

    /// How far log time is ahead of the wall clock.
    pub fn lead(&self) -> Span {
        self.log.since(self.last.wall)
    }

    /// How far the wall clock has leapt ahead of log time, while that is not followed yet.
    pub fn leap(&self) -> Span {
        self.leap.map_or(Span::ZERO, |leap| leap.by)
    }

    /// The notices for the operator's log, each once.
    pub fn take_notices(&mut self) -> Vec<ClockNotice> {
        mem::take(&mut self.notices)
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_wrap, clippy::cast_sign_loss, reason = "the times here are far below either limit")]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;
    const HOUR: u64 = 3_600 * SECOND;
    const START: u64 = 1_790_000_000 * SECOND;

    /// Two clocks that advance together until the wall clock is set.
    struct Clocks {
        steady: u64,
        offset: i64,
        clock: Clock,
    }

    impl Clocks {
        fn new() -> Self {
            let reading = ClockReading { wall: Time(START), steady: Span(0) };
            Self { steady: 0, offset: 0, clock: Clock::new(Time(START), reading) }
        }

        fn reading(&self) -> ClockReading {
            ClockReading {
                wall: Time((START + self.steady).saturating_add_signed(self.offset)),
                steady: Span(self.steady),
            }
        }

        /// Time passes, in looks of a tenth of a second.
        fn pass(&mut self, micros: u64) -> u64 {
            let end = self.steady + micros;
            let before = self.clock.now();
            while self.steady < end {
                self.steady = (self.steady + SECOND / 10).min(end);
                let (earlier, reading) = (self.clock.now(), self.reading());
                assert!(self.clock.advance(reading) >= earlier, "log time never goes back");
            }
            self.clock.now().since(before).0
        }

        fn set(&mut self, by: i64) {
            self.offset += by;
        }
    }

    #[test]
    fn a_moment_with_a_wrong_clock_changes_nothing() {
        for wrong in [2 * HOUR as i64, 876_000 * HOUR as i64] {
            let mut clocks = Clocks::new();
            clocks.set(wrong);
            assert_eq!(clocks.pass(60 * SECOND), 60 * SECOND, "the leap is not followed");
            assert_eq!(clocks.clock.take_notices(), [ClockNotice::Leapt(Span(wrong as u64))]);
            assert_eq!(clocks.clock.leap(), Span(wrong as u64));
            clocks.set(-wrong);
            assert_eq!(clocks.pass(60 * SECOND), 60 * SECOND);
            assert_eq!(clocks.clock.take_notices(), [ClockNotice::Returned]);
            assert_eq!((clocks.clock.leap(), clocks.clock.lead()), (Span::ZERO, Span::ZERO));
        }
    }

    #[test]
    fn a_leap_that_lasts_is_followed_once_it_is_confirmed() {
        let mut clocks = Clocks::new();
        clocks.set(2 * HOUR as i64);
        clocks.pass(UNCONFIRMED_MAX.0 - SECOND);
        assert_eq!(clocks.clock.leap(), Span(2 * HOUR));
        let passed = clocks.pass(2 * SECOND);
        assert_eq!(passed, 2 * HOUR + 2 * SECOND);
        let leap = Span(2 * HOUR);
        assert_eq!(clocks.clock.take_notices(), [ClockNotice::Leapt(leap), ClockNotice::Followed(leap)]);
        assert_eq!(clocks.clock.now(), clocks.reading().wall);
    }

    #[test]
    fn a_wall_clock_that_goes_on_leaping_is_never_followed() {
        let mut clocks = Clocks::new();
        for _ in 0..20 {
            clocks.set(HOUR as i64);
            assert_eq!(clocks.pass(60 * SECOND), 60 * SECOND);
        }
    }

    #[test]
    fn small_steps_forward_are_taken_at_once() {
        let mut clocks = Clocks::new();
        clocks.set(3 * SECOND as i64);
        assert_eq!(clocks.pass(SECOND), 4 * SECOND);
        assert_eq!(clocks.clock.take_notices(), []);
    }

    #[test]
    fn a_clock_that_is_set_back_slows_log_time_by_a_hundredth_until_it_has_caught_up() {
        let mut clocks = Clocks::new();
        clocks.set(-(36 * SECOND as i64));
        assert_eq!(clocks.pass(1_000 * SECOND), 990 * SECOND, "a span is longer by at most a hundredth");
        assert_eq!(clocks.clock.take_notices(), [ClockNotice::Leads(Span(36 * SECOND - SECOND / 10 / 100))]);
        assert_eq!(clocks.clock.lead(), Span(26 * SECOND));
        clocks.pass(2_600 * SECOND);
        assert_eq!(clocks.clock.lead(), Span::ZERO);
        assert_eq!(clocks.clock.take_notices(), [ClockNotice::CaughtUp]);
        assert_eq!(clocks.pass(10 * SECOND), 10 * SECOND);
    }

    #[test]
    fn many_quick_looks_slow_log_time_as_much_as_few() {
        let mut clocks = Clocks::new();
        clocks.set(-(HOUR as i64));
        for _ in 0..100_000 {
            clocks.steady += 7;
            let reading = clocks.reading();
            clocks.clock.advance(reading);
        }
        assert_eq!(clocks.clock.now(), Time(START + 700_000 - 7_000));
    }

    #[test]
    fn a_suspended_machine_has_both_clocks_leap_and_is_followed_at_once() {
        let mut clocks = Clocks::new();
        clocks.steady += 2 * HOUR;
        let reading = clocks.reading();
        assert_eq!(clocks.clock.advance(reading), Time(START + 2 * HOUR));
        assert_eq!(clocks.clock.take_notices(), []);
    }

    #[test]
    fn a_start_follows_the_wall_clock_unless_that_is_not_to_be_believed() {
        let day = 24 * HOUR;
        assert_eq!(first_time(Time(START), None), Time(START), "a new log");
        assert_eq!(first_time(Time(START + 30 * day), Some(Time(START))), Time(START + 30 * day));
        assert_eq!(first_time(Time(START), Some(Time(START + HOUR))), Time(START + HOUR), "it never goes back");
        let far = Time(START + 36_500 * day);
        assert_eq!(first_time(far, Some(Time(START))), Time(START), "a hundred years are not believed at once");
        let clock = Clock::new(first_time(far, Some(Time(START))), ClockReading { wall: far, steady: Span(5) });
        assert_eq!(clock.leap(), Span(36_500 * day));
        assert_eq!(clock.now(), Time(START));
    }

    #[test]
    fn a_log_that_is_a_century_ahead_still_measures_spans() {
        let ahead = Time(START + 876_000 * HOUR);
        let mut clock = Clock::new(ahead, ClockReading { wall: Time(START), steady: Span(0) });
        assert!(matches!(clock.take_notices()[..], [ClockNotice::Leads(_)]));
        let now = clock.advance(ClockReading { wall: Time(START + 5 * SECOND), steady: Span(5 * SECOND) });
        assert_eq!(now.since(ahead), Span(5 * SECOND - 5 * SECOND / 100));
    }
}
