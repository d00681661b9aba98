//! What is set and counted for a namespace.
//!
//! For: the namespace's row, and the limit on active runs. Not for: limits on tasks (see `set_limit`).
//! Invariant: an empty row is not kept.

use consort_types::{Code, Error, Result, Span, limits};

use crate::{
    Machine,
    context::ApplyContext,
    key::NamedKey,
    page::{Page, bounded},
    quota::rows::{Namespace, NamespaceCounts},
    registry::agents::PAST,
    state::State,
};

/// What is set and counted for a namespace.
pub(crate) fn namespace(state: &mut State, name: &str) -> Result<Namespace> {
    Ok(state.tables.namespaces.get(&namespace_key(name))?.unwrap_or_default())
}

/// Keeps what is set and counted for a namespace, unless all of it is empty.
pub(crate) fn put_namespace(ctx: &mut ApplyContext<'_>, name: &str, row: Namespace) {
    let key = namespace_key(name);
    if row == Namespace::default() {
        ctx.state.tables.namespaces.delete(&key);
    } else {
        ctx.state.tables.namespaces.put(key, row);
    }
}

/// Changes what a namespace holds.
pub(crate) fn count(ctx: &mut ApplyContext<'_>, name: &str, change: impl FnOnce(&mut NamespaceCounts)) -> Result<()> {
    let mut row = namespace(ctx.state, name)?;
    change(&mut row.counts);
    put_namespace(ctx, name, row);
    Ok(())
}

pub(crate) fn check_runs_active(state: &mut State, name: &str) -> Result<()> {
    let active = namespace(state, name)?.runs_active;
    if active < limits::RUNS_ACTIVE_MAX {
        return Ok(());
    }
    let message = format!("{active} runs of namespace `{name}` are active, the limit is {}", limits::RUNS_ACTIVE_MAX);
    Err(Error::new(Code::LimitReached, message).hint("wait until some have ended"))
}

/// Where the row of a namespace is.
pub(crate) fn namespace_key(name: &str) -> NamedKey {
    NamedKey::of(name, "")
}

/// A namespace, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceView {
    /// Its name.
    pub name: String,
    /// Runs that are kept, ended or not.
    pub runs: u64,
    /// Of these: runs that have not ended.
    pub runs_active: u64,
    /// Versions of agents.
    pub agents: u64,
    /// Deployed workflows.
    pub workflows: u64,
    /// Bytes of the inputs and outputs of its runs.
    pub bytes: u64,
    /// Ballots that are kept, ended or not.
    pub ballots: u64,
    /// How long a run is kept after its end; `None` keeps it.
    pub retention: Option<Span>,
}

impl Machine {
    /// Namespaces that hold or set something, by name.
    pub fn namespaces(&mut self, cursor: Option<&str>, limit: usize) -> Result<Page<NamespaceView>> {
        let (from, limit) = (namespace_key(cursor.unwrap_or("")), bounded(limit));
        let mut rows = self.state.tables.namespaces.range(&from, &namespace_key(PAST), limit + 1)?;
        let next = if rows.len() > limit { rows.pop().map(|(key, _)| key.namespace) } else { None };
        let view = |(key, row): (NamedKey, Namespace)| {
            let Namespace { retention, runs_active, counts } = row;
            let NamespaceCounts { runs, agents, workflows, bytes, ballots } = counts;
            NamespaceView { name: key.namespace, runs, runs_active, agents, workflows, bytes, ballots, retention }
        };
        Ok(Page { items: rows.into_iter().map(view).collect(), next })
    }
}
