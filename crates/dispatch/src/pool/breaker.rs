//! The circuit breaker of a worker instance.
//!
//! For: its health by how its attempts end, and the reason in words. Not for: silence (see `liveness`).
//! Invariant: an open breaker is probed after a pause, one task at a time, so that an instance that works again
//! recovers by itself.

use consort_types::{Span, StepInstanceId, Time, registry::Health};

/// Attempts that count.
const WINDOW: u32 = 10;
/// Failures among them from which on an instance is left out, where they are also most of them.
const FAILURES_OPEN: u32 = 5;
/// Failures among them from which on it counts as degraded.
const FAILURES_DEGRADED: u32 = 3;
/// The pause before the first probe; each probe that fails doubles it.
const PAUSE_FIRST: Span = Span::from_secs(1);
/// The longest pause.
const PAUSE_MAX: Span = Span::from_secs(60);
/// How many times slower than usual counts as slow, in 64ths of a factor of two.
const SLOW: i64 = 2 * 64;
/// Completions after which slowness is judged.
const SLOW_SAMPLES: u32 = 5;
/// A shorter time is never slow.
const SLOW_FLOOR: Span = Span::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Time },
    HalfOpen { probe: Option<StepInstanceId> },
}

/// The circuit breaker of an instance.
#[derive(Debug)]
pub(crate) struct Breaker {
    state: State,
    /// The outcomes of the last attempts, the last one in the lowest bit: 1 failed.
    outcomes: u32,
    count: u32,
    /// Openings since an attempt succeeded.
    openings: u32,
    why: String,
    /// How much slower than usual its completions are lately, in 64ths of a factor of two.
    slowness: i64,
    samples: u32,
    /// How long its completions take, in microseconds, on average lately.
    took: u64,
}

impl Breaker {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Closed,
            outcomes: 0,
            count: 0,
            openings: 0,
            why: String::new(),
            slowness: 0,
            samples: 0,
            took: 0,
        }
    }

    /// Whether it may be given a task.
    pub(crate) fn lets_through(&self) -> bool {
        matches!(self.state, State::Closed | State::HalfOpen { probe: None })
    }

    /// Whether it is in use without reserve.
    pub(crate) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// When it is tried again.
    pub(crate) fn until(&self) -> Option<Time> {
        if let State::Open { until } = self.state { Some(until) } else { None }
    }

    /// The pause is over.
    pub(crate) fn half_open(&mut self) {
        self.state = State::HalfOpen { probe: None };
    }

    /// It was given a task.
    pub(crate) fn given(&mut self, task: StepInstanceId) {
        if let State::HalfOpen { probe } = &mut self.state {
            *probe = Some(task);
        }
    }

    /// It has released a task, whatever its outcome.
    pub(crate) fn released(&mut self, task: StepInstanceId) {
        if let State::HalfOpen { probe } = &mut self.state
            && *probe == Some(task)
        {
            *probe = None;
        }
    }

    /// An attempt ended well or badly.
    pub(crate) fn ended(&mut self, task: StepInstanceId, well: bool, now: Time) {
        match self.state {
            State::Closed => {
                self.outcomes = (self.outcomes << 1 | u32::from(!well)) & ((1 << WINDOW) - 1);
                self.count = (self.count + 1).min(WINDOW);
                let (failures, count) = (self.failures(), self.count);
                if failures >= FAILURES_OPEN && failures * 10 >= count * 7 {
                    self.open(now, format!("{failures} of the last {count} attempts failed"));
                }
            }
            State::HalfOpen { probe: Some(probe) } if probe == task => {
                if well {
                    (self.state, self.outcomes, self.count, self.openings) = (State::Closed, 0, 0, 0);
                } else {
                    let why = format!("it failed again when it was tried for the {} time", ordinal(self.openings));
                    self.open(now, why);
                }
            }
            // Earlier outcomes are no evidence about now.
            State::Open { .. } | State::HalfOpen { .. } => {}
        }
    }

    fn open(&mut self, now: Time, why: String) {
        let pause = PAUSE_FIRST.0.saturating_mul(1 << self.openings.min(16)).min(PAUSE_MAX.0);
        self.openings += 1;
        self.why = why;
        self.state = State::Open { until: now.after(Span(pause)) };
    }

    fn failures(&self) -> u32 {
        self.outcomes.count_ones()
    }

    /// A completion took this long, where half of all such take `usual`; that is computed only where it matters.
    pub(crate) fn took(&mut self, took: Span, usual: impl FnOnce() -> Option<Span>) {
        self.took = if self.took == 0 { took.0 } else { self.took - self.took / 4 + took.0 / 4 };
        let factor = if took < SLOW_FLOOR {
            0
        } else {
            let Some(usual) = usual() else { return };
            steps(took.0) - steps(usual.0)
        };
        self.slowness = (self.slowness * 3 + factor) / 4;
        self.samples = self.samples.saturating_add(1);
    }

    /// How slow it is, roughly: the lower goes first. An instance without completions is tried first.
    pub(crate) fn speed(&self) -> u8 {
        u8::try_from(steps(self.took) / 32).unwrap_or(u8::MAX)
    }

    fn is_slow(&self) -> bool {
        self.samples >= SLOW_SAMPLES && self.slowness >= SLOW
    }

    /// How it does, and why.
    pub(crate) fn health(&self) -> (Health, Option<String>) {
        match self.state {
            State::Open { .. } | State::HalfOpen { .. } => (Health::Unhealthy, Some(self.why.clone())),
            State::Closed if self.failures() >= FAILURES_DEGRADED => {
                let why = format!("{} of the last {} attempts failed", self.failures(), self.count);
                (Health::Degraded, Some(why))
            }
            State::Closed if self.is_slow() => {
                let times = 1_u64 << (self.slowness / 64).clamp(0, 40);
                (Health::Degraded, Some(format!("it takes more than {times} times as long as usual")))
            }
            State::Closed => (Health::Healthy, None),
        }
    }
}

/// The logarithm to the base of two, in 64ths; 0 for 0.
fn steps(number: u64) -> i64 {
    let Some(whole) = number.checked_ilog2() else { return 0 };
    let rest = (u128::from(number) << 6 >> whole) - 64;
    i64::from(whole) * 64 + i64::try_from(rest).unwrap_or_default()
}

fn ordinal(number: u32) -> String {
    let ending = match (number % 10, number % 100) {
        (1, not) if not != 11 => "st",
        (2, not) if not != 12 => "nd",
        (3, not) if not != 13 => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}
