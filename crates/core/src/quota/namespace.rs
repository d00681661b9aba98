//! What is set and counted for a namespace.
//!
//! For: the namespace's row, and the limit on active runs. Not for: limits on tasks (see `set_limit`).
//! Invariant: an empty row is not kept.

use consort_types::{Code, Error, Result, limits};

use crate::{context::ApplyContext, key::NamedKey, quota::rows::Namespace, state::State};

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

pub(crate) fn check_runs_active(state: &mut State, name: &str) -> Result<()> {
    let active = namespace(state, name)?.runs_active;
    if active < limits::RUNS_ACTIVE_MAX {
        return Ok(());
    }
    let message = format!("{active} runs of namespace `{name}` are active, the limit is {}", limits::RUNS_ACTIVE_MAX);
    Err(Error::new(Code::LimitReached, message).hint("wait until some have ended"))
}

fn namespace_key(name: &str) -> NamedKey {
    NamedKey { namespace: name.to_owned(), name: String::new(), number: 0 }
}
