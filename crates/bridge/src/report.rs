//! What a bridge tells of what it does.
//!
//! For: events as they happen, and the counts at the end. Not for: how they are shown.
//! Invariant: what is counted was done and answered.

use std::sync::{Mutex, PoisonError};

use consort_peering::{Direction, Side, Told};
use serde::Serialize;

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Another process works under this name; this one waits for its turn.
    StandingBy {
        /// The name.
        name: String,
    },
    /// Both sides are reached, and events are carried from now on.
    Connected {
        /// The other side.
        to: String,
    },
    /// A side is lost; it is tried again.
    Lost {
        /// Which.
        side: Side,
        /// Why.
        reason: String,
    },
    /// An event went out, and is confirmed there.
    Out {
        /// Its position.
        position: String,
        /// Its topic.
        topic: String,
    },
    /// An event came in.
    In {
        /// Its place on the other side.
        from: String,
        /// Its position.
        position: String,
        /// Its topic.
        topic: String,
        /// Whether it was there before.
        deduplicated: bool,
    },
    /// An event or a message is not carried.
    Refused {
        /// Which way it was to go.
        direction: &'static str,
        /// Its position, or its place on the other side.
        what: String,
        /// Why.
        reason: String,
    },
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Events that went out.
    pub out: u64,
    /// Events that came in.
    #[serde(rename = "in")]
    pub taken: u64,
    /// Of these, those that were there before.
    pub deduplicated: u64,
    /// What came from this bridge and was not sent back, and what has another topic.
    pub passed: u64,
    /// What was not carried.
    pub refused: u64,
    /// Losses of a side.
    pub lost: u64,
}

/// What is told of what happens.
type Tell<'a> = Box<dyn FnMut(&Event) + Send + 'a>;

/// The counts, and who is told.
pub(crate) struct Report<'a>(Mutex<Inner<'a>>);

struct Inner<'a> {
    tell: Tell<'a>,
    counts: Counts,
    told: Told<(&'static str, String)>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(tell: impl FnMut(&Event) + Send + 'a) -> Self {
        Self(Mutex::new(Inner { tell: Box::new(tell), counts: Counts::default(), told: Told::default() }))
    }

    fn with<T>(&self, change: impl FnOnce(&mut Inner<'a>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn counts(&self) -> Counts {
        self.with(|inner| inner.counts)
    }

    /// Tells an event, and counts it.
    pub(crate) fn tell(&self, event: &Event) {
        self.with(|inner| {
            match event {
                Event::Out { .. } => inner.counts.out += 1,
                Event::In { deduplicated, .. } => {
                    inner.counts.taken += 1;
                    inner.counts.deduplicated += u64::from(*deduplicated);
                }
                Event::Refused { .. } => inner.counts.refused += 1,
                Event::StandingBy { .. } | Event::Connected { .. } | Event::Lost { .. } => {}
            }
            (inner.tell)(event);
        });
    }

    /// Counts what is passed over.
    pub(crate) fn passed(&self, count: usize) {
        self.with(|inner| inner.counts.passed += count as u64);
    }

    /// Counts a loss of a side that was reached.
    pub(crate) fn lost(&self) {
        self.with(|inner| inner.counts.lost += 1);
    }

    /// Counts and tells what is not carried, once.
    pub(crate) fn refused(&self, direction: Direction, what: &str, reason: &str) {
        if self.with(|inner| inner.told.is_first((direction.as_str(), what.to_owned()))) {
            let (what, reason) = (what.to_owned(), reason.to_owned());
            self.tell(&Event::Refused { direction: direction.as_str(), what, reason });
        }
    }
}
