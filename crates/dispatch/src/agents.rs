//! Agents and their versions, as operators want them.
//!
//! For: weights, draining, and whose turn it is among the versions of an agent. Not for: instances (the pool has them).
//! Invariant: over any stretch in which the same versions can take every task, each takes its share of them, to within
//! one.

use std::collections::{BTreeMap, BTreeSet};

use consort_types::Time;
use consort_types::registry::AgentState;

use super::{gates::GateId, pool::KindId};

/// An agent. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AgentId(u64);

#[derive(Debug, Default)]
struct Agent {
    /// What its instances declare, where some are connected.
    kinds: BTreeSet<KindId>,
    states: BTreeMap<String, AgentState>,
    /// What each version is owed, in weights.
    owed: BTreeMap<String, i64>,
    /// When an instance of a version that has left was heard last.
    seen: BTreeMap<String, Time>,
    gate: Option<GateId>,
    /// Whether its gate was found full.
    shut: bool,
}

/// All agents that were heard of.
#[derive(Debug, Default)]
pub(super) struct Agents {
    ids: BTreeMap<String, BTreeMap<String, AgentId>>,
    all: BTreeMap<AgentId, Agent>,
    made: u64,
}

impl Agents {
    pub(super) fn find(&self, namespace: &str, agent: &str) -> Option<AgentId> {
        self.ids.get(namespace)?.get(agent).copied()
    }

    pub(super) fn find_or_make(&mut self, namespace: &str, agent: &str) -> AgentId {
        if let Some(id) = self.find(namespace, agent) {
            return id;
        }
        self.made += 1;
        let id = AgentId(self.made);
        self.ids.entry(namespace.to_owned()).or_default().insert(agent.to_owned(), id);
        self.all.insert(id, Agent::default());
        id
    }

    /// What an operator says about a version; the default where nothing was said.
    pub(super) fn state(&self, id: AgentId, version: &str) -> AgentState {
        self.all.get(&id).and_then(|agent| agent.states.get(version)).copied().unwrap_or_default()
    }

    pub(super) fn set_state(&mut self, id: AgentId, version: &str, state: Option<AgentState>) {
        let Some(agent) = self.all.get_mut(&id) else { return };
        // Shares begin anew with the new weights.
        agent.owed.clear();
        match state {
            Some(state) => agent.states.insert(version.to_owned(), state),
            None => agent.states.remove(version),
        };
    }

    pub(super) fn gate(&self, id: AgentId) -> Option<GateId> {
        self.all.get(&id)?.gate
    }

    pub(super) fn set_gate(&mut self, id: AgentId, gate: Option<GateId>) {
        if let Some(agent) = self.all.get_mut(&id) {
            agent.gate = gate;
        }
    }

    /// What its connected instances declare.
    pub(super) fn kinds(&self, id: AgentId) -> impl Iterator<Item = KindId> + '_ {
        self.all.get(&id).into_iter().flat_map(|agent| agent.kinds.iter().copied())
    }

    pub(super) fn kind_came(&mut self, id: AgentId, kind: KindId) {
        if let Some(agent) = self.all.get_mut(&id) {
            agent.kinds.insert(kind);
        }
    }

    pub(super) fn kind_went(&mut self, id: AgentId, kind: KindId) {
        if let Some(agent) = self.all.get_mut(&id) {
            agent.kinds.remove(&kind);
        }
    }

    pub(super) fn seen(&self, id: AgentId, version: &str) -> Option<Time> {
        self.all.get(&id)?.seen.get(version).copied()
    }

    /// An instance of a version has left; it was heard last at `seen`.
    pub(super) fn left(&mut self, id: AgentId, version: &str, seen: Time) {
        let Some(agent) = self.all.get_mut(&id) else { return };
        let last = agent.seen.entry(version.to_owned()).or_default();
        *last = seen.max(*last);
    }

    pub(super) fn is_shut(&self, id: AgentId) -> bool {
        self.all.get(&id).is_some_and(|agent| agent.shut)
    }

    pub(super) fn set_shut(&mut self, id: AgentId, shut: bool) {
        if let Some(agent) = self.all.get_mut(&id) {
            agent.shut = shut;
        }
    }

    /// Whose turn it is among versions that could each take the task, by smooth weighted round robin: everybody is
    /// owed its weight, and who is owed most pays for all. `None` where none has a weight.
    pub(super) fn turn<'v>(&mut self, id: AgentId, versions: &[(&'v str, u32)]) -> Option<&'v str> {
        let agent = self.all.get_mut(&id)?;
        let total: i64 = versions.iter().map(|(_, weight)| i64::from(*weight)).sum();
        let mut first: Option<(i64, &str)> = None;
        for (version, weight) in versions.iter().filter(|(_, weight)| *weight > 0) {
            let owed = match agent.owed.get_mut(*version) {
                Some(owed) => owed,
                None => agent.owed.entry((*version).to_owned()).or_default(),
            };
            *owed += i64::from(*weight);
            if first.is_none_or(|(most, _)| *owed > most) {
                first = Some((*owed, version));
            }
        }
        let (_, version) = first?;
        if let Some(owed) = agent.owed.get_mut(version) {
            *owed -= total;
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
        let id = agents.find_or_make("n", "a");
        let versions = [("1", 90), ("2", 10), ("3", 0)];
        let turns: Vec<&str> = (0..1000).filter_map(|_| agents.turn(id, &versions)).collect();
        for tenth in turns.chunks(10) {
            assert_eq!(tenth.iter().filter(|version| **version == "2").count(), 1);
        }
        assert_eq!(turns.iter().filter(|version| **version == "3").count(), 0);
        assert_eq!(agents.turn(id, &[("3", 0)]), None);
    }
}
