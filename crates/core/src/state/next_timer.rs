//! Where the earliest armed timer is, as far as it is known without reading.
//!
//! For: starting each scan of the timers behind everything that has fired or was disarmed. A store keeps a mark for
//! each deleted row until it compacts, and a scan from time zero would walk over all of them again and again.
//! Not for: the timers themselves (a table has them), or for anything durable (`Meta::timers_from` is).
//! Invariant: no armed timer sorts before [`NextTimer::start`].

use consort_types::Time;

use crate::run::keys::TimerKey;

/// What is known of the earliest armed timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextTimer {
    /// None is armed before this key; whether one is armed at it or behind it is not known.
    From(TimerKey),
    /// This is the earliest one.
    Armed(TimerKey),
    /// None is armed.
    Nothing,
}

impl NextTimer {
    /// Where a scan begins; `None` where it would find nothing.
    pub(crate) fn start(self) -> Option<TimerKey> {
        match self {
            Self::From(key) | Self::Armed(key) => Some(key),
            Self::Nothing => None,
        }
    }

    /// A timer was armed.
    pub(crate) fn armed(&mut self, key: TimerKey) {
        *self = match *self {
            Self::From(from) => Self::From(from.min(key)),
            Self::Armed(earliest) => Self::Armed(earliest.min(key)),
            Self::Nothing => Self::Armed(key),
        };
    }

    /// A timer was disarmed, or has fired.
    pub(crate) fn gone(&mut self, key: TimerKey) {
        if *self == Self::Armed(key) {
            *self = Self::From(key);
        }
    }

    /// Every timer before this key has fired, or is about to.
    pub(crate) fn pass(&mut self, key: TimerKey) {
        *self = Self::From(key);
    }

    /// A scan from [`NextTimer::start`] has found this first.
    pub(crate) fn found(&mut self, first: Option<TimerKey>) {
        *self = first.map_or(Self::Nothing, Self::Armed);
    }

    /// No timer is due before this; `None` where none is armed.
    pub(crate) fn not_before(self) -> Option<Time> {
        self.start().map(|key| key.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(due: u64) -> TimerKey {
        TimerKey::at(Time(due))
    }

    #[test]
    fn the_start_passes_what_is_gone_and_turns_back_for_what_is_armed_before_it() {
        let mut next = NextTimer::From(at(0));
        next.found(Some(at(30)));
        next.gone(at(40));
        assert_eq!(next, NextTimer::Armed(at(30)), "another one is removed");
        next.gone(at(30));
        assert_eq!(next, NextTimer::From(at(30)), "what comes next is not known");
        next.pass(at(50));
        next.armed(at(60));
        assert_eq!(next.not_before(), Some(Time(50)));
        next.armed(at(45));
        assert_eq!(next.start(), Some(at(45)), "armed before what was passed");
        next.found(None);
        assert_eq!((next.start(), next.not_before()), (None, None));
        next.armed(at(7));
        assert_eq!(next, NextTimer::Armed(at(7)));
    }
}
