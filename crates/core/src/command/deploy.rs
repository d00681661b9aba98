//! `Deploy`: make a workflow known under its name; runs in flight keep their own definition.

use consort_types::{Code, Error, Name, Result, limits};
use consort_workflow::Definition;
use minicbor::{Decode, Encode};

use super::Reply;
use crate::{
    fold::Fold,
    keys::NamedKey,
    rows::{Deployed, Source},
};

/// Deploys a workflow. The same source twice is one revision.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Deploy {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The YAML text, at most [`limits::WORKFLOW_BYTES_MAX`] bytes.
    #[n(1)]
    pub source: String,
}

impl Deploy {
    pub(crate) fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        let (bytes, max) = (self.source.len(), limits::WORKFLOW_BYTES_MAX);
        if bytes <= max {
            return Ok(());
        }
        Err(Error::new(Code::LimitReached, format!("the workflow has {bytes} bytes, the limit is {max}"))
            .hint("split it into child workflows"))
    }

    pub(crate) fn apply(&self, fold: &mut Fold<'_>) -> Result<Reply> {
        let definition = Definition::parse(&self.source).map_err(Error::from)?;
        let head = fold.machine.head(&self.namespace, &definition.name)?;
        if let Some(head) = &head
            && head.hash == definition.hash
        {
            return Ok(deployed_reply(&definition, head.revision, false));
        }
        let revision = head.map_or(1, |head| head.revision + 1);
        let deployed = Deployed {
            hash: definition.hash,
            revision,
            at: fold.now,
            version: definition.version.clone(),
            description: definition.description.clone(),
        };
        let key = |number| NamedKey { namespace: self.namespace.clone(), name: definition.name.clone(), number };
        let tables = &mut fold.machine.tables;
        tables.sources.put(definition.hash, Source { text: self.source.clone() });
        tables.deployed.put(key(0), deployed.clone());
        tables.deployed.put(key(revision), deployed);
        let reply = deployed_reply(&definition, revision, true);
        fold.machine.keep_definition(definition, self.source.len());
        Ok(reply)
    }
}

fn deployed_reply(definition: &Definition, revision: u32, new: bool) -> Reply {
    Reply::Deployed { name: definition.name.clone(), revision, hash: definition.hash, new }
}
