//! `RegisterAgent`: an agent joins, or changes what it declares.

use consort_types::{Code, Error, Name, Payload, Result, worker::AgentDeclaration};
use minicbor::{Decode, Encode};

use super::Reply;
use crate::{fold::Fold, keys::NamedKey, rows::Agent};

/// Makes an agent's declaration known.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct RegisterAgent {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The declaration, as JSON of [`AgentDeclaration`].
    #[n(1)]
    pub declaration: Payload,
}

impl RegisterAgent {
    /// A command from a declaration.
    pub fn new(namespace: &str, declaration: &AgentDeclaration) -> Self {
        let value = serde_json::to_value(declaration).unwrap_or_default();
        Self { namespace: namespace.to_owned(), declaration: Payload::from_value(&value) }
    }

    pub(crate) fn apply(&self, fold: &mut Fold<'_>) -> Result<Reply> {
        Name::check("namespace", &self.namespace)?;
        let row = Agent { declaration: self.declaration.clone(), since: fold.now };
        let Some(declared) = row.declaration() else {
            return Err(Error::new(Code::BadRequest, "the agent's declaration cannot be read")
                .hint("it must be inline JSON with name, version, description and capabilities"));
        };
        Name::check("agent", &declared.name)?;
        for capability in &declared.capabilities {
            Name::check("capability", &capability.name)?;
        }
        let key = NamedKey { namespace: self.namespace.clone(), name: declared.name, number: 0 };
        let known = fold.machine.tables.agents.get(&key)?;
        if known.is_none_or(|known| known.declaration != self.declaration) {
            fold.machine.tables.agents.put(key, row);
        }
        Ok(Reply::Done)
    }
}
