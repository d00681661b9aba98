//! Agents and limits as they were declared and set.
//!
//! For: listings, the effect class of a capability, and what the dispatcher needs after recovery. Not for: what is
//! observed of agents (the engine's dispatcher knows).
//! Invariant: where several declarations could take a task, the most careful one counts.

use std::collections::BTreeSet;

use consort_types::{
    BlobHash, EffectClass, Result, Time, limits,
    registry::{LimitScope, TaskLimit},
    worker::AgentDeclaration,
};
use consort_workflow::Action;
use serde::Serialize;

use super::{Page, bounded};
use crate::{
    Machine,
    keys::{AgentKey, NamedKey},
    rows::{Agent, AgentState},
};

/// A version of an agent, as it was declared and as operators want it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AgentView {
    /// What it declares.
    #[serde(flatten)]
    pub declaration: AgentDeclaration,
    /// When it joined, or last changed its declaration.
    pub since: Time,
    /// Its share of the work beside other versions.
    pub weight: u32,
    /// Whether an operator drains it.
    pub draining: bool,
}

/// Sorts behind every name of a namespace, agent or limit.
const PAST: &str = "\u{10ffff}";

fn agent_key(namespace: &str, name: &str, version: &str) -> AgentKey {
    AgentKey { namespace: namespace.to_owned(), name: name.to_owned(), version: version.to_owned() }
}

impl Machine {
    /// Versions of agents, by name and version. The cursor is `NAME@VERSION` of the first one on the page.
    pub fn agents(&mut self, namespace: &str, cursor: Option<&str>, limit: usize) -> Result<Page<AgentView>> {
        let (name, version) = cursor.map_or(("", ""), |cursor| cursor.split_once('@').unwrap_or((cursor, "")));
        let limit = bounded(limit);
        let (from, to) = (agent_key(namespace, name, version), agent_key(namespace, PAST, ""));
        let mut rows = self.tables.agents.range(&from, &to, limit + 1)?;
        let next = if rows.len() > limit { rows.pop() } else { None };
        let next = next.map(|(key, _)| format!("{}@{}", key.name, key.version));
        let view = |row: Agent| {
            let AgentState { weight, draining } = row.state;
            Some(AgentView { declaration: row.declaration()?, since: row.since, weight, draining })
        };
        Ok(Page { items: rows.into_iter().filter_map(|(_, row)| view(row)).collect(), next })
    }

    /// What a version of an agent has declared.
    pub fn agent(&mut self, namespace: &str, name: &str, version: &str) -> Result<Option<AgentDeclaration>> {
        Ok(self.tables.agents.get(&agent_key(namespace, name, version))?.and_then(|agent| agent.declaration()))
    }

    /// Whether the name is that of a built-in agent of the namespace.
    pub fn is_built_in(&self, namespace: &str, name: &str) -> Result<bool> {
        Ok(self.versions_of(namespace, name)?.iter().any(|(_, row)| row.built_in))
    }

    /// Whether a version of an agent has joined and was not removed, and is built in just where it is said to be.
    pub fn knows_agent(&mut self, namespace: &str, agent: &AgentDeclaration, built_in: bool) -> Result<bool> {
        let row = self.tables.agents.look(&agent_key(namespace, &agent.name, &agent.version))?;
        Ok(row.is_some_and(|row| row.built_in == built_in))
    }

    /// Names of agents of a namespace, in order, of at most a page of versions.
    pub(crate) fn agent_names(&self, namespace: &str) -> Result<Vec<String>> {
        let (from, to) = (agent_key(namespace, "", ""), agent_key(namespace, PAST, ""));
        let rows = self.tables.agents.range(&from, &to, limits::PAGE_ITEMS_MAX)?;
        let mut names: Vec<String> = rows.into_iter().map(|(key, _)| key.name).collect();
        names.dedup();
        Ok(names)
    }

    /// Rows of an agent, by version.
    pub(crate) fn versions_of(&self, namespace: &str, name: &str) -> Result<Vec<(AgentKey, Agent)>> {
        let (from, to) = (agent_key(namespace, name, ""), agent_key(namespace, &format!("{name}\0"), ""));
        self.tables.agents.range(&from, &to, limits::AGENT_VERSIONS_MAX)
    }

    /// How many versions of an agent there are.
    pub(crate) fn version_count(&self, namespace: &str, name: &str) -> Result<usize> {
        let (from, to) = (agent_key(namespace, name, ""), agent_key(namespace, &format!("{name}\0"), ""));
        self.tables.agents.count(&from, &to, limits::AGENT_VERSIONS_MAX)
    }

    /// The effect class of a capability: the most careful one that any version of any agent (or of this one) declares,
    /// since each of them could take the task. Without a capability (the empty text) all that are declared count.
    pub fn capability_effect(&self, namespace: &str, capability: &str, agent: Option<&str>) -> Result<EffectClass> {
        let mut most_careful = None;
        self.each_agent(agent_key(namespace, agent.unwrap_or(""), ""), |key, row| {
            if key.namespace != namespace || agent.is_some_and(|name| name != key.name) {
                return false;
            }
            let declared = row.declaration().map(|declared| declared.capabilities).unwrap_or_default();
            let classes = declared
                .iter()
                .filter(|found| capability.is_empty() || found.name == capability)
                .map(|found| found.effect);
            most_careful = classes.max().max(most_careful);
            true
        })?;
        Ok(most_careful.unwrap_or_default())
    }

    /// What operators said about each version of each agent: namespace, name, version and state, in this order.
    pub fn agent_states(&self) -> Result<Vec<(String, String, String, AgentState)>> {
        let mut states = Vec::new();
        self.each_agent(agent_key("", "", ""), |key, row| {
            states.push((key.namespace, key.name, key.version, row.state));
            true
        })?;
        Ok(states)
    }

    /// Looks at agents in order, page by page, until `look` says no.
    fn each_agent(&self, mut from: AgentKey, mut look: impl FnMut(AgentKey, Agent) -> bool) -> Result<()> {
        let to = agent_key(PAST, "", "");
        loop {
            let page = self.tables.agents.range(&from, &to, limits::PAGE_ITEMS_MAX)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            from = last.next();
            for (key, row) in page {
                if !look(key, row) {
                    return Ok(());
                }
            }
        }
    }

    /// The capabilities that the workflow with this content hash itself calls, each once and in order.
    pub fn called_capabilities(&mut self, hash: BlobHash) -> Result<Vec<String>> {
        let definition = self.definition(hash)?;
        let called = definition.blocks.iter().flat_map(|block| &block.steps).filter_map(|step| match &step.action {
            Action::Call { capability, .. } => capability.clone(),
            _ => None,
        });
        Ok(called.collect::<BTreeSet<_>>().into_iter().collect())
    }

    /// Every limit: namespace, scope and what it says, in order.
    pub fn limits(&self) -> Result<Vec<(String, LimitScope, TaskLimit)>> {
        let key = |namespace: &str| NamedKey { namespace: namespace.to_owned(), name: String::new(), number: 0 };
        let (mut from, to, mut limits) = (key(""), key(PAST), Vec::new());
        loop {
            let page = self.tables.limits.range(&from, &to, limits::PAGE_ITEMS_MAX)?;
            let Some((last, _)) = page.last() else { return Ok(limits) };
            from = NamedKey { number: 1, ..last.clone() };
            for (key, row) in page {
                limits.push((key.namespace, key.name.parse()?, row.limit));
            }
        }
    }
}
