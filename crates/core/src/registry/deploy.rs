//! `Deploy`: make a workflow known under its name; runs in flight keep their own definition.
//!
//! For: the command and its rule. Not for: checking a workflow's text (admission does, before anything is logged).
//! Invariant: the same content twice is one revision.

use consort_types::{BlobHash, Code, Error, Name, Result, Time, limits};
use consort_workflow::{CompiledWorkflow, Definition};
use minicbor::{Decode, Encode};

use crate::{
    context::ApplyContext,
    key::NamedKey,
    quota::namespace,
    registry::{rows::WorkflowRevision, uses, workflows},
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
    /// The revision that the name took before, where that was another one.
    pub(crate) replaced: Option<ReplacedRevision>,
}

/// A revision that its name takes no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplacedRevision {
    /// The revision.
    pub revision: u32,
    /// Its content hash.
    pub hash: BlobHash,
    /// The version that its author wrote.
    pub version: Option<String>,
    /// When it was deployed.
    pub deployed: Time,
}

impl From<WorkflowRevision> for ReplacedRevision {
    fn from(row: WorkflowRevision) -> Self {
        Self { revision: row.revision, hash: row.hash, version: row.version, deployed: row.at }
    }
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
        if let Some(head) = head.clone().filter(|head| head.hash == hash) {
            let reply = DeployedRevision {
                name: definition.name.clone(),
                revision: head.revision,
                hash,
                new: false,
                replaced: None,
            };
            if head.retired.is_some() {
                let key = NamedKey::of(&self.namespace, &definition.name);
                ctx.state.tables.deployed.put(key, WorkflowRevision { retired: None, ..head });
            }
            return Ok(reply);
        }
        let newest = head.as_ref().map_or(0, WorkflowRevision::newest);
        check_revisions(&definition.name, newest)?;
        if head.is_none() {
            namespace::count(ctx, &self.namespace, |counts| counts.workflows += 1)?;
        }
        let (revision, name) = (newest + 1, definition.name.clone());
        self.put(ctx, revision, definition)?;
        Ok(DeployedRevision { name, revision, hash, new: true, replaced: head.map(ReplacedRevision::from) })
    }

    fn put(&self, ctx: &mut ApplyContext<'_>, revision: u32, definition: Definition) -> Result<()> {
        let key = |number| NamedKey { namespace: self.namespace.clone(), name: definition.name.clone(), number };
        let deployed = WorkflowRevision {
            hash: self.workflow.hash(),
            revision,
            at: ctx.now,
            version: definition.version.clone(),
            description: definition.description.clone(),
            newest: None,
            retired: None,
        };
        uses::revision_added(ctx, &self.namespace, deployed.hash)?;
        ctx.state.tables.deployed.put(key(revision), deployed.clone());
        ctx.state.tables.deployed.put(key(0), deployed);
        uses::keep(ctx, &self.workflow, definition);
        Ok(())
    }
}

/// Refuses one revision more than a workflow may have.
fn check_revisions(name: &str, newest: u32) -> Result<()> {
    let max = limits::WORKFLOW_REVISIONS_MAX;
    if newest < max {
        return Ok(());
    }
    Err(Error::new(Code::LimitReached, format!("workflow `{name}` has `{newest}` revisions, the limit is {max}"))
        .hint("retire and delete it, and deploy it anew: `consort workflows retire`, `consort workflows delete`"))
}
