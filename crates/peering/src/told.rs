//! What is told once.
//!
//! For: refusals that come again with each try. Not for: counting what happened.
//! Invariant: what is remembered is bounded; after that many, each may be told once more.

use std::collections::BTreeSet;

use consort_types::limits;

/// What was told.
#[derive(Debug)]
pub struct Told<K>(BTreeSet<K>);

impl<K: Ord> Told<K> {
    /// Whether this was not told yet; from now on it was.
    pub fn is_first(&mut self, what: K) -> bool {
        if self.0.len() >= limits::MIRROR_REFUSED_KEPT_MAX {
            self.0.clear();
        }
        self.0.insert(what)
    }
}

impl<K> Default for Told<K> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_and_what_is_remembered_is_bounded() {
        let mut told = Told::default();
        assert!(told.is_first(0) && !told.is_first(0));
        assert!((1..=limits::MIRROR_REFUSED_KEPT_MAX).all(|number| told.is_first(number)));
        assert!(told.0.len() <= limits::MIRROR_REFUSED_KEPT_MAX);
    }
}
