//! What operators and clients see of agents, queues and limits.
//!
//! For: joining what is durable with what is observed. Not for: runs and steps (the machine's views show those).
//! Invariant: a view is of one moment, and changes nothing.

use std::collections::BTreeMap;

use consort_types::{
    Result, RunId, StepInstanceId, Time, limits,
    registry::{AgentFilter, AgentView, LimitView, QueueView},
    worker::{AgentDeclaration, CapabilityDeclaration, Progress},
};

use super::Partition;

/// What operators and clients see of a partition.
pub struct Views<'a>(&'a mut Partition);

impl Partition {
    /// What operators and clients see of agents, queues and limits.
    pub fn views(&mut self) -> Views<'_> {
        Views(self)
    }
}

impl Views<'_> {
    /// The agents of a namespace that match: every declared version, connected or not, by name and version.
    pub fn agents(&mut self, namespace: &str, filter: &AgentFilter, now: Time) -> Result<Vec<AgentView>> {
        let now = self.0.clock.max(now);
        let text = filter.text.as_deref().map(str::to_lowercase);
        let (mut views, mut cursor) = (Vec::new(), None::<String>);
        let mut serving = Vec::new();
        loop {
            let page = self.0.machine()?.registry().agents(namespace, cursor.as_deref(), limits::PAGE_ITEMS_MAX)?;
            for known in page.items {
                if self.is_connected(namespace, &known.declaration) {
                    serving.push(known.declaration.clone());
                }
                if !fits(filter, text.as_deref(), &known) {
                    continue;
                }
                let view = self.agent_view(namespace, known, now);
                if has_labels(filter, &view) {
                    views.push(view);
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let contracts = contracts(&serving);
        for view in views.iter_mut().filter(|view| !view.instances.is_empty()) {
            view.warnings = contradictions(&view.declaration, &contracts);
        }
        Ok(views)
    }

    fn is_connected(&self, namespace: &str, agent: &AgentDeclaration) -> bool {
        self.0.dispatcher.connected(namespace, &agent.name, Some(&agent.version)) > 0
    }

    /// What other connected agents declare otherwise than a version that joins.
    pub(super) fn contradictions(&mut self, namespace: &str, name: &str, version: &str) -> Result<Vec<String>> {
        let Some(own) = self.0.machine()?.registry().agent(namespace, name, version)? else { return Ok(Vec::new()) };
        let (mut serving, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let page = self.0.machine()?.registry().agents(namespace, cursor.as_deref(), limits::PAGE_ITEMS_MAX)?;
            let declared = page.items.into_iter().map(|known| known.declaration);
            serving.extend(declared.filter(|agent| self.is_connected(namespace, agent)));
            cursor = page.next;
            if cursor.is_none() {
                return Ok(contradictions(&own, &contracts(&serving)));
            }
        }
    }

    fn agent_view(&self, namespace: &str, known: consort_core::view::AgentView, now: Time) -> AgentView {
        let consort_core::view::AgentView { declaration, since, weight, draining, pinned, awards } = known;
        let (name, version) = (&declaration.name, &declaration.version);
        let seen = self.0.dispatcher.views().observed(namespace, name, version, now, self.0.config.heartbeat_timeout);
        AgentView {
            declaration,
            health: seen.health,
            reason: seen.reason,
            weight,
            draining,
            pinned,
            since,
            seen: seen.seen,
            instances: seen.instances,
            skills: seen.skills,
            awards,
            warnings: Vec::new(),
        }
    }

    /// The queues of a namespace, by what their tasks require.
    pub fn queues(&mut self, namespace: &str, now: Time) -> Vec<QueueView> {
        let now = self.0.clock.max(now);
        self.0.dispatcher.views().queues(namespace, now)
    }

    /// The limits of a namespace, by scope.
    pub fn limits(&self, namespace: &str) -> Vec<LimitView> {
        self.0.dispatcher.views().limits(namespace)
    }

    /// The capability that a task requires.
    pub fn capability_of(&self, task: StepInstanceId) -> Option<String> {
        self.0.dispatcher.requested(task)?.capability.map(str::to_owned)
    }

    /// Grows whenever something changes that agents are shown with.
    pub fn agents_revision(&self) -> u64 {
        self.0.dispatcher.revision()
    }

    /// The end of what the attempts of a run have said.
    pub fn tail(&self, run: RunId) -> Vec<Progress> {
        self.0.live.tail(run)
    }
}

/// By capability: each pair of schemas that is declared, with the first agent that declares it.
type DeclaredContracts<'a> = BTreeMap<&'a str, Vec<(&'a CapabilityDeclaration, &'a AgentDeclaration)>>;

fn contracts(serving: &[AgentDeclaration]) -> DeclaredContracts<'_> {
    let mut contracts = DeclaredContracts::new();
    for agent in serving {
        for capability in &agent.capabilities {
            let known = contracts.entry(&capability.name).or_default();
            if known.iter().all(|(other, _)| capability.schema_difference(other).is_some()) {
                known.push((capability, agent));
            }
        }
    }
    contracts
}

/// What connected agents declare otherwise, a sentence for each capability.
fn contradictions(agent: &AgentDeclaration, contracts: &DeclaredContracts<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for own in &agent.capabilities {
        let mut others = contracts.get(own.name.as_str()).into_iter().flatten();
        let other = others.find_map(|(theirs, by)| Some((own.schema_difference(theirs)?, *by)));
        if let Some((side, by)) = other {
            found.push(format!(
                "`{}` has another {side} schema at `{}@{}`, and a task goes to either: rename one, or route by agent or version",
                own.name, by.name, by.version
            ));
        }
    }
    found
}

fn fits(filter: &AgentFilter, text: Option<&str>, known: &consort_core::view::AgentView) -> bool {
    let agent = &known.declaration;
    let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
    let has = |wanted: &String| agent.capabilities.iter().any(|capability| capability.name == *wanted);
    let said = |text: &str| {
        let of_capabilities = agent.capabilities.iter().flat_map(|found| [&found.name, &found.description]);
        let mut all = [&agent.name, &agent.description].into_iter().chain(of_capabilities);
        all.any(|said| said.to_lowercase().contains(text))
    };
    is(&filter.name, &agent.name)
        && is(&filter.version, &agent.version)
        && filter.capability.as_ref().is_none_or(has)
        && text.is_none_or(said)
}

/// Whether the agent, or one of its instances, has the labels.
fn has_labels(filter: &AgentFilter, view: &AgentView) -> bool {
    let mut all = [&view.declaration.labels].into_iter().chain(view.instances.iter().map(|instance| &instance.labels));
    all.any(|labels| consort_dispatch::has_labels(labels, &filter.labels))
}
