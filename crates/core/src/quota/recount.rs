//! Counting again what namespaces hold.
//!
//! For: folders of versions that did not count it, once, when they are opened. Not for: keeping the counts (the rules
//! that add and remove do).
//! Invariant: the counts are those that the same log would have given with the counting in place from its beginning.

use std::collections::BTreeMap;

use consort_types::{Result, RunId};

use crate::{
    key::NamedKey,
    quota::{namespace::namespace_key, rows::NamespaceCounts},
    registry::{agents::PAST, keys::AgentKey},
    run::rows::run::RunStatus,
    state::State,
};

/// Rows that are looked at at once.
const PAGE: usize = 1_024;

type Counts = BTreeMap<String, NamespaceCounts>;

/// Counts runs, agents, workflows and bytes of every namespace, and puts them into its row; nothing where that was done.
pub(crate) fn recount(state: &mut State) -> Result<()> {
    if state.meta.namespaces_counted {
        return Ok(());
    }
    let mut counts = Counts::new();
    count_runs(state, &mut counts)?;
    count_agents(state, &mut counts)?;
    count_workflows(state, &mut counts)?;
    for (name, counts) in counts {
        let key = namespace_key(&name);
        let mut row = state.tables.namespaces.get(&key)?.unwrap_or_default();
        row.counts = counts;
        state.tables.namespaces.put(key, row);
    }
    state.meta.namespaces_counted = true;
    Ok(())
}

fn count_runs(state: &mut State, counts: &mut Counts) -> Result<()> {
    let mut from = RunId([0; 16]);
    loop {
        let rows = state.tables.runs.range(&from, &RunId([0xff; 16]), PAGE)?;
        let Some((last, _)) = rows.last() else { return Ok(()) };
        from = RunId((u128::from_be_bytes(last.0) + 1).to_be_bytes());
        for (_, run) in rows.iter().filter(|(_, run)| run.status != RunStatus::Deleted) {
            let of_namespace = counts.entry(run.namespace.clone()).or_default();
            of_namespace.runs += 1;
            of_namespace.bytes += run.document_bytes();
        }
    }
}

fn count_agents(state: &mut State, counts: &mut Counts) -> Result<()> {
    let key =
        |namespace: &str| AgentKey { namespace: namespace.to_owned(), name: String::new(), version: String::new() };
    let mut from = key("");
    loop {
        let rows = state.tables.agents.range(&from, &key(PAST), PAGE)?;
        let Some((last, _)) = rows.last() else { return Ok(()) };
        from = AgentKey { version: format!("{}\0", last.version), ..last.clone() };
        for (key, _) in &rows {
            counts.entry(key.namespace.clone()).or_default().agents += 1;
        }
    }
}

fn count_workflows(state: &mut State, counts: &mut Counts) -> Result<()> {
    let mut from = namespace_key("");
    loop {
        let rows = state.tables.deployed.range(&from, &namespace_key(PAST), PAGE)?;
        let Some((last, _)) = rows.last() else { return Ok(()) };
        from = NamedKey { number: last.number + 1, ..last.clone() };
        for (key, _) in rows.iter().filter(|(key, _)| key.number == 0) {
            counts.entry(key.namespace.clone()).or_default().workflows += 1;
        }
    }
}
