//! Look-ups of deployed workflows.
//!
//! For: which revision a name and version mean. Not for: deploying (see `deploy`).
//! Invariant: reads only.

use std::sync::Arc;

use consort_types::{BlobHash, Code, Error, Result, Time, limits};

use crate::{key::NamedKey, registry::rows::WorkflowRevision, state::State};

/// Digits of a content hash that name a revision.
const HASH_DIGITS_MIN: usize = 8;

pub(crate) fn head(state: &mut State, namespace: &str, name: &str) -> Result<Option<WorkflowRevision>> {
    state.tables.deployed.get(&NamedKey::of(namespace, name))
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
    let all = revisions(state, namespace, name)?;
    all.into_iter().rev().find(|row| row.version.as_deref() == Some(version)).ok_or_else(|| {
        Error::new(Code::WorkflowNotFound, format!("workflow `{name}` has no version `{version}`"))
            .hint(format!("its newest revision is {}; `consort workflows versions {name}` lists them", head.newest()))
    })
}

/// Refuses the start of a retired workflow, unless what starts it has begun before.
pub(crate) fn refuse_retired(state: &mut State, namespace: &str, name: &str, begun: Option<Time>) -> Result<()> {
    let retired = head(state, namespace, name)?.and_then(|head| head.retired);
    let Some(retired) = retired.filter(|retired| begun.is_none_or(|begun| begun > *retired)) else { return Ok(()) };
    let message = format!("workflow `{name}` was retired at `{retired}`, and takes no new starts");
    Err(Error::new(Code::WorkflowRetired, message)
        .hint("deploy it again to end its retirement: `consort workflows deploy FILE`"))
}

/// A deployed revision as operators name it: by number, author's version, or content hash (at least 8 digits of it).
pub(crate) fn find_revision(
    state: &mut State,
    namespace: &str,
    name: &str,
    version: Option<&str>,
) -> Result<WorkflowRevision> {
    let found = resolve_revision(state, namespace, name, version);
    let Some(hash) = version.filter(|text| text.len() >= HASH_DIGITS_MIN && found.is_err()) else { return found };
    let all = revisions(state, namespace, name)?;
    let named = all.into_iter().rev().find(|row| row.hash.to_string().starts_with(hash));
    named.map_or(found, Ok)
}

/// The revisions of a workflow, oldest first.
pub(crate) fn revisions(state: &State, namespace: &str, name: &str) -> Result<Vec<WorkflowRevision>> {
    let key = |number| NamedKey { namespace: namespace.to_owned(), name: name.to_owned(), number };
    let max = limits::WORKFLOW_REVISIONS_MAX as usize;
    let rows = state.tables.deployed.range(&key(1), &key(u32::MAX), max)?;
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

/// The row of a revision; refuses one that is not deployed in the namespace with that content, and one that is retired.
pub(crate) fn check_deployed(
    state: &mut State,
    namespace: &str,
    name: &str,
    revision: u32,
    hash: BlobHash,
) -> Result<Arc<WorkflowRevision>> {
    let key = NamedKey { namespace: namespace.to_owned(), name: name.to_owned(), number: revision };
    let found = state.tables.deployed.get_shared(&key)?;
    if let Some(found) = found.filter(|found| revision > 0 && found.hash == hash) {
        refuse_retired(state, namespace, name, None)?;
        return Ok(found);
    }
    let message = format!("workflow `{name}` has no revision `{revision}` in namespace `{namespace}`");
    Err(Error::new(Code::WorkflowNotFound, message).hint("`consort workflows list` shows what is deployed"))
}
