//! Which instances fit what a task asks for.
//!
//! For: version ranges, label selectors, and the table of sticky keys. Not for: choosing among those that fit.
//! Invariant: a version that is not a range means exactly that text.

use std::collections::BTreeMap;

use consort_types::{limits, worker::Route};
use semver::{Version, VersionReq};

use super::InstanceId;

/// What a route asks of an instance, whatever the task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Selector {
    pub(super) version: Option<String>,
    pub(super) labels: BTreeMap<String, String>,
}

impl Selector {
    /// Parts a route into what instances must be like, and its sticky key.
    pub(super) fn of(route: Option<Route>) -> (Option<Self>, Option<String>) {
        let Some(Route { version, labels, sticky }) = route else { return (None, None) };
        let any = version.is_none() && labels.is_empty();
        ((!any).then_some(Self { version, labels }), sticky)
    }

    /// Whether a version fits.
    pub(super) fn fits_version(&self, version: &str) -> bool {
        self.version.as_deref().is_none_or(|wanted| wanted == version || in_range(wanted, version))
    }
}

/// Whether labels have all that is wanted.
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

/// A version as numbers: `1` and `1.2` stand for `1.0.0` and `1.2.0`.
fn semantic(version: &str) -> Option<Version> {
    let padded = || match version.matches('.').count() {
        0 => Version::parse(&format!("{version}.0.0")),
        1 => Version::parse(&format!("{version}.0")),
        _ => Version::parse(version),
    };
    Version::parse(version).or_else(|_| padded()).ok()
}

/// Instances that one sticky key is bound to at most: one for each kind of agent that its tasks ask for.
const BOUND_MAX: usize = 8;

type StickyKey = (String, String);

#[derive(Debug, Default)]
struct Bound {
    instances: Vec<InstanceId>,
    used: u64,
}

/// Which instance the tasks of a sticky key go to. The keys that were not used for longest are forgotten first.
#[derive(Debug, Default)]
pub(super) struct Sticky {
    bound: BTreeMap<StickyKey, Bound>,
    by_use: BTreeMap<u64, StickyKey>,
    uses: u64,
}

impl Sticky {
    /// The first bound instance that fits; those that do not serve any more are forgotten.
    pub(super) fn find(
        &mut self,
        namespace: &str,
        text: &str,
        serves: impl Fn(InstanceId) -> bool,
        fits: impl Fn(InstanceId) -> bool,
    ) -> Option<InstanceId> {
        let key = (namespace.to_owned(), text.to_owned());
        let bound = self.bound.get_mut(&key)?;
        bound.instances.retain(|instance| serves(*instance));
        let found = bound.instances.iter().copied().find(|instance| fits(*instance));
        self.touch(key);
        found
    }

    /// Tasks of the key go to this instance from now on.
    pub(super) fn bind(&mut self, namespace: &str, text: &str, instance: InstanceId) {
        let key = (namespace.to_owned(), text.to_owned());
        let bound = self.bound.entry(key.clone()).or_default();
        if bound.instances.len() >= BOUND_MAX {
            bound.instances.remove(0);
        }
        bound.instances.push(instance);
        self.touch(key);
        while self.bound.len() > limits::STICKY_KEYS_MAX {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            self.bound.remove(&oldest);
        }
    }

    fn touch(&mut self, key: StickyKey) {
        let Some(bound) = self.bound.get_mut(&key) else { return };
        self.by_use.remove(&bound.used);
        self.uses += 1;
        bound.used = self.uses;
        self.by_use.insert(self.uses, key);
    }
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

    #[test]
    fn sticky_keys_are_bounded_and_the_longest_unused_goes() {
        let mut sticky = Sticky::default();
        let find = |sticky: &mut Sticky, key: &str| sticky.find("n", key, |_| true, |_| true);
        for n in 0..=limits::STICKY_KEYS_MAX as u64 {
            sticky.bind("n", &n.to_string(), InstanceId(n));
            if n.is_multiple_of(1_000) {
                assert_eq!(find(&mut sticky, "0"), Some(InstanceId(0)), "it is used now and then");
            }
        }
        assert_eq!(sticky.bound.len(), limits::STICKY_KEYS_MAX);
        assert_eq!(sticky.by_use.len(), limits::STICKY_KEYS_MAX);
        assert_eq!(find(&mut sticky, "1"), None);
        assert_eq!(find(&mut sticky, "2"), Some(InstanceId(2)));
        assert_eq!(sticky.find("n", "2", |_| false, |_| true), None);
        assert_eq!(find(&mut sticky, "2"), None, "an instance that serves no more is forgotten");
    }
}
