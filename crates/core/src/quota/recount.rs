//! Counting again what namespaces hold, and what uses the contents of workflows.
//!
//! For: folders of versions that did not count it, once, when they are opened. Not for: keeping the counts (the rules
//! that add and remove do).
//! Invariant: the counts are those that the same log would have given with the counting in place from its beginning.

use std::collections::BTreeMap;

use consort_types::{Result, RunId};

use crate::{
    key::NamedKey,
    quota::{namespace::namespace_key, rows::NamespaceCounts},
    registry::{
        agents::PAST,
        keys::{AgentKey, DefinitionKey},
        rows::{DefinitionUse, WorkflowRevision},
    },
    run::rows::run::{Run, RunStatus},
    state::State,
};

/// Rows that are looked at at once.
const PAGE: usize = 1_024;

type Counts = BTreeMap<String, NamespaceCounts>;

/// Counts runs, agents, workflows and bytes of every namespace into its row, and what uses each content; nothing where
/// that was done.
pub(crate) fn recount(state: &mut State) -> Result<()> {
    if !state.meta.namespaces_counted {
        recount_namespaces(state)?;
        state.meta.namespaces_counted = true;
    }
    if !state.meta.definitions_counted {
        recount_definitions(state)?;
        state.meta.definitions_counted = true;
    }
    Ok(())
}

fn recount_namespaces(state: &mut State) -> Result<()> {
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
    Ok(())
}

fn recount_definitions(state: &mut State) -> Result<()> {
    let mut uses = BTreeMap::<DefinitionKey, DefinitionUse>::new();
    each_run(state, |run| {
        for hash in run.contents() {
            uses.entry(DefinitionKey { hash, namespace: run.namespace.clone() }).or_default().runs += 1;
        }
        if !run.status.is_terminal() {
            let key = DefinitionKey { hash: run.hash, namespace: run.namespace.clone() };
            uses.entry(key).or_default().active += 1;
        }
    })?;
    each_revision(state, |key, row| {
        if key.number > 0 {
            let key = DefinitionKey { hash: row.hash, namespace: key.namespace.clone() };
            uses.entry(key).or_default().revisions += 1;
        }
    })?;
    for (key, found) in uses {
        state.tables.definitions.put(key, found);
    }
    Ok(())
}

/// Visits every run, deleted ones too whose rows are still there.
fn each_run(state: &State, mut look: impl FnMut(&Run)) -> Result<()> {
    let mut from = RunId([0; 16]);
    loop {
        let rows = state.tables.runs.range(&from, &RunId([0xff; 16]), PAGE)?;
        let Some((last, _)) = rows.last() else { return Ok(()) };
        from = RunId((u128::from_be_bytes(last.0) + 1).to_be_bytes());
        for (_, run) in &rows {
            look(run);
        }
    }
}

fn count_runs(state: &State, counts: &mut Counts) -> Result<()> {
    each_run(state, |run| {
        if run.status != RunStatus::Deleted {
            let of_namespace = counts.entry(run.namespace.clone()).or_default();
            of_namespace.runs += 1;
            of_namespace.bytes += run.document_bytes();
        }
    })
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

/// Visits every row of deployed workflows, those at number 0 too.
fn each_revision(state: &State, mut look: impl FnMut(&NamedKey, &WorkflowRevision)) -> Result<()> {
    let mut from = namespace_key("");
    loop {
        let rows = state.tables.deployed.range(&from, &namespace_key(PAST), PAGE)?;
        let Some((last, _)) = rows.last() else { return Ok(()) };
        from = NamedKey { number: last.number + 1, ..last.clone() };
        for (key, row) in &rows {
            look(key, row);
        }
    }
}

fn count_workflows(state: &State, counts: &mut Counts) -> Result<()> {
    each_revision(state, |key, _| {
        if key.number == 0 {
            counts.entry(key.namespace.clone()).or_default().workflows += 1;
        }
    })
}
