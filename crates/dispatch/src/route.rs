//! The requirements of a task.
//!
//! For: targets, version ranges, label selectors. Not for: choosing among the workers that fit.
//! Invariant: a version that is not a range means exactly that text.

use std::collections::BTreeMap;

use consort_types::worker::Route;
use semver::{Version, VersionReq};

use crate::model::WorkerInstanceId;

/// The requirements of the tasks of one queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    pub(crate) namespace: String,
    pub(crate) capability: Option<String>,
    pub(crate) agent: Option<String>,
    pub(crate) selector: Option<Selector>,
    /// The instance that their sticky keys are bound to.
    pub(crate) pinned: Option<WorkerInstanceId>,
    /// The agent and its version whose code wrote the journals of these tasks.
    pub(crate) written_by: Option<(String, String)>,
}

/// What a route asks of a worker instance, whatever the task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Selector {
    pub(crate) version: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
}

impl Selector {
    /// Splits a route into its requirements of instances, and its sticky key.
    pub(crate) fn of(route: Option<Route>) -> (Option<Self>, Option<String>) {
        let Some(Route { version, labels, sticky }) = route else { return (None, None) };
        let any = version.is_none() && labels.is_empty();
        ((!any).then_some(Self { version, labels }), sticky)
    }

    /// Whether a version fits.
    pub(crate) fn fits_version(&self, version: &str) -> bool {
        self.version.as_deref().is_none_or(|wanted| wanted == version || in_range(wanted, version))
    }
}

/// Whether labels include all wanted ones.
pub fn has_labels(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(name, value)| labels.get(name) == Some(value))
}

/// Whether a version is in a range. Numbers alone are no range, but one version as its author wrote it.
fn in_range(range: &str, version: &str) -> bool {
    if range.trim() == "*" {
        return true;
    }
    if !range.contains(['^', '~', '<', '>', '=', '*', ',']) {
        return false;
    }
    VersionReq::parse(range).is_ok_and(|range| semantic(version).is_some_and(|version| range.matches(&version)))
}

/// A version as numbers: `1` and `1.2` mean `1.0.0` and `1.2.0`.
fn semantic(version: &str) -> Option<Version> {
    let padded = || match version.matches('.').count() {
        0 => Version::parse(&format!("{version}.0.0")),
        1 => Version::parse(&format!("{version}.0")),
        _ => Version::parse(version),
    };
    Version::parse(version).or_else(|_| padded()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(wanted: &str, version: &str) -> bool {
        Selector { version: Some(wanted.into()), labels: BTreeMap::new() }.fits_version(version)
    }

    #[test]
    fn ranges_and_exact_versions_are_told_apart() {
        for (wanted, version) in [
            ("^1.2", "1.3.0"),
            ("^1.2", "1.2"),
            (">=1, <3", "2"),
            ("~1.2.3", "1.2.9"),
            ("1.2.*", "1.2.7"),
            ("*", "spring"),
            ("spring", "spring"),
            ("1.2", "1.2"),
            ("=1.2.0", "1.2"),
        ] {
            assert!(fits(wanted, version), "{wanted} {version}");
        }
        for (wanted, version) in [
            ("^1.2", "2.0.0"),
            ("1.2", "1.2.0"),
            ("1.2.3", "1.2.4"),
            ("^1", "spring"),
            ("^x", "1.0.0"),
            ("sprin", "spring"),
        ] {
            assert!(!fits(wanted, version), "{wanted} {version}");
        }
    }
}
