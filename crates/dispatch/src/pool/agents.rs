//! Agents and their versions, as operators want them.
//!
//! For: weights, draining, and which version of an agent goes next. Not for: instances (see `instance`).
//! Invariant: over any stretch in which the same versions can take every task, each takes its share of them, to within
//! one.

use std::collections::{BTreeMap, BTreeSet};

use consort_types::{Time, registry::AgentState};

use crate::limits::LimiterId;

/// An agent. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AgentId(u64);

/// Worker instances of an agent that declare the same. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WorkerClassId(pub(super) u64);

#[derive(Debug, Default)]
struct Agent {
    /// The classes of its connected instances.
    classes: BTreeSet<WorkerClassId>,
    states: BTreeMap<String, AgentState>,
    /// The balance of each version, in weights.
    balance: BTreeMap<String, i64>,
    /// When the last message came from an instance of a version that has left.
    seen: BTreeMap<String, Time>,
    limiter: Option<LimiterId>,
    /// Whether its limiter was found at its limit.
    at_limit: bool,
}

/// All known agents.
#[derive(Debug, Default)]
pub(crate) struct Agents {
    ids: BTreeMap<String, BTreeMap<String, AgentId>>,
    all: BTreeMap<AgentId, Agent>,
    added: u64,
}

impl Agents {
    pub(crate) fn find(&self, namespace: &str, agent: &str) -> Option<AgentId> {
        self.ids.get(namespace)?.get(agent).copied()
    }

    pub(crate) fn find_or_add(&mut self, namespace: &str, agent: &str) -> AgentId {
        if let Some(id) = self.find(namespace, agent) {
            return id;
        }
        self.added += 1;
        let id = AgentId(self.added);
        self.ids.entry(namespace.to_owned()).or_default().insert(agent.to_owned(), id);
        self.all.insert(id, Agent::default());
        id
    }

    /// What an operator has set for a version, or the default.
    pub(crate) fn state(&self, id: AgentId, version: &str) -> AgentState {
        self.all.get(&id).and_then(|agent| agent.states.get(version)).copied().unwrap_or_default()
    }

    pub(crate) fn set_state(&mut self, id: AgentId, version: &str, state: Option<AgentState>) {
        let Some(agent) = self.all.get_mut(&id) else { return };
        // Shares start again with the new weights.
        agent.balance.clear();
        match state {
            Some(state) => agent.states.insert(version.to_owned(), state),
            None => agent.states.remove(version),
        };
    }

    pub(crate) fn limiter(&self, id: AgentId) -> Option<LimiterId> {
        self.all.get(&id)?.limiter
    }

    pub(crate) fn set_limiter(&mut self, id: AgentId, limiter: Option<LimiterId>) {
        if let Some(agent) = self.all.get_mut(&id) {
            agent.limiter = limiter;
        }
    }

    /// The classes of its connected instances.
    pub(crate) fn classes(&self, id: AgentId) -> impl Iterator<Item = WorkerClassId> + '_ {
        self.all.get(&id).into_iter().flat_map(|agent| agent.classes.iter().copied())
    }

    pub(crate) fn add_class(&mut self, id: AgentId, class: WorkerClassId) {
        if let Some(agent) = self.all.get_mut(&id) {
            agent.classes.insert(class);
        }
    }

    pub(crate) fn remove_class(&mut self, id: AgentId, class: WorkerClassId) {
        if let Some(agent) = self.all.get_mut(&id) {
            agent.classes.remove(&class);
        }
    }

    pub(crate) fn seen(&self, id: AgentId, version: &str) -> Option<Time> {
        self.all.get(&id)?.seen.get(version).copied()
    }

    /// An instance of a version has left; its last message came at `seen`.
    pub(crate) fn left(&mut self, id: AgentId, version: &str, seen: Time) {
        let Some(agent) = self.all.get_mut(&id) else { return };
        let last = agent.seen.entry(version.to_owned()).or_default();
        *last = seen.max(*last);
    }

    pub(crate) fn is_at_limit(&self, id: AgentId) -> bool {
        self.all.get(&id).is_some_and(|agent| agent.at_limit)
    }

    pub(crate) fn set_at_limit(&mut self, id: AgentId, at_limit: bool) {
        if let Some(agent) = self.all.get_mut(&id) {
            agent.at_limit = at_limit;
        }
    }

    /// The version that goes next among those that could each take the task, by smooth weighted round robin: each
    /// version gains its weight, and the one with the highest balance pays the sum. `None` where none has a
    /// weight.
    pub(crate) fn next_version<'v>(&mut self, id: AgentId, versions: &[(&'v str, u32)]) -> Option<&'v str> {
        let agent = self.all.get_mut(&id)?;
        let total: i64 = versions.iter().map(|(_, weight)| i64::from(*weight)).sum();
        let mut first: Option<(i64, &str)> = None;
        for (version, weight) in versions.iter().filter(|(_, weight)| *weight > 0) {
            let balance = match agent.balance.get_mut(*version) {
                Some(balance) => balance,
                None => agent.balance.entry((*version).to_owned()).or_default(),
            };
            *balance += i64::from(*weight);
            if first.is_none_or(|(most, _)| *balance > most) {
                first = Some((*balance, version));
            }
        }
        let (_, version) = first?;
        if let Some(balance) = agent.balance.get_mut(version) {
            *balance -= total;
        }
        Some(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact_and_spread_out() {
        let mut agents = Agents::default();
        let id = agents.find_or_add("n", "a");
        let versions = [("1", 90), ("2", 10), ("3", 0)];
        let turns: Vec<&str> = (0..1000).filter_map(|_| agents.next_version(id, &versions)).collect();
        for tenth in turns.chunks(10) {
            assert_eq!(tenth.iter().filter(|version| **version == "2").count(), 1);
        }
        assert_eq!(turns.iter().filter(|version| **version == "3").count(), 0);
        assert_eq!(agents.next_version(id, &[("3", 0)]), None);
    }
}
