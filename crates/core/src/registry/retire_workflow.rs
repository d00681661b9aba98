//! `RetireWorkflow`: a workflow takes no new starts.
//!
//! For: the command and its rule. Not for: refusing the starts (see `workflows`), or removing it (see
//! `delete_workflow`).
//! Invariant: what was in flight at the retirement continues, with the runs that it starts.

use consort_types::{Name, Result};
use minicbor::{Decode, Encode};

use crate::{
    context::ApplyContext,
    key::NamedKey,
    registry::{rows::WorkflowRevision, workflows},
};

/// Retires a workflow, until it is deployed again. One that is retired stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RetireWorkflow {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The workflow.
    #[n(1)]
    pub name: String,
}

impl RetireWorkflow {
    pub(crate) fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        Name::check_size("workflow", &self.name)
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let head = workflows::resolve_revision(ctx.state, &self.namespace, &self.name, None)?;
        if head.retired.is_none() {
            let key = NamedKey::of(&self.namespace, &self.name);
            let retired = Some(ctx.now);
            ctx.state.tables.deployed.put(key, WorkflowRevision { retired, ..head });
        }
        Ok(())
    }
}
