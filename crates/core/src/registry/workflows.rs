//! Look-ups of deployed workflows.
//!
//! For: which revision a name and version mean. Not for: deploying (see `deploy`).
//! Invariant: reads only.

use consort_types::{BlobHash, Code, Error, Result, limits};

use crate::{key::NamedKey, registry::rows::WorkflowRevision, state::State};

pub(crate) fn head(state: &mut State, namespace: &str, name: &str) -> Result<Option<WorkflowRevision>> {
    state.tables.deployed.get(&NamedKey { namespace: namespace.to_owned(), name: name.to_owned(), number: 0 })
}

/// The content hash of a deployed workflow, by name and (revision number or author's) version.
pub(crate) fn resolve_workflow(
    state: &mut State,
    namespace: &str,
    name: &str,
    version: Option<&str>,
) -> Result<BlobHash> {
    Ok(resolve_revision(state, namespace, name, version)?.hash)
}

/// The revision of a deployed workflow, by name and (revision number or author's) version.
pub(crate) fn resolve_revision(
    state: &mut State,
    namespace: &str,
    name: &str,
    version: Option<&str>,
) -> Result<WorkflowRevision> {
    let Some(head) = head(state, namespace, name)? else {
        return Err(Error::new(
            Code::WorkflowNotFound,
            format!("there is no workflow `{name}` in namespace `{namespace}`"),
        )
        .hint("deploy it: `consort workflows deploy FILE`; `consort workflows list` shows what is there"));
    };
    let Some(version) = version else { return Ok(head) };
    let key = |number| NamedKey { namespace: namespace.to_owned(), name: name.to_owned(), number };
    if let Ok(number) = version.parse::<u32>()
        && number > 0
        && let Some(found) = state.tables.deployed.get(&key(number))?
    {
        return Ok(found);
    }
    // Newest first: an author may deploy the same version again.
    let all = state.tables.deployed.range(&key(1), &key(u32::MAX), limits::PAGE_ITEMS_MAX)?;
    let found = all.into_iter().rev().find(|(_, row)| row.version.as_deref() == Some(version));
    found.map(|(_, row)| row).ok_or_else(|| {
        Error::new(Code::WorkflowNotFound, format!("workflow `{name}` has no version `{version}`"))
            .hint(format!("its newest revision is {}", head.revision))
    })
}

/// Refuses a revision that is not deployed in the namespace with that content.
pub(crate) fn check_deployed(
    state: &mut State,
    namespace: &str,
    name: &str,
    revision: u32,
    hash: BlobHash,
) -> Result<()> {
    let key = NamedKey { namespace: namespace.to_owned(), name: name.to_owned(), number: revision };
    let found = state.tables.deployed.get_shared(&key)?;
    if revision > 0 && found.is_some_and(|found| found.hash == hash) {
        return Ok(());
    }
    let message = format!("workflow `{name}` has no revision `{revision}` in namespace `{namespace}`");
    Err(Error::new(Code::WorkflowNotFound, message).hint("`consort workflows list` shows what is deployed"))
}
