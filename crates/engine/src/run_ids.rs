//! Ids of the runs that start at a door.
//!
//! For: ids that sort as the starts do, which lists of runs promise ("newest first"). Not for: runs that the machine
//! starts, whose ids follow from the log.
//! Invariant: an id is larger than every one that this object has made in the same millisecond.

use std::sync::{Mutex, PoisonError};

use consort_types::{RunId, Time};
use ulid::Ulid;

/// Makes run ids: a millisecond, then chance; within a millisecond, the one after the last.
pub(crate) struct RunIds(Mutex<Ulid>);

impl RunIds {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Ulid::nil()))
    }

    /// The next id, of this moment and with this chance.
    pub(crate) fn next(&self, wall: Time, chance: u128) -> RunId {
        let made = Ulid::from_parts(wall.0 / 1_000, chance);
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = last.timestamp_ms() == made.timestamp_ms();
        // The largest chance has no successor; one in 2^80 starts may then be out of order, but not twice.
        *last = if same { last.increment().unwrap_or(made) } else { made };
        RunId(last.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_millisecond_sort_as_they_were_made() {
        let ids = RunIds::new();
        let made: Vec<RunId> = [9, 1, 5].map(|chance| ids.next(Time(7_000_999), chance)).into();
        assert!(made.is_sorted() && made[0] < made[1] && made[1] < made[2], "{made:?}");
        assert!(ids.next(Time(7_001_000), 0) > made[2], "the next millisecond begins again");
        assert!(ids.next(Time(6_000_000), 3) < made[0], "a clock that was set back is followed");
    }
}
