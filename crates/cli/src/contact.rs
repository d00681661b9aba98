//! Which worker instances that hold tasks cannot be reached.
//!
//! For: telling in the live view that a step makes no progress because its worker is away. Not for: deciding that it is
//! lost (the server does, after its grace).
//! Invariant: an instance that is connected is never told to be away.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use consort_api::{
    agents::{AgentFilter, ListAgents},
    inside::{StepNode, StepState},
};
use consort_types::Span;

use crate::client::Client;

/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The instances that are away, and since when they were seen to be.
#[derive(Debug, Default)]
pub(crate) struct Contact {
    away: BTreeMap<String, Instant>,
    looked: Option<Instant>,
}

impl Contact {
    /// Asks the server which instances are connected, where one holds a task and it is time to.
    pub(crate) async fn look(&mut self, client: &Client, nodes: &[StepNode]) {
        let now = Instant::now();
        let holders = holders(nodes);
        if self.looked.is_some_and(|looked| now.duration_since(looked) < LOOK_EVERY) {
            return;
        }
        if holders.is_empty() {
            self.away.clear();
            return;
        }
        self.looked = Some(now);
        // A server that does not answer is told of elsewhere.
        let Ok(agents) = client.call::<ListAgents>(&AgentFilter::default(), &()).await else { return };
        let connected = agents.items.into_iter().flat_map(|agent| agent.instances).map(|instance| instance.name);
        self.update(holders, &connected.collect(), now);
    }

    fn update(&mut self, holders: BTreeSet<String>, connected: &BTreeSet<String>, now: Instant) {
        let gone: BTreeSet<String> = holders.into_iter().filter(|holder| !connected.contains(holder)).collect();
        self.away.retain(|instance, _| gone.contains(instance));
        for instance in gone {
            self.away.entry(instance).or_insert(now);
        }
    }

    /// The instances that are away, and for how long.
    pub(crate) fn away(&self, now: Instant) -> BTreeMap<String, Span> {
        let micros = |since: &Instant| now.saturating_duration_since(*since).as_micros();
        let span = |since| Span(u64::try_from(micros(since)).unwrap_or(u64::MAX));
        self.away.iter().map(|(instance, since)| (instance.clone(), span(since))).collect()
    }
}

/// The instances that hold a task.
fn holders(nodes: &[StepNode]) -> BTreeSet<String> {
    let own = |node: &StepNode| node.instance.clone().filter(|_| node.state == StepState::Running);
    nodes.iter().flat_map(|node| own(node).into_iter().chain(holders(&node.children))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_instance_is_away_from_the_first_look_without_it_until_it_is_back_or_holds_nothing() {
        let node = |name: &str, state: &str, instance: &str, below: serde_json::Value| {
            json!({ "task": "01J8Z3K4M5N6P7Q8R9S0T1V2W3.0.1", "name": name, "kind": "call", "state": state,
                "attempt": 1, "instance": instance, "children": below })
        };
        let inner = json!([node("b", "running", "2:b", json!([]))]);
        let nodes = json!([node("a", "running", "1:a", inner), node("c", "completed", "3:c", json!([]))]);
        let nodes: Vec<StepNode> = serde_json::from_value(nodes).unwrap();
        let held = holders(&nodes);
        assert_eq!(held, BTreeSet::from(["1:a".to_owned(), "2:b".to_owned()]));
        let (mut contact, start) = (Contact::default(), Instant::now());
        contact.update(held.clone(), &BTreeSet::from(["1:a".to_owned()]), start);
        contact.update(held.clone(), &BTreeSet::from(["1:a".to_owned()]), start + Duration::from_secs(2));
        let later = start + Duration::from_secs(3);
        assert_eq!(contact.away(later), BTreeMap::from([("2:b".to_owned(), Span::from_secs(3))]));
        contact.update(held.clone(), &held, later);
        assert!(contact.away(later).is_empty());
        contact.update(held, &BTreeSet::new(), later);
        contact.update(BTreeSet::new(), &BTreeSet::new(), later);
        assert!(contact.away(later).is_empty());
    }
}
