//! `DeleteWorkflow`: a workflow and its revisions are forgotten.
//!
//! For: the command and its rule. Not for: the contents that ended runs still need (see `uses`).
//! Invariant: only a retired workflow without active runs is deleted.

use consort_types::{BlobHash, Code, Error, Name, Result};
use minicbor::{Decode, Encode};

use crate::{
    context::ApplyContext,
    key::NamedKey,
    quota::namespace,
    registry::{rows::WorkflowRevision, uses, workflows},
    state::State,
};

/// Deletes a retired workflow. Runs that have ended keep what they were pinned to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct DeleteWorkflow {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The workflow.
    #[n(1)]
    pub name: String,
}

impl DeleteWorkflow {
    pub(crate) fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        Name::check_size("workflow", &self.name)
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let head = workflows::resolve_revision(ctx.state, &self.namespace, &self.name, None)?;
        let revisions = workflows::revisions(ctx.state, &self.namespace, &self.name)?;
        self.refuse_used(ctx.state, &head, &revisions)?;
        namespace::count(ctx, &self.namespace, |counts| counts.workflows -= 1)?;
        ctx.charge(revisions.len());
        let key = |number| NamedKey { namespace: self.namespace.clone(), name: self.name.clone(), number };
        for row in revisions {
            ctx.state.tables.deployed.delete(&key(row.revision));
            uses::revision_removed(ctx, &self.namespace, row.hash)?;
        }
        ctx.state.tables.deployed.delete(&key(0));
        Ok(())
    }

    fn refuse_used(&self, state: &mut State, head: &WorkflowRevision, revisions: &[WorkflowRevision]) -> Result<()> {
        let name = &self.name;
        if head.retired.is_none() {
            let message = format!("workflow `{name}` takes starts: its name takes revision `{}`", head.revision);
            return Err(Error::new(Code::WorkflowInUse, message)
                .hint(format!("retire it first: `consort workflows retire {name}`")));
        }
        let mut used: Vec<(BlobHash, u32, u64)> = Vec::new();
        for row in revisions {
            let active = uses::of(state, &self.namespace, row.hash)?.active;
            // The same content may have been deployed twice.
            if active > 0 && !used.iter().any(|(hash, ..)| *hash == row.hash) {
                used.push((row.hash, row.revision, active));
            }
        }
        if used.is_empty() {
            return Ok(());
        }
        let list: Vec<_> =
            used.iter().take(5).map(|(_, revision, active)| format!("`{active}` of revision `{revision}`")).collect();
        let more = if used.len() > list.len() { ", and of others" } else { "" };
        let message = format!("runs of workflow `{name}` have not ended: {}{more}", list.join(", "));
        Err(Error::new(Code::WorkflowInUse, message).hint(format!(
            "`consort runs list --workflow {name} --status running,cancelling,compensating` shows them; wait until they \
             have ended, or cancel them"
        )))
    }
}
