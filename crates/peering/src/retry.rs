//! Trying again after a side was lost.
//!
//! For: which losses pass, and the pauses between tries. Not for: connecting.
//! Invariant: a loss is told once; before the first connection, trying ends after a bounded number of tries.

use std::time::Duration;

use consort_types::{Code, Error};
use serde::Serialize;

/// The pause before a side is tried again, which doubles with each try.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How often both sides are tried in vain before the first connection: some eleven seconds.
const FIRST_TRIES: u32 = 7;

/// One of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Consort.
    Consort,
    /// The other one.
    Peer,
}

impl Side {
    fn lost(error: &Error) -> Option<Self> {
        match error.code {
            Code::PeerUnreachable => Some(Self::Peer),
            Code::Unreachable | Code::Overloaded | Code::Stopping | Code::LeaseLost => Some(Self::Consort),
            _ => None,
        }
    }
}

/// What follows from the end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The side that was lost.
    pub side: Side,
    /// Whether it is the first try since then that failed.
    pub first: bool,
    /// Whether both sides were ever reached.
    pub ever: bool,
    /// The pause before the next try.
    pub pause: Duration,
}

/// The tries since the last connection.
#[derive(Debug, Default)]
pub struct Retry {
    tries: u32,
    ever: bool,
    told: bool,
}

impl Retry {
    /// Both sides were reached.
    pub fn connected(&mut self) {
        *self = Self { tries: 0, ever: true, told: false };
    }

    /// What follows from the end of a session; `None` where trying again is of no use.
    pub fn after(&mut self, error: &Error) -> Option<Lost> {
        let side = Side::lost(error)?;
        self.tries += 1;
        if !self.ever && self.tries > FIRST_TRIES {
            return None;
        }
        let first = !std::mem::replace(&mut self.told, true);
        let pause = (PAUSE_MIN * 2_u32.saturating_pow(self.tries - 1)).min(PAUSE_MAX);
        Some(Lost { side, first, ever: self.ever, pause })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_told_once_and_the_first_connection_is_given_up() {
        let (mut retry, error) = (Retry::default(), Error::new(Code::PeerUnreachable, "away"));
        let tried: Vec<Lost> = std::iter::from_fn(|| retry.after(&error)).collect();
        assert_eq!((tried.len(), tried[0].first, tried[1].first), (7, true, false));
        retry.connected();
        let tried: Vec<Lost> = (0..100).filter_map(|_| retry.after(&error)).collect();
        assert_eq!((tried.len(), tried[0].pause, tried[99].pause), (100, PAUSE_MIN, PAUSE_MAX));
        assert_eq!(retry.after(&Error::new(Code::PeerRefused, "no")), None);
    }
}
