//! `RollBack`: the name of a workflow takes an earlier revision again.
//!
//! For: the command and its rule. Not for: choosing the revision (the door does, and names it with its content).
//! Invariant: runs in flight keep their own definition, and no revision is lost.

use consort_types::{BlobHash, Name, Result};
use minicbor::{Decode, Encode};

use crate::{
    context::ApplyContext,
    key::NamedKey,
    registry::{
        deploy::{DeployedRevision, ReplacedRevision},
        rows::WorkflowRevision,
        workflows,
    },
};

/// Makes a deployed revision the one that its name takes. The next deployment is a new revision all the same.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RollBack {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The workflow.
    #[n(1)]
    pub name: String,
    /// The revision, as the door has found it.
    #[n(2)]
    pub revision: u32,
    /// Its content hash.
    #[n(3)]
    pub hash: BlobHash,
}

impl RollBack {
    pub(crate) fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        Name::check_size("workflow", &self.name)
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<DeployedRevision> {
        let row = workflows::check_deployed(ctx.state, &self.namespace, &self.name, self.revision, self.hash)?;
        let head = workflows::resolve_revision(ctx.state, &self.namespace, &self.name, None)?;
        let mut reply = DeployedRevision {
            name: self.name.clone(),
            revision: self.revision,
            hash: self.hash,
            new: false,
            replaced: None,
        };
        if head.revision != self.revision {
            let newest = Some(head.newest()).filter(|newest| *newest != self.revision);
            let key = NamedKey::of(&self.namespace, &self.name);
            ctx.state.tables.deployed.put(key, WorkflowRevision { newest, ..(*row).clone() });
            reply.replaced = Some(ReplacedRevision::from(head));
        }
        Ok(reply)
    }
}
