//! `Deploy`: make a workflow known under its name; runs in flight keep their own definition.

use consort_types::{Code, Error, Name, Result, limits};
use consort_workflow::{CompiledWorkflow, Definition};
use minicbor::{Decode, Encode};

use super::Reply;
use crate::{fold::Fold, keys::NamedKey, rows::Deployed};

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

    pub(crate) fn apply(&self, fold: &mut Fold<'_>) -> Result<Reply> {
        let definition = self.workflow.definition()?;
        Name::check("workflow", &definition.name)?;
        let hash = self.workflow.hash();
        let head = fold.machine.head(&self.namespace, &definition.name)?;
        if let Some(head) = &head
            && head.hash == hash
        {
            return Ok(Reply::Deployed { name: definition.name, revision: head.revision, hash, new: false });
        }
        let revision = head.map_or(1, |head| head.revision + 1);
        let reply = Reply::Deployed { name: definition.name.clone(), revision, hash, new: true };
        self.put(
            fold,
            &definition,
            Deployed {
                hash,
                revision,
                at: fold.now,
                version: definition.version.clone(),
                description: definition.description.clone(),
            },
        );
        fold.machine.keep_definition(hash, definition, self.workflow.normal_form.len());
        Ok(reply)
    }

    fn put(&self, fold: &mut Fold<'_>, definition: &Definition, deployed: Deployed) {
        let key = |number| NamedKey { namespace: self.namespace.clone(), name: definition.name.clone(), number };
        let tables = &mut fold.machine.tables;
        tables.workflows.put(deployed.hash, self.workflow.clone());
        tables.deployed.put(key(deployed.revision), deployed.clone());
        tables.deployed.put(key(0), deployed);
    }
}
