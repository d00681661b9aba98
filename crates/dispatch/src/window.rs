//! How many things happened lately.
//!
//! For: throughput over the last minute, to within five seconds. Not for: totals.
//! Invariant: memory is constant, and reading changes nothing.

use consort_types::Time;

#[derive(Debug, Default)]
pub(crate) struct SlidingWindow {
    slots: [u32; Self::SLOTS],
    /// The newest slot, counted from the beginning of time.
    at: u64,
}

impl SlidingWindow {
    const SLOTS: usize = 12;
    /// Microseconds of a slot.
    const SLOT: u64 = 5_000_000;

    pub(crate) fn add(&mut self, now: Time) {
        let to = now.0 / Self::SLOT;
        for at in (self.at + 1..=to).rev().take(Self::SLOTS) {
            self.slots[index(at)] = 0;
        }
        self.at = self.at.max(to);
        let slot = &mut self.slots[index(self.at)];
        *slot = slot.saturating_add(1);
    }

    pub(crate) fn total(&self, now: Time) -> u32 {
        let to = self.at.max(now.0 / Self::SLOT);
        let oldest = (to + 1).saturating_sub(Self::SLOTS as u64);
        (oldest..=self.at).fold(0, |sum, at| sum.saturating_add(self.slots[index(at)]))
    }
}

fn index(at: u64) -> usize {
    usize::try_from(at % SlidingWindow::SLOTS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_forgets() {
        let mut window = SlidingWindow::default();
        let at = |seconds: u64| Time(1_000_000_000_000 + seconds * 1_000_000);
        (0..30).for_each(|second| window.add(at(second)));
        assert_eq!(window.total(at(54)), 30);
        assert_eq!(window.total(at(70)), 15, "to within five seconds");
        assert_eq!(window.total(at(1_000)), 0);
        window.add(at(1_000));
        assert_eq!(window.total(at(1_000)), 1);
    }
}
