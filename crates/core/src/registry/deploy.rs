//! `Deploy`: make a workflow known under its name; runs in flight keep their own definition.
//!
//! For: the command and its rule. Not for: checking a workflow's text (admission does, before anything is logged).
//! Invariant: the same content twice is one revision.

use consort_types::{BlobHash, Code, Error, Name, Result, limits};
use consort_workflow::{CompiledWorkflow, Definition};
use minicbor::{Decode, Encode};

use crate::{
    context::ApplyContext,
    key::NamedKey,
    quota::namespace,
    registry::{rows::WorkflowRevision, workflows},
};

/// Deploys a workflow that was checked at the door. The same content twice is one revision.
///
/// Nothing is checked again here: a normal form is read by rules that never get stricter, so a record that was taken
/// once is taken by every later version.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Deploy {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The workflow in its normal form, with the author's text.
    #[n(1)]
    pub workflow: CompiledWorkflow,
}

/// The reply to a deployment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DeployedRevision {
    /// The workflow's name.
    pub(crate) name: String,
    /// Its revision.
    pub(crate) revision: u32,
    /// Its content hash.
    pub(crate) hash: BlobHash,
    /// Whether this revision is new.
    pub(crate) new: bool,
}

impl Deploy {
    pub(crate) fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        Self::check_source(&self.workflow.source)
    }

    /// Refuses a text over [`limits::WORKFLOW_BYTES_MAX`].
    pub fn check_source(source: &str) -> Result<()> {
        let (bytes, max) = (source.len(), limits::WORKFLOW_BYTES_MAX);
        if bytes <= max {
            return Ok(());
        }
        Err(Error::new(Code::LimitReached, format!("the workflow has {bytes} bytes, the limit is {max}"))
            .hint("split it into child workflows"))
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<DeployedRevision> {
        let definition = self.workflow.definition()?;
        Name::check("workflow", &definition.name)?;
        let hash = self.workflow.hash();
        let head = workflows::head(ctx.state, &self.namespace, &definition.name)?;
        if let Some(head) = &head
            && head.hash == hash
        {
            return Ok(DeployedRevision { name: definition.name, revision: head.revision, hash, new: false });
        }
        if head.is_none() {
            namespace::count(ctx, &self.namespace, |counts| counts.workflows += 1)?;
        }
        let revision = head.map_or(1, |head| head.revision + 1);
        let reply = DeployedRevision { name: definition.name.clone(), revision, hash, new: true };
        self.put(
            ctx,
            &definition,
            WorkflowRevision {
                hash,
                revision,
                at: ctx.now,
                version: definition.version.clone(),
                description: definition.description.clone(),
            },
        );
        ctx.state.keep_definition(hash, definition, self.workflow.normal_form.len());
        Ok(reply)
    }

    fn put(&self, ctx: &mut ApplyContext<'_>, definition: &Definition, deployed: WorkflowRevision) {
        let key = |number| NamedKey { namespace: self.namespace.clone(), name: definition.name.clone(), number };
        let tables = &mut ctx.state.tables;
        tables.workflows.put(deployed.hash, self.workflow.clone());
        tables.deployed.put(key(deployed.revision), deployed.clone());
        tables.deployed.put(key(0), deployed);
    }
}
