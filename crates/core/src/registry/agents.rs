//! Look-ups of agents.
//!
//! For: the versions of an agent that commands are about. Not for: listings (see `views`).
//! Invariant: reads only.

use std::collections::BTreeSet;

use consort_types::{Code, Error, Name, Result, bounds::check_optional_text, limits};
use consort_workflow::did_you_mean;

use crate::{
    registry::{keys::AgentKey, rows::Agent},
    state::State,
};

/// Sorts behind every name of a namespace, agent or limit.
pub(crate) const PAST: &str = "\u{10ffff}";

pub(crate) fn agent_key(namespace: &str, name: &str, version: &str) -> AgentKey {
    AgentKey { namespace: namespace.to_owned(), name: name.to_owned(), version: version.to_owned() }
}

/// Whether the name is that of a built-in agent of the namespace.
pub(crate) fn is_built_in(state: &State, namespace: &str, name: &str) -> Result<bool> {
    Ok(versions_of(state, namespace, name)?.iter().any(|(_, row)| row.built_in))
}

/// The keys of the versions of an agent, or of all agents of a namespace: from, and the least key behind them.
pub(crate) fn range_of(namespace: &str, name: Option<&str>) -> (AgentKey, AgentKey) {
    match name {
        Some(name) => (agent_key(namespace, name, ""), agent_key(namespace, &format!("{name}\0"), "")),
        None => (agent_key(namespace, "", ""), agent_key(namespace, PAST, "")),
    }
}

/// Visits the versions of agents in a range of keys, in order, page by page.
pub(crate) fn each(
    state: &State,
    (mut from, to): (AgentKey, AgentKey),
    mut look: impl FnMut(AgentKey, Agent),
) -> Result<()> {
    loop {
        let page = state.tables.agents.range(&from, &to, limits::PAGE_ITEMS_MAX)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        from = last.next();
        for (key, row) in page {
            look(key, row);
        }
    }
}

/// The capability of an agent that has one, whatever its version; `None` where its versions declare several, or none.
pub(crate) fn only_capability(state: &State, namespace: &str, agent: &str) -> Result<Option<String>> {
    let mut names = BTreeSet::new();
    each(state, range_of(namespace, Some(agent)), |_, row| {
        let declared = row.declaration().map(|declared| declared.capabilities).unwrap_or_default();
        names.extend(declared.into_iter().map(|capability| capability.name));
    })?;
    let only = names.pop_first();
    Ok(only.filter(|_| names.is_empty()))
}

/// Names of agents of a namespace, in order, of at most a page of versions.
fn agent_names(state: &State, namespace: &str) -> Result<Vec<String>> {
    let (from, to) = range_of(namespace, None);
    let rows = state.tables.agents.range(&from, &to, limits::PAGE_ITEMS_MAX)?;
    let mut names: Vec<String> = rows.into_iter().map(|(key, _)| key.name).collect();
    names.dedup();
    Ok(names)
}

/// Rows of an agent, by version.
fn versions_of(state: &State, namespace: &str, name: &str) -> Result<Vec<(AgentKey, Agent)>> {
    let (from, to) = range_of(namespace, Some(name));
    state.tables.agents.range(&from, &to, limits::AGENT_VERSIONS_MAX)
}

/// How many versions of an agent there are.
pub(crate) fn version_count(state: &State, namespace: &str, name: &str) -> Result<usize> {
    let (from, to) = range_of(namespace, Some(name));
    state.tables.agents.count(&from, &to, limits::AGENT_VERSIONS_MAX)
}

/// Resolves a version of an agent, or all of them.
pub(crate) fn check_agent(namespace: &str, name: &str, version: Option<&str>) -> Result<()> {
    Name::check("namespace", namespace)?;
    Name::check("agent", name)?;
    check_optional_text("agent's version", version, limits::NAME_BYTES_MAX)
}

/// The matching versions of an agent: one, or all. There is at least one.
pub(crate) fn known(
    state: &State,
    namespace: &str,
    name: &str,
    version: Option<&str>,
) -> Result<Vec<(AgentKey, Agent)>> {
    let mut rows = versions_of(state, namespace, name)?;
    let versions: Vec<String> = rows.iter().rev().take(5).map(|(key, _)| format!("`{}`", key.version)).collect();
    rows.retain(|(key, _)| version.is_none_or(|version| version == key.version));
    if !rows.is_empty() {
        return Ok(rows);
    }
    Err(match version {
        Some(version) if !versions.is_empty() => {
            Error::new(Code::AgentNotFound, format!("agent `{name}` has no version `{version}`"))
                .hint(format!("it has {}", versions.join(", ")))
        }
        _ => {
            let names = agent_names(state, namespace)?;
            let near = did_you_mean(name, names.iter().map(String::as_str));
            Error::new(Code::AgentNotFound, format!("there is no agent `{name}` in namespace `{namespace}`"))
                .hint(near.unwrap_or_else(|| "`consort agents list` shows those that have joined".to_owned()))
        }
    })
}
