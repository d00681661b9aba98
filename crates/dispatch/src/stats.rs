//! What was observed since the server started.
//!
//! For: outcomes, durations and delays by namespace, agent, version and capability. Not for: the health of one instance
//! (see `pool::breaker`), or throughput (see `window`).
//! Invariant: memory is bounded, whatever is observed.

use std::collections::BTreeMap;

use consort_types::{Span, registry::SkillView};

use crate::model::Outcome;

/// Statistics that are observed; more are not.
const STATS_MAX: usize = 10_000;

/// Buckets for each factor of two.
const STEPS: u64 = 4;
/// Bits of a time below which everything is in the first bucket.
const LOWEST: u64 = 6;
const BUCKETS: usize = 144;
/// Observations after which the old ones count half.
const HALVE_AT: u32 = 4_096;

/// How long things took, in buckets that grow by a quarter of a factor of two.
#[derive(Debug)]
pub(crate) struct Histogram {
    counts: Box<[u32; BUCKETS]>,
    total: u32,
}

impl Histogram {
    fn new() -> Self {
        Self { counts: Box::new([0; BUCKETS]), total: 0 }
    }

    pub(crate) fn add(&mut self, span: Span) {
        if self.total >= HALVE_AT {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().sum();
        }
        self.counts[bucket(span.0)] += 1;
        self.total += 1;
    }

    /// The span that this share of a hundred does not exceed, rounded up to its bucket.
    pub(crate) fn percentile(&self, percent: u32) -> Option<Span> {
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

/// What was observed of a capability of a version of an agent.
#[derive(Debug)]
pub(crate) struct CapabilityStats {
    completed: u64,
    failed: u64,
    unknown: u64,
    expired: u64,
    lost: u64,
    pub(crate) took: Histogram,
    pub(crate) queued: Histogram,
}

impl CapabilityStats {
    pub(crate) fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Completed => self.completed += 1,
            Outcome::Failed { .. } | Outcome::Broken => self.failed += 1,
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

/// One set of statistics. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StatsId(usize);

/// Namespace, agent, version and capability.
type StatsKey = (String, String, String, String);

/// All statistics.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    ids: BTreeMap<StatsKey, StatsId>,
    all: Vec<CapabilityStats>,
}

impl Statistics {
    /// The statistics of a capability; `None` where too many are kept already.
    pub(crate) fn find_or_add(
        &mut self,
        namespace: &str,
        agent: &str,
        version: &str,
        capability: &str,
    ) -> Option<StatsId> {
        let key = (namespace.to_owned(), agent.to_owned(), version.to_owned(), capability.to_owned());
        if let Some(id) = self.ids.get(&key) {
            return Some(*id);
        }
        if self.all.len() >= STATS_MAX {
            return None;
        }
        let id = StatsId(self.all.len());
        let (took, queued) = (Histogram::new(), Histogram::new());
        self.all.push(CapabilityStats { completed: 0, failed: 0, unknown: 0, expired: 0, lost: 0, took, queued });
        self.ids.insert(key, id);
        Some(id)
    }

    pub(crate) fn get_mut(&mut self, id: StatsId) -> Option<&mut CapabilityStats> {
        self.all.get_mut(id.0)
    }

    /// What was observed of a version of an agent, by capability.
    pub(crate) fn views(&self, namespace: &str, agent: &str, version: &str) -> Vec<SkillView> {
        let from = (namespace.to_owned(), agent.to_owned(), version.to_owned(), String::new());
        let known = self.ids.range(from..);
        let of_version =
            known.take_while(|((n, a, v, _), _)| (n.as_str(), a.as_str(), v.as_str()) == (namespace, agent, version));
        of_version.filter_map(|((.., capability), id)| Some(self.all.get(id.0)?.view(capability))).collect()
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
}
