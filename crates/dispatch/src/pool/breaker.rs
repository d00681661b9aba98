//! The circuit breaker of a worker instance.
//!
//! For: its health by how its attempts end, and the reason in words. Not for: silence (see `liveness`).
//! Invariant: an open breaker is probed after a pause, one task at a time, so that an instance that works again
//! recovers by itself. Ordinary failures open it only while all that it does lately fails, and another instance does
//! well at the same: where something outside is down, its author's `retry` decides.

use std::collections::BTreeMap;

use consort_types::{Span, StepInstanceId, Time, registry::Health};

use crate::model::Evidence;

/// Attempts that count.
const WINDOW: u32 = 10;
/// Capabilities whose outcomes are kept apart; those of more are counted with the first.
const CAPABILITIES_MAX: usize = 64;
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

/// The outcomes of the last attempts.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    /// The last one in the lowest bit: 1 was bad.
    outcomes: u32,
    count: u32,
}

impl Window {
    fn add(&mut self, bad: bool) {
        self.outcomes = (self.outcomes << 1 | u32::from(bad)) & ((1 << WINDOW) - 1);
        self.count = (self.count + 1).min(WINDOW);
    }

    fn bad(self) -> u32 {
        self.outcomes.count_ones()
    }

    /// Whether most of them are bad, and they are enough to say so.
    fn is_failing(self) -> bool {
        self.bad() >= FAILURES_OPEN && self.bad() * 10 >= self.count * 7
    }
}

/// The circuit breaker of an instance.
#[derive(Debug)]
pub(crate) struct Breaker {
    state: State,
    /// What says that the instance itself is ill.
    ill: Window,
    /// Failures of any kind, by capability.
    failures: BTreeMap<Box<str>, Window>,
    /// Openings since an attempt succeeded.
    openings: u32,
    /// Whether ordinary failures have opened it.
    by_failures: bool,
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
            ill: Window::default(),
            failures: BTreeMap::new(),
            openings: 0,
            by_failures: false,
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

    /// An attempt at a capability ended; `has_peer` where another instance does well
    /// at it.
    pub(crate) fn ended(
        &mut self,
        task: StepInstanceId,
        capability: &str,
        evidence: Evidence,
        has_peer: bool,
        now: Time,
    ) {
        match self.state {
            State::Closed => {
                self.note(capability, evidence);
                if self.ill.is_failing() {
                    let why = format!("{} of the last {} attempts failed", self.ill.bad(), self.ill.count);
                    self.open(now, why, false);
                } else if has_peer && let Some(why) = self.all_fails() {
                    self.open(now, why, true);
                }
            }
            State::HalfOpen { probe: Some(probe) } if probe == task => {
                if evidence == Evidence::Well || (evidence == Evidence::Failed && !has_peer) {
                    self.close();
                } else {
                    let why = format!("it failed again when it was tried for the {} time", ordinal(self.openings));
                    self.open(now, why, evidence == Evidence::Failed);
                }
            }
            // Earlier outcomes are no evidence about now.
            State::Open { .. } | State::HalfOpen { .. } => {}
        }
    }

    fn note(&mut self, capability: &str, evidence: Evidence) {
        self.ill.add(evidence == Evidence::Ill);
        let room = self.failures.len() < CAPABILITIES_MAX;
        let window = match self.failures.get_mut(capability) {
            Some(window) => window,
            None if room => self.failures.entry(capability.into()).or_default(),
            None => match self.failures.values_mut().next() {
                Some(first) => first,
                None => return,
            },
        };
        window.add(evidence != Evidence::Well);
    }

    /// Why, where each capability that it was lately given fails most of the time.
    fn all_fails(&self) -> Option<String> {
        let all = !self.failures.is_empty() && self.failures.values().all(|window| window.is_failing());
        all.then(|| {
            let (bad, count) =
                self.failures.values().fold((0, 0), |(bad, count), of| (bad + of.bad(), count + of.count));
            format!("{bad} of the last {count} attempts failed")
        })
    }

    fn open(&mut self, now: Time, why: String, by_failures: bool) {
        let pause = PAUSE_FIRST.0.saturating_mul(1 << self.openings.min(16)).min(PAUSE_MAX.0);
        self.openings += 1;
        self.why = why;
        self.by_failures = by_failures;
        self.state = State::Open { until: now.after(Span(pause)) };
    }

    fn close(&mut self) {
        (self.state, self.openings) = (State::Closed, 0);
        self.ill = Window::default();
        self.failures.clear();
    }

    /// Whether it is in use without reserve, and does well at a capability.
    pub(crate) fn does(&self, capability: &str) -> bool {
        let known = self.failures.get(capability);
        self.is_closed() && known.is_some_and(|window| window.count > window.bad() && !window.is_failing())
    }

    /// No other instance can do the same any more: ordinary failures are no reason to leave this one out.
    pub(crate) fn left_alone(&mut self) {
        if !self.is_closed() && self.by_failures {
            self.close();
        }
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

    /// What of its capabilities fails most, where that is worth a word.
    fn worst(&self) -> Option<String> {
        let (capability, window) = self.failures.iter().max_by_key(|(_, window)| window.bad())?;
        let told = window.bad() >= FAILURES_DEGRADED;
        told.then(|| match &**capability {
            "" => format!("{} of the last {} attempts failed", window.bad(), window.count),
            named => format!("{} of the last {} attempts at `{named}` failed", window.bad(), window.count),
        })
    }

    /// How it does, and why.
    pub(crate) fn health(&self) -> (Health, Option<String>) {
        match self.state {
            State::Open { .. } | State::HalfOpen { .. } => (Health::Unhealthy, Some(self.why.clone())),
            State::Closed if self.ill.bad() >= FAILURES_DEGRADED => {
                let why = format!("{} of the last {} attempts failed", self.ill.bad(), self.ill.count);
                (Health::Degraded, Some(why))
            }
            State::Closed if let Some(why) = self.worst() => (Health::Degraded, Some(why)),
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
