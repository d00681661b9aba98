//! Sticky keys: tasks with the same key go to the same worker instance.
//!
//! For: the table of keys and the instances that they are bound to. Not for: whether an instance can take the task (the
//! caller decides that).
//! Invariant: at most `limits::STICKY_KEYS_MAX` keys are kept; the key that was not used for longest goes first.

use std::collections::BTreeMap;

use consort_types::limits;

use crate::model::WorkerInstanceId;

/// Instances that one sticky key is bound to at most: one for each kind of agent that its tasks need.
const BOUND_MAX: usize = 8;

type StickyKey = (String, String);

#[derive(Debug, Default)]
struct Bound {
    instances: Vec<WorkerInstanceId>,
    used: u64,
}

/// Which instance the tasks of a sticky key go to.
#[derive(Debug, Default)]
pub(crate) struct StickyKeys {
    bound: BTreeMap<StickyKey, Bound>,
    by_use: BTreeMap<u64, StickyKey>,
    uses: u64,
}

impl StickyKeys {
    /// The first bound instance that fits; those that no longer take bound tasks are forgotten.
    pub(crate) fn find(
        &mut self,
        namespace: &str,
        text: &str,
        serves: impl Fn(WorkerInstanceId) -> bool,
        fits: impl Fn(WorkerInstanceId) -> bool,
    ) -> Option<WorkerInstanceId> {
        let key = (namespace.to_owned(), text.to_owned());
        let bound = self.bound.get_mut(&key)?;
        bound.instances.retain(|instance| serves(*instance));
        let found = bound.instances.iter().copied().find(|instance| fits(*instance));
        self.touch(key);
        found
    }

    /// Tasks of the key go to this instance from now on.
    pub(crate) fn bind(&mut self, namespace: &str, text: &str, instance: WorkerInstanceId) {
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

    #[test]
    fn sticky_keys_are_bounded_and_the_longest_unused_goes() {
        let mut sticky = StickyKeys::default();
        let find = |sticky: &mut StickyKeys, key: &str| sticky.find("n", key, |_| true, |_| true);
        for n in 0..=limits::STICKY_KEYS_MAX as u64 {
            sticky.bind("n", &n.to_string(), WorkerInstanceId(n));
            if n.is_multiple_of(1_000) {
                assert_eq!(find(&mut sticky, "0"), Some(WorkerInstanceId(0)), "it is used now and then");
            }
        }
        assert_eq!(sticky.bound.len(), limits::STICKY_KEYS_MAX);
        assert_eq!(sticky.by_use.len(), limits::STICKY_KEYS_MAX);
        assert_eq!(find(&mut sticky, "1"), None);
        assert_eq!(find(&mut sticky, "2"), Some(WorkerInstanceId(2)));
        assert_eq!(sticky.find("n", "2", |_| false, |_| true), None);
        assert_eq!(find(&mut sticky, "2"), None, "an instance that no longer serves is forgotten");
    }
}
