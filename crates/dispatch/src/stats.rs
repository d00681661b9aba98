//! What was observed since the server started.
//!
//! For: outcomes, times and delays by namespace, agent, version and capability; what a queue did in the last minute.
//! Not for: the health of one instance.
//! Invariant: memory is bounded, whatever is observed.

use std::collections::BTreeMap;

use consort_types::{Span, Time, registry::SkillView};

/// Skills that are observed; more are not.
const SKILLS_MAX: usize = 10_000;

/// Buckets for each factor of two.
const STEPS: u64 = 4;
/// Bits of a time below which everything is in the first bucket.
const LOWEST: u64 = 6;
const BUCKETS: usize = 144;
/// Observations after which the old ones count half.
const HALVE_AT: u32 = 4_096;

/// How long things took, in buckets that grow by a quarter of a factor of two.
#[derive(Debug)]
pub(super) struct Histogram {
    counts: Box<[u32; BUCKETS]>,
    total: u32,
}

impl Histogram {
    fn new() -> Self {
        Self { counts: Box::new([0; BUCKETS]), total: 0 }
    }

    pub(super) fn add(&mut self, span: Span) {
        if self.total >= HALVE_AT {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().sum();
        }
        self.counts[bucket(span.0)] += 1;
        self.total += 1;
    }

    /// The span that this share of a hundred does not exceed, rounded up to its bucket.
    pub(super) fn percentile(&self, percent: u32) -> Option<Span> {
        let wanted = (u64::from(self.total) * u64::from(percent)).div_ceil(100).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted {
                return Some(Span(top(bucket)));
            }
        }
        None
    }
}

fn bucket(micros: u64) -> usize {
    let Some(whole) = micros.checked_ilog2().map(u64::from).filter(|whole| *whole >= LOWEST) else { return 0 };
    let rest = (micros >> (whole - 2)) & (STEPS - 1);
    usize::try_from((whole - LOWEST) * STEPS + rest + 1).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The largest span in a bucket.
fn top(bucket: usize) -> u64 {
    let at = bucket as u64;
    let (whole, rest) = (at / STEPS + LOWEST, at % STEPS);
    (1 << whole) + (rest << (whole - 2)) - 1
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It completed.
    Completed,
    /// It failed by its own report; `blamed` where another attempt with the same input might not have failed.
    Failed {
        /// Whether it says something about the instance.
        blamed: bool,
    },
    /// It timed out, or passed its deadline.
    Expired,
    /// It was lost with its instance.
    Lost,
    /// It was lost with its instance, and what it did is unknown.
    Unknown,
}

/// What was observed of a skill.
#[derive(Debug)]
pub(super) struct Skill {
    completed: u64,
    failed: u64,
    unknown: u64,
    expired: u64,
    lost: u64,
    pub(super) took: Histogram,
    pub(super) queued: Histogram,
}

impl Skill {
    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Completed => self.completed += 1,
            Outcome::Failed { .. } => self.failed += 1,
            Outcome::Expired => self.expired += 1,
            Outcome::Lost => self.lost += 1,
            Outcome::Unknown => self.unknown += 1,
        }
    }

    fn view(&self, capability: &str) -> SkillView {
        SkillView {
            capability: capability.to_owned(),
            completed: self.completed,
            failed: self.failed,
            unknown: self.unknown,
            expired: self.expired,
            lost: self.lost,
            p50: self.took.percentile(50),
            p95: self.took.percentile(95),
            queued_p50: self.queued.percentile(50),
            queued_p95: self.queued.percentile(95),
        }
    }
}

/// A skill that is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SkillId(usize);

/// Whose skill it is: namespace, agent, version, and the capability.
type SkillKey = (String, String, String, String);

/// Everything that is observed of skills.
#[derive(Debug, Default)]
pub(super) struct Skills {
    ids: BTreeMap<SkillKey, SkillId>,
    all: Vec<Skill>,
}

impl Skills {
    /// The skill; `None` where too many are observed already.
    pub(super) fn find_or_make(
        &mut self,
        namespace: &str,
        agent: &str,
        version: &str,
        capability: &str,
    ) -> Option<SkillId> {
        let key = (namespace.to_owned(), agent.to_owned(), version.to_owned(), capability.to_owned());
        if let Some(id) = self.ids.get(&key) {
            return Some(*id);
        }
        if self.all.len() >= SKILLS_MAX {
            return None;
        }
        let id = SkillId(self.all.len());
        let (took, queued) = (Histogram::new(), Histogram::new());
        self.all.push(Skill { completed: 0, failed: 0, unknown: 0, expired: 0, lost: 0, took, queued });
        self.ids.insert(key, id);
        Some(id)
    }

    pub(super) fn count(&mut self, id: SkillId, outcome: Outcome) {
        if let Some(skill) = self.all.get_mut(id.0) {
            skill.count(outcome);
        }
    }

    pub(super) fn get_mut(&mut self, id: SkillId) -> Option<&mut Skill> {
        self.all.get_mut(id.0)
    }

    /// What was observed of a version of an agent, by capability.
    pub(super) fn views(&self, namespace: &str, agent: &str, version: &str) -> Vec<SkillView> {
        let from = (namespace.to_owned(), agent.to_owned(), version.to_owned(), String::new());
        let known = self.ids.range(from..);
        let of_version =
            known.take_while(|((n, a, v, _), _)| (n.as_str(), a.as_str(), v.as_str()) == (namespace, agent, version));
        of_version.filter_map(|((.., capability), id)| Some(self.all.get(id.0)?.view(capability))).collect()
    }
}

/// How many happened in the last minute, to within five seconds.
#[derive(Debug, Default)]
pub(super) struct Minute {
    slots: [u32; Self::SLOTS],
    at: u64,
}

impl Minute {
    const SLOTS: usize = 12;
    const SLOT: u64 = 5_000_000;

    pub(super) fn add(&mut self, now: Time) {
        self.move_to(now);
        let slots = Self::SLOTS as u64;
        if let Some(slot) = self.slots.get_mut(usize::try_from(self.at % slots).unwrap_or_default()) {
            *slot = slot.saturating_add(1);
        }
    }

    fn move_to(&mut self, now: Time) {
        let (to, slots) = (now.0 / Self::SLOT, Self::SLOTS as u64);
        for at in (self.at + 1..=to).rev().take(Self::SLOTS) {
            self.slots[usize::try_from(at % slots).unwrap_or_default()] = 0;
        }
        self.at = self.at.max(to);
    }

    pub(super) fn total(&mut self, now: Time) -> u32 {
        self.move_to(now);
        self.slots.iter().fold(0, |sum, slot| sum.saturating_add(*slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_a_quarter_above_what_was_seen() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.percentile(50), None);
        (1..=100).for_each(|n| histogram.add(Span::from_millis(n)));
        for (percent, exact) in [(50, 50_000_u64), (95, 95_000), (100, 100_000)] {
            let found = histogram.percentile(percent).unwrap().0;
            assert!((exact..=exact + exact / 4 + 1).contains(&found), "{percent}: {found}");
        }
        for micros in [0, 1, 63, 64, 65, 127, 128, 1_000_003, 1 << 41] {
            let at = bucket(micros);
            assert!(top(at) >= micros && (at == 0 || top(at - 1) < micros), "{micros} is in bucket {at}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn old_observations_fade() {
        let mut histogram = Histogram::new();
        (0..HALVE_AT).for_each(|_| histogram.add(Span::from_secs(10)));
        (0..HALVE_AT * 3).for_each(|_| histogram.add(Span::from_millis(1)));
        assert!(histogram.percentile(50).unwrap() < Span::from_millis(2));
        assert!(histogram.total <= HALVE_AT);
    }

    #[test]
    fn a_minute_forgets() {
        let mut minute = Minute::default();
        let at = |seconds: u64| Time(1_000_000_000_000 + seconds * 1_000_000);
        (0..30).for_each(|second| minute.add(at(second)));
        assert_eq!(minute.total(at(54)), 30);
        assert_eq!(minute.total(at(70)), 15, "to within five seconds");
        assert_eq!(minute.total(at(1_000)), 0);
    }
}
