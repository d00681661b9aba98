//! Uses of the contents of workflows.
//!
//! For: counting the revisions and runs that need a content, and forgetting a content that none needs. Not for: what a
//! name means (see `workflows`).
//! Invariant: a content is kept exactly as long as a deployed revision or a run needs it, in any namespace.

use std::sync::Arc;

use consort_types::{BlobHash, Result};
use consort_workflow::{CompiledWorkflow, Definition};

use crate::{
    context::ApplyContext,
    registry::{keys::DefinitionKey, rows::DefinitionUse},
    run::rows::run::Run,
    state::State,
};

/// What uses a content in a namespace.
pub(crate) fn of(state: &mut State, namespace: &str, hash: BlobHash) -> Result<DefinitionUse> {
    Ok(state.tables.definitions.get(&key(namespace, hash))?.unwrap_or_default())
}

/// Keeps a content, which something that uses it is to be counted for.
pub(crate) fn keep(ctx: &mut ApplyContext<'_>, workflow: &CompiledWorkflow, definition: Definition) -> Arc<Definition> {
    let hash = workflow.hash();
    ctx.state.tables.workflows.put(hash, workflow.clone());
    ctx.state.keep_definition(hash, definition, workflow.normal_form.len())
}

/// Counts a deployed revision.
pub(crate) fn revision_added(ctx: &mut ApplyContext<'_>, namespace: &str, hash: BlobHash) -> Result<()> {
    change(ctx, namespace, hash, |uses| uses.revisions += 1)
}

/// Counts a deployed revision no more.
pub(crate) fn revision_removed(ctx: &mut ApplyContext<'_>, namespace: &str, hash: BlobHash) -> Result<()> {
    change(ctx, namespace, hash, |uses| uses.revisions -= 1)
}

/// Counts a run, and that it is active.
pub(crate) fn run_created(ctx: &mut ApplyContext<'_>, run: &Run) -> Result<()> {
    for hash in run.contents() {
        change(ctx, &run.namespace, hash, |uses| {
            uses.runs += 1;
            uses.active += u64::from(hash == run.hash);
        })?;
    }
    Ok(())
}

/// A run is active no more.
pub(crate) fn run_ended(ctx: &mut ApplyContext<'_>, run: &Run) -> Result<()> {
    change(ctx, &run.namespace, run.hash, |uses| uses.active -= 1)
}

/// The row of a run goes.
pub(crate) fn run_removed(ctx: &mut ApplyContext<'_>, run: &Run) -> Result<()> {
    run.contents().try_for_each(|hash| change(ctx, &run.namespace, hash, |uses| uses.runs -= 1))
}

fn key(namespace: &str, hash: BlobHash) -> DefinitionKey {
    DefinitionKey { hash, namespace: namespace.to_owned() }
}

fn change(
    ctx: &mut ApplyContext<'_>,
    namespace: &str,
    hash: BlobHash,
    change: impl FnOnce(&mut DefinitionUse),
) -> Result<()> {
    let mut uses = of(ctx.state, namespace, hash)?;
    change(&mut uses);
    let key = key(namespace, hash);
    if uses != DefinitionUse::default() {
        ctx.state.tables.definitions.put(key, uses);
        return Ok(());
    }
    ctx.state.tables.definitions.delete(&key);
    let (from, to) = (self::key("", hash), self::key(super::agents::PAST, hash));
    if ctx.state.tables.definitions.count(&from, &to, 1)? == 0 {
        ctx.state.tables.workflows.delete(&hash);
        ctx.state.forget_definition(hash);
    }
    Ok(())
}
