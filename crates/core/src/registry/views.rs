//! Workflows and agents as they were deployed, declared and set.
//!
//! For: listings, the effect class of a capability, and what the dispatcher needs after recovery. Not for: what is
//! observed of agents (the dispatcher knows).
//! Invariant: where several declarations could take a task, the most careful one counts.

use std::{collections::BTreeSet, sync::Arc};

use consort_types::{
    BlobHash, Code, EffectClass, Error, Result, RunId, Time, limits,
    registry::{AgentState, AwardsView, LimitScope, TaskLimit},
    worker::AgentDeclaration,
};
use consort_workflow::{Action, Definition};
use serde::Serialize;

use crate::{
    auction,
    key::NamedKey,
    machine::Machine,
    page::{Page, bounded},
    registry::{
        agents::{self, PAST, agent_key, range_of},
        roll_back::RollBack,
        rows::WorkflowRevision,
        uses, workflows,
    },
    run::start::StartRun,
    state::State,
    task::{diverged, pin},
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
    /// Tasks that have not ended and whose journals its code wrote.
    pub pinned: u64,
    /// How the agent, in whatever version, did with the tasks that it won in auctions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub awards: Vec<AwardsView>,
}

/// A deployed workflow whole.
#[derive(Clone, Debug)]
pub struct DeployedWorkflow {
    /// Its revision.
    pub revision: u32,
    /// Its content hash.
    pub hash: BlobHash,
    /// Its content, read from its normal form.
    pub definition: Arc<Definition>,
    /// The author's text, to be shown.
    pub source: String,
}

/// A deployed workflow.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkflowView {
    /// Its name.
    pub name: String,
    /// The revision that its name takes.
    pub revision: u32,
    /// Its newest revision.
    pub newest: u32,
    /// Since when it takes no new starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retired: Option<Time>,
    /// The version that its author wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it does.
    pub description: String,
    /// Its content hash.
    pub hash: BlobHash,
    /// When it was deployed.
    pub deployed: Time,
}

/// A revision of a deployed workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionView {
    /// The revision.
    pub revision: u32,
    /// The version that its author wrote.
    pub version: Option<String>,
    /// What it does.
    pub description: String,
    /// Its content hash.
    pub hash: BlobHash,
    /// When it was deployed.
    pub deployed: Time,
    /// Whether the workflow's name takes it.
    pub current: bool,
    /// Runs of this content that have not ended.
    pub runs_active: u64,
}

/// What is registered, for reading.
pub struct RegistryRows<'a> {
    pub(crate) state: &'a State,
}

/// The revisions of workflows, and what starts are of.
pub struct Deployments<'a> {
    state: &'a mut State,
}

impl RegistryRows<'_> {
    /// Versions of agents, by name and version. The cursor is `NAME@VERSION` of the first one on the page.
    pub fn agents(&self, namespace: &str, cursor: Option<&str>, limit: usize) -> Result<Page<AgentView>> {
        let (name, version) = cursor.map_or(("", ""), |cursor| cursor.split_once('@').unwrap_or((cursor, "")));
        let limit = bounded(limit);
        let (from, to) = (agent_key(namespace, name, version), agent_key(namespace, PAST, ""));
        let mut rows = self.state.tables.agents.range(&from, &to, limit + 1)?;
        let next = if rows.len() > limit { rows.pop() } else { None };
        let next = next.map(|(key, _)| format!("{}@{}", key.name, key.version));
        let mut items = Vec::with_capacity(rows.len());
        for (key, row) in rows {
            let AgentState { weight, draining } = row.state;
            let pinned = pin::tasks_of(self.state, &key)?;
            let Some(declaration) = row.declaration() else { continue };
            let awards = auction::views::records(self.state, namespace, &key.name)?;
            items.push(AgentView { declaration, since: row.since, weight, draining, pinned, awards });
        }
        Ok(Page { items, next })
    }

    /// What a version of an agent has declared.
    pub fn agent(&self, namespace: &str, name: &str, version: &str) -> Result<Option<AgentDeclaration>> {
        Ok(self
            .state
            .tables
            .agents
            .read_uncached(&agent_key(namespace, name, version))?
            .and_then(|agent| agent.declaration()))
    }

    /// What each version of an agent has declared.
    pub fn versions(&self, namespace: &str, name: &str) -> Result<Vec<AgentDeclaration>> {
        let mut versions = Vec::new();
        agents::each(self.state, range_of(namespace, Some(name)), |_, row| versions.extend(row.declaration()))?;
        Ok(versions)
    }

    /// Whether tasks of an agent wait for code that fits their journals.
    pub fn has_diverged(&self, namespace: &str, agent: &str) -> Result<bool> {
        Ok(!diverged::diverged(self.state, namespace, agent, None, 1)?.is_empty())
    }

    /// Whether the name is that of a built-in agent of the namespace.
    pub fn is_built_in(&self, namespace: &str, name: &str) -> Result<bool> {
        agents::is_built_in(self.state, namespace, name)
    }

    /// Whether a version of an agent has joined and was not removed, and is built in exactly where `built_in` is set.
    pub fn knows_agent(&self, namespace: &str, agent: &AgentDeclaration, built_in: bool) -> Result<bool> {
        let row = self.state.tables.agents.read_uncached(&agent_key(namespace, &agent.name, &agent.version))?;
        Ok(row.is_some_and(|row| row.built_in == built_in))
    }

    /// The effect class of a capability: the most careful one that any version of any agent (or of this one) declares,
    /// since each of them could take the task. Without a capability (the empty text) all that are declared count.
    pub fn capability_effect(&self, namespace: &str, capability: &str, agent: Option<&str>) -> Result<EffectClass> {
        let mut most_careful = None;
        agents::each(self.state, range_of(namespace, agent), |_, row| {
            let declared = row.declaration().map(|declared| declared.capabilities).unwrap_or_default();
            let classes = declared
                .iter()
                .filter(|found| capability.is_empty() || found.name == capability)
                .map(|found| found.effect);
            most_careful = classes.max().max(most_careful);
        })?;
        Ok(most_careful.unwrap_or_default())
    }

    /// The settings by operators of each version of each agent: namespace, name, version and state, in this order.
    pub fn agent_states(&self) -> Result<Vec<(String, String, String, AgentState)>> {
        let mut states = Vec::new();
        let all = (agent_key("", "", ""), agent_key(PAST, "", ""));
        agents::each(self.state, all, |key, row| states.push((key.namespace, key.name, key.version, row.state)))?;
        Ok(states)
    }

    /// Every limit: namespace, scope and values, in order.
    pub fn limits(&self) -> Result<Vec<(String, LimitScope, TaskLimit)>> {
        let key = |namespace: &str| NamedKey::of(namespace, "");
        let (mut from, to, mut limits) = (key(""), key(PAST), Vec::new());
        loop {
            let page = self.state.tables.limits.range(&from, &to, limits::PAGE_ITEMS_MAX)?;
            let Some((last, _)) = page.last() else { return Ok(limits) };
            from = NamedKey { number: 1, ..last.clone() };
            for (key, row) in page {
                limits.push((key.namespace, key.name.parse()?, row.limit));
            }
        }
    }
}

impl Deployments<'_> {
    /// The definition that a start is of: the first that it carries, or the one that is deployed.
    ///
    /// # Errors
    /// Where it carries none, and none of that content is known.
    pub fn definition_of(&mut self, start: &StartRun) -> Result<Arc<Definition>> {
        match start.definitions.first() {
            Some(own) => Ok(Arc::new(own.definition()?)),
            None => self.state.definition(start.hash),
        }
    }

    /// Revisions of a workflow, newest first. The cursor is the number of the first one on the page.
    ///
    /// # Errors
    /// [`Code::WorkflowNotFound`].
    pub fn revisions(
        &mut self,
        namespace: &str,
        name: &str,
        cursor: Option<u32>,
        limit: usize,
    ) -> Result<Page<RevisionView>> {
        let head = workflows::resolve_revision(self.state, namespace, name, None)?;
        let mut rows = workflows::revisions(self.state, namespace, name)?;
        rows.retain(|row| cursor.is_none_or(|cursor| row.revision <= cursor));
        let mut items = Vec::new();
        for row in rows.iter().rev().take(bounded(limit)) {
            items.push(RevisionView {
                revision: row.revision,
                version: row.version.clone(),
                description: row.description.clone(),
                hash: row.hash,
                deployed: row.at,
                current: row.revision == head.revision,
                runs_active: uses::of(self.state, namespace, row.hash)?.active,
            });
        }
        let next = rows.iter().rev().nth(items.len()).map(|row| row.revision.to_string());
        Ok(Page { items, next })
    }

    /// The command that has the name of a workflow take a revision again, by number, author's version or content hash;
    /// without one, the revision before the current one.
    ///
    /// # Errors
    /// [`Code::WorkflowNotFound`], also where there is no earlier revision.
    pub fn roll_back(&mut self, namespace: &str, name: &str, to: Option<&str>) -> Result<RollBack> {
        let head = workflows::resolve_revision(self.state, namespace, name, None)?;
        let found = if to.is_some() {
            workflows::find_revision(self.state, namespace, name, to)?
        } else {
            let all = workflows::revisions(self.state, namespace, name)?;
            all.into_iter().rev().find(|row| row.revision < head.revision).ok_or_else(|| {
                let message = format!("workflow `{name}` has no revision before `{}`", head.revision);
                Error::new(Code::WorkflowNotFound, message)
                    .hint(format!("`consort workflows versions {name}` lists its revisions"))
            })?
        };
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        Ok(RollBack { namespace, name, revision: found.revision, hash: found.hash })
    }
}

impl Machine {
    /// The revisions of workflows.
    pub fn deployments(&mut self) -> Deployments<'_> {
        Deployments { state: &mut self.state }
    }

    /// The agents and limits that are registered.
    pub fn registry(&self) -> RegistryRows<'_> {
        RegistryRows { state: &self.state }
    }

    /// Deployed workflows, by name.
    pub fn workflows(&mut self, namespace: &str, cursor: Option<&str>, limit: usize) -> Result<Page<WorkflowView>> {
        let key = |name: &str| NamedKey::of(namespace, name);
        let (mut from, limit) = (key(cursor.unwrap_or("")), bounded(limit));
        let mut items: Vec<WorkflowView> = Vec::new();
        // Heads have number 0 and sort before their revisions: jump from head to head.
        while let Some((found, row)) = self.state.tables.deployed.range(&from, &key("\u{7f}"), 1)?.pop() {
            if items.len() == limit {
                return Ok(Page { items, next: Some(found.name) });
            }
            from = NamedKey { number: u32::MAX, ..found.clone() };
            items.push(WorkflowView {
                name: found.name,
                revision: row.revision,
                newest: row.newest(),
                retired: row.retired,
                version: row.version,
                description: row.description,
                hash: row.hash,
                deployed: row.at,
            });
        }
        Ok(Page { items, next: None })
    }

    /// The source of a deployed workflow, by revision number, author's version or content hash.
    pub fn workflow_source(&mut self, namespace: &str, name: &str, version: Option<&str>) -> Result<String> {
        Ok(self.workflow(namespace, name, version)?.source)
    }

    /// A deployed workflow, by revision number, author's version or content hash.
    pub fn workflow(&mut self, namespace: &str, name: &str, version: Option<&str>) -> Result<DeployedWorkflow> {
        let WorkflowRevision { hash, revision, .. } =
            workflows::find_revision(&mut self.state, namespace, name, version)?;
        let (definition, source) = (self.state.definition(hash)?, self.state.compiled(hash)?.source);
        Ok(DeployedWorkflow { revision, hash, definition, source })
    }

    /// The source that a run is pinned to.
    pub fn run_source(&mut self, namespace: &str, id: RunId) -> Result<String> {
        let hash = self.state.run_in(namespace, id)?.hash;
        Ok(self.state.compiled(hash)?.source)
    }
}

/// The capabilities that a workflow itself calls, each once and in order.
pub fn called_capabilities(definition: &Definition) -> Vec<String> {
    let called = definition.blocks.iter().flat_map(|block| &block.steps).filter_map(|step| match &step.action {
        Action::Call { capability, .. } => capability.clone(),
        _ => None,
    });
    called.collect::<BTreeSet<_>>().into_iter().collect()
}
